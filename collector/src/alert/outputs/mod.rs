//! Where alerts are told: Alertmanager, webhooks, mail, files.
//!
//! Notices wait in the database, a bounded number for each output, and leave it when they were sent:
//! at least once. One that is refused for good, or that could not be sent for a day, is counted and
//! let go. Alertmanager is told all that fires, again and again, as it wants to be.

mod alertmanager;
mod feed;
mod lines;
pub mod mail;
#[cfg(test)]
mod tests;
mod text;
mod webhook;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::keeper::Wants;
use super::store::AlertStore;
use crate::config::{AlertKind, AlertOutput, Alerts};
use crate::metrics::Metrics;
use crate::time;
use alertmanager::Alertmanager;
use feed::{Feed, Stop, complain};
use lines::Lines;
use mail::Mail;
use text::Words;
use webhook::Webhook;

/// Threads that tell, while they run.
pub struct Telling {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// Which notices the outputs of a configuration get; Alertmanager gets none.
#[must_use]
pub fn wants(config: &Alerts) -> Vec<Wants> {
    let by_notice = |one: &&AlertOutput| !matches!(one.kind, AlertKind::Alertmanager(..));
    let outputs = config.outputs.iter().filter(by_notice);
    let wants = outputs.map(|one| Wants {
        output: one.name.clone(),
        least: one.least_severity,
    });
    wants.collect()
}

impl Telling {
    /// Starts a thread for each output.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        config: &Alerts,
        store: &Arc<AlertStore>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let mut all = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let outputs: Vec<String> = wants(config).into_iter().map(|one| one.output).collect();
        match store.drop_others(&outputs) {
            Ok(dropped) => metrics.alert_notices_dropped_total.add(dropped),
            Err(error) => complain(&error),
        }
        for output in &config.outputs {
            let words = Words {
                is_chinese: output.is_chinese,
                page_url: config.page_url.clone(),
            };
            let feed = Feed {
                output: output.name.clone(),
                store: Arc::clone(store),
                metrics: Arc::clone(metrics),
                stop: Arc::clone(&all.stop),
            };
            let name: String = format!("tell-{}", output.name).chars().take(15).collect();
            let thread = std::thread::Builder::new().name(name);
            let least = output.least_severity;
            let kind = output.kind.clone();
            all.threads.push(thread.spawn(move || match kind {
                AlertKind::Alertmanager(http, every) => {
                    Alertmanager::new(http, every, least, words).run(&feed);
                }
                AlertKind::Webhook(http, key) => feed.run(&mut Webhook::new(http, key, words)),
                AlertKind::Smtp(smtp) => feed.run(&mut Mail::new(smtp, words)),
                AlertKind::File(path, bytes) => feed.run(&mut Lines::new(path, bytes)),
            })?);
        }
        Ok(all)
    }

    /// Lets each finish what it is sending, for at most so long.
    pub fn stop(&mut self, most: Duration) {
        self.stop.tell();
        let until = time::monotonic() + most;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && time::monotonic() < until {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            // What it was sending is sent again by the next start.
            if thread.is_finished() && thread.join().is_err() {
                log::error!("the thread of an output of alerts panicked");
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stop.tell();
    }
}
