//! Small files that say how the agent stands, each replaced as a whole by a thread of their own: the
//! event loop waits for no disk.
//!
//! Orders come before the status that tells of them, so who reads a version in the status finds it on
//! disk, or a failure counted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::warn;

use crate::fault;
use crate::jail::Jailed;
use crate::metrics::Metrics;
use crate::{orders, status};

/// More than this many files waiting means that the disk stands still.
const QUEUED_MAX: usize = 4;
/// Orders that could not be written are tried again after this long, or with whatever comes next.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum Job {
    Orders(Vec<u8>),
    Status(Vec<u8>),
    /// For tests of what the others do while this thread stands still.
    #[cfg(test)]
    StandStill(Receiver<()>),
}

/// The event loop's end of the thread.
#[derive(Debug)]
pub struct Writer {
    jobs: Option<Sender<Job>>,
    /// Carries nothing; closed when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
}

/// Where they go.
#[derive(Clone, Debug)]
pub struct Places {
    /// The status.
    pub run: PathBuf,
    /// Orders.
    pub state: PathBuf,
}

impl Writer {
    /// Starts the thread "files".
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(_jailed: &Jailed, places: Places, metrics: Arc<Metrics>) -> io::Result<Self> {
        Self::start_with(places, metrics)
    }

    fn start_with(places: Places, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (jobs, queued) = bounded(QUEUED_MAX);
        let (end, ended) = bounded(0);
        let counters = Arc::clone(&metrics);
        let thread = Builder::new().name("files".to_owned()).spawn(move || {
            let _end: Sender<()> = end;
            run(&queued, &places, &counters);
        })?;
        Ok(Self {
            jobs: Some(jobs),
            ended,
            thread: Some(thread),
            metrics,
        })
    }

    /// Hands over a status. One that finds the queue full is dropped and counted: the next one says
    /// more.
    pub fn status(&self, text: Vec<u8>) {
        if !self.queue(Job::Status(text)) {
            self.metrics.status_dropped_total.add(1);
        }
    }

    /// Hands over orders as [`orders::kept`] gives them; false when they must be handed over again.
    #[must_use]
    pub fn orders(&self, text: Vec<u8>) -> bool {
        self.queue(Job::Orders(text))
    }

    fn queue(&self, job: Job) -> bool {
        let jobs = self.jobs.as_ref();
        jobs.is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Lets the thread write what is queued and end; gives up after `patience`, because a disk that
    /// stands still must not keep the agent. False: something may not be written.
    pub fn end(mut self, patience: Duration) -> bool {
        self.jobs = None;
        let ended = self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected);
        let thread = self.thread.take().filter(|_| ended);
        thread.is_some_and(|thread| thread.join().is_ok())
    }
}

fn run(queued: &Receiver<Job>, places: &Places, metrics: &Metrics) {
    let mut owed = None;
    loop {
        let job = match owed {
            None => queued.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => queued.recv_timeout(RETRY),
        };
        fault::stand_still();
        match job {
            Ok(Job::Orders(text)) => owed = Some(text),
            Ok(Job::Status(text)) => {
                if let Err(error) = status::write(&places.run, &text) {
                    warn!(error:% = error; "status not written");
                }
            }
            #[cfg(test)]
            Ok(Job::StandStill(until)) => drop(until.recv()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some(text) = &owed {
            match orders::write(&places.state, text) {
                Ok(()) => owed = None,
                Err(error) => {
                    metrics.orders_disk_failures_total.add(1);
                    warn!(error:% = error; "orders not kept for the next start");
                }
            }
        }
    }
    if let Some(text) = owed
        && let Err(error) = orders::write(&places.state, &text)
    {
        warn!(error:% = error; "orders not kept for the next start");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn writer(place: &Path) -> Writer {
        let places = Places {
            run: place.to_owned(),
            state: place.to_owned(),
        };
        Writer::start_with(places, Arc::default()).unwrap()
    }

    #[test]
    fn what_was_handed_over_is_written_before_the_end() {
        let place = tempfile::tempdir().unwrap();
        let writer = writer(place.path());
        assert!(writer.orders(b"orders".to_vec()));
        writer.status(b"status".to_vec());
        assert!(writer.end(Duration::from_secs(60)));
        let read = |name| fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(read("orders.json"), "orders");
        assert_eq!(read("orders.json.copy"), "orders");
        assert_eq!(read("status.json"), "status");
    }

    #[test]
    fn a_disk_that_stands_still_stops_only_this_thread_and_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let writer = writer(place.path());
        let (resume, until) = bounded::<()>(0);
        assert!(writer.queue(Job::StandStill(until)));
        let (metrics, count) = (Arc::clone(&writer.metrics), 20);
        for _ in 0..count {
            writer.status(b"status".to_vec());
        }
        let dropped = metrics.status_dropped_total.get();
        assert!(dropped >= count - QUEUED_MAX as u64, "{dropped}");
        assert!(!writer.orders(b"orders".to_vec()), "there is no room");
        assert!(!writer.end(Duration::from_millis(10)), "it cannot end");
        drop(resume);
    }

    #[test]
    fn orders_that_could_not_be_written_are_written_when_they_can() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("later");
        let places = Places {
            run: place.path().to_owned(),
            state: state.clone(),
        };
        let writer = Writer::start_with(places, Arc::default()).unwrap();
        let metrics = Arc::clone(&writer.metrics);
        assert!(writer.orders(b"orders".to_vec()));
        while metrics.orders_disk_failures_total.get() == 0 {
            std::thread::yield_now();
        }
        fs::create_dir(&state).unwrap();
        writer.status(b"status".to_vec());
        assert!(writer.end(Duration::from_secs(60)));
        let kept = fs::read_to_string(state.join("orders.json")).unwrap();
        assert_eq!(kept, "orders");
    }
}
