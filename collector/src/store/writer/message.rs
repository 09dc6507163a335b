//! What the writer thread is asked for, and what of it shares a commit.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::accept::Opened;
use crate::store::error::Error;
use crate::store::pace::Pace;
use crate::store::put::Outcome;
use crate::store::slices::Finished;

/// Rows after which no further batch joins a commit: what it adds to the log is bounded.
const GROUP_ROWS: usize = 50_000;

/// A batch on its way to the store. Dropping the job drops `reply`, which the other side sees.
#[derive(Debug)]
pub struct Job {
    /// The batch.
    pub opened: Opened,
    /// Where the outcome goes. Without one the batch was not stored and should be sent again,
    /// unless it is [`Error::TooLarge`].
    pub reply: oneshot::Sender<Result<Outcome, Error>>,
    /// When it was put into the queue.
    pub queued: Instant,
}

impl Job {
    /// One that is put into the queue now.
    #[must_use]
    pub fn new(
        opened: Opened,
        reply: oneshot::Sender<Result<Outcome, Error>>,
        queued: Instant,
    ) -> Self {
        Self {
            opened,
            reply,
            queued,
        }
    }
}

/// What the writer thread is asked for.
#[derive(Debug)]
pub enum Message {
    /// To store a batch.
    Batch(Box<Job>),
    /// To store what was joined of a slice, and to say what became of it.
    Joined(Finished, SyncSender<Result<(), Error>>),
}

/// What was joined, and where the outcome goes.
pub(super) type Joined = (Finished, SyncSender<Result<(), Error>>);

/// A job and those that come behind it, as many as one commit takes, up to something else.
pub(super) fn group(
    first: Job,
    jobs: &Receiver<Message>,
    pace: &mut Pace,
) -> (Vec<Job>, Option<Joined>) {
    let host = |job: &Job| job.opened.batch.header.host;
    let now = Instant::now();
    let mut until = now + pace.arrived(host(&first), now);
    let mut rows = first.opened.batch.row_count();
    let mut group = vec![first];
    while group.len() < pace.most() && rows < GROUP_ROWS {
        let left = until.saturating_duration_since(Instant::now());
        match jobs.recv_timeout(left) {
            Ok(Message::Batch(job)) => {
                let now = Instant::now();
                until = until.min(now + pace.arrived(host(&job), now));
                rows += job.opened.batch.row_count();
                group.push(*job);
            }
            Ok(Message::Joined(finished, reply)) => return (group, Some((finished, reply))),
            Err(_) => break,
        }
    }
    (group, None)
}
