//! Outputs: what was stored goes on to other programs as well, at least once.
//!
//! ```text
//! store (outbox: batches as they came) -> feed (one thread for each output) -> a destination
//! ```
//!
//! A destination (`sink`) takes batches one after the other and says how far it is. One that
//! is slow or away holds up neither the store nor the others: batches wait in the outbox, which is
//! bounded, and what makes room is counted as dropped.

mod counted;
mod exposed;
mod feed;
mod file;
mod http;
mod json;
mod kafka;
mod otlp;
mod remote_write;
mod requests;
mod rows;
mod scrape;
mod sink;
mod status;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Kind, Output};
use crate::store::outbox::Outbox;
use crate::time;
use feed::Feed;
use file::Files;
pub(crate) use http::{Answered, Client};
use kafka::Kafka;
use otlp::Otlp;
use remote_write::RemoteWrite;
use requests::Requests;
use scrape::Scrape;
pub(crate) use sink::Later;
use sink::Sink;
use status::Counters;
pub use status::{Pieces, Status};

/// All outputs, while they run.
#[derive(Debug)]
pub struct Outputs {
    outbox: Arc<Outbox>,
    threads: Vec<JoinHandle<()>>,
}

impl Outputs {
    /// Starts a thread for each output.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        outputs: &[Output],
        store: &Path,
        outbox: &Arc<Outbox>,
        status: &Arc<Status>,
    ) -> std::io::Result<Self> {
        let mut all = Self {
            outbox: Arc::clone(outbox),
            threads: Vec::new(),
        };
        for (output, progress) in outputs.iter().zip(&outbox.outputs) {
            let counters = status.of(&output.name);
            let sink = sink(output, &counters);
            let feed = Feed {
                progress: Arc::clone(progress),
                outbox: Arc::clone(outbox),
                counters,
                store: store.to_owned(),
                tables: wanted(output),
            };
            let name = format!("out-{}", output.name);
            let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
            all.threads.push(thread.spawn(move || feed.run(sink))?);
        }
        Ok(all)
    }

    /// Lets each finish what it is sending, for at most so long.
    pub fn stop(&mut self, most: Duration) {
        self.outbox.stop();
        let until = time::monotonic() + most;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && time::monotonic() < until {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            // What it was sending is sent again by the next start.
            if thread.is_finished() && thread.join().is_err() {
                log::error!("the thread of an output panicked");
            }
        }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.outbox.stop();
    }
}

/// Tables that an output reads; all where there is none.
fn wanted(output: &Output) -> Vec<String> {
    let mut tables = output.tables.clone();
    if matches!(output.kind, Kind::Prometheus(_)) && !tables.is_empty() {
        tables.extend(scrape::NAMING.map(String::from));
    }
    tables
}

fn sink(output: &Output, counters: &Arc<Counters>) -> Box<dyn Sink> {
    match &output.kind {
        Kind::Prometheus(config) => {
            Box::new(Scrape::new(config, &output.tables, counters, time::now_ms))
        }
        Kind::RemoteWrite(http) => Box::new(Requests::new(
            Client::new(http.clone()),
            RemoteWrite::new(http.max_series),
        )),
        Kind::File(file) => Box::new(Files::new(&output.name, file.clone(), time::now_ms)),
        Kind::Kafka(kafka) => Box::new(Kafka::new(kafka.clone())),
        Kind::Otlp(http, temporality) => Box::new(Requests::new(
            Client::new(http.clone()),
            Otlp::new(http.max_series, *temporality, time::now_ms()),
        )),
    }
}
