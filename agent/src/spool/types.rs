//! What enters and leaves the spool.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Names one batch within its host: which run of the agent sealed it, and its number in that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    /// Random bytes of one agent run.
    pub boot: [u8; 16],
    /// 1, 2, 3 and so on within that run.
    pub sequence: u64,
}

impl fmt::Display for BatchId {
    /// `<boot as 32 hex digits>-<sequence>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:032x}-{}",
            u128::from_be_bytes(self.boot),
            self.sequence
        )
    }
}

impl Serialize for BatchId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One encoded batch, complete and never changed again.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name; a second batch of the same name is refused.
    pub id: BatchId,
    /// Random bytes of this host, the same in all its runs.
    pub host: [u8; 16],
    /// Unix milliseconds of the sealing; the age bound counts from here.
    pub sealed_ms: u64,
    /// Rows in the batch, for people who list the spool.
    pub rows: u64,
    /// The batch as `wire::encode` made it.
    pub bytes: Vec<u8>,
}

impl Sealed {
    /// What the collector deduplicates by: `<host hex32>-<boot hex32>-<sequence>`.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{:032x}-{}", u128::from_be_bytes(self.host), self.id)
    }
}

impl fmt::Debug for Sealed {
    /// The payload by its length only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({}, {} rows, {} bytes)",
            self.id,
            self.rows,
            self.bytes.len()
        )
    }
}

/// How much the spool may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Payload bytes of all batches together.
    pub max_bytes: u64,
    /// Age by the system's clock, counted from the sealing, at which a batch is given up.
    pub max_age: Duration,
}

/// What a batch in the spool waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for an upload.
    Stored,
    /// Is being uploaded.
    Leased,
}

/// Why an upload is to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The collector is away, busy or does not know this host: no batch would have fared better.
    Peer,
    /// The collector failed at this batch: others go first from now on.
    Batch,
}

/// What became of batches since the last look.
///
/// Over any stretch, `stored + dropped_error` is what was put, and `found + stored` is
/// `acked + refused + released + evicted_* + quarantined` and what is still held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches of earlier runs found at open (or counted in a file set aside then).
    pub found: u64,
    /// Batches stored.
    pub stored: u64,
    /// Batches deleted because the collector has them.
    pub acked: u64,
    /// Payload bytes of those.
    pub acked_bytes: u64,
    /// Batches that somebody else deleted: what was exported, by `receipt`.
    pub released: u64,
    /// Batches deleted because the collector refused them for good.
    pub refused: u64,
    /// Batches deleted to keep the size bound.
    pub evicted_size: u64,
    /// Batches deleted because they were too old.
    pub evicted_age: u64,
    /// Batches deleted because the disk was full or the file at its limit.
    pub evicted_disk: u64,
    /// Batches that could not be stored.
    pub dropped_error: u64,
    /// Batches in databases that were set aside.
    pub quarantined: u64,
    /// Databases set aside.
    pub quarantined_files: u64,
    /// The part of `quarantined_files` whose batches could not be counted; they are neither in
    /// `found` nor in `quarantined`.
    pub quarantined_uncounted: u64,
}

/// Numbers of batches of one run that were lost: the first, the last, and perhaps some in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Lost {
    /// Takes in others.
    pub fn add(lost: &mut Option<Self>, other: Self) {
        let both = lost.unwrap_or(other);
        *lost = Some(Self {
            first: both.first.min(other.first),
            last: both.last.max(other.last),
        });
    }
}

impl From<u64> for Lost {
    fn from(sequence: u64) -> Self {
        Self {
            first: sequence,
            last: sequence,
        }
    }
}

/// One line of `spool ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name of the batch.
    pub id: BatchId,
    /// Unix milliseconds of the sealing.
    pub sealed_ms: u64,
    /// Rows in the batch.
    pub rows: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// What it waits for.
    pub state: State,
    /// Uploads tried so far.
    pub attempts: u64,
}

/// What `spool stat` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// The database.
    pub path: PathBuf,
    /// Batches, leased ones included.
    pub batches: u64,
    /// The part of `batches` that is being uploaded.
    pub leased: u64,
    /// The part of `batches` that is in a file of `export`, and waits for a receipt.
    pub exported: u64,
    /// Payload bytes of all batches.
    pub payload_bytes: u64,
    /// Unix milliseconds at which the oldest batch was sealed.
    pub oldest_sealed_ms: Option<u64>,
    /// Unix milliseconds at which the newest batch was sealed.
    pub newest_sealed_ms: Option<u64>,
    /// Size of the database and its write-ahead log on disk.
    pub file_bytes: u64,
    /// Damaged databases that were set aside and are kept for inspection.
    pub quarantined: Vec<PathBuf>,
}

/// Why the spool cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or the file's page limit, is full.
    #[error("the disk under the spool is full")]
    Full(#[source] rusqlite::Error),
    /// The database is damaged; the spool sets it aside by itself.
    #[error("the spool database is damaged")]
    Corrupt(#[source] rusqlite::Error),
    /// A database of another program, which is left alone.
    #[error("{} is a database of another program (application id {application_id:#x})", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What its header says.
        application_id: i32,
    },
    /// A spool of a newer agent.
    #[error("the spool has schema {found}, this agent knows {known}")]
    Newer {
        /// Schema version of the file.
        found: i32,
        /// Schema version of this agent.
        known: i32,
    },
    /// A spool of an older agent; `run` brings it up to date.
    #[error("the spool has schema {found}, this agent writes {known}: start the agent once")]
    Older {
        /// Schema version of the file.
        found: i32,
        /// Schema version of this agent.
        known: i32,
    },
    /// A reader holds an old snapshot, and the log has grown to its bound meanwhile.
    #[error("another process reads the spool for too long")]
    LogHeld,
    /// The database cannot be used for another reason.
    #[error("use the spool database")]
    Database(#[source] rusqlite::Error),
    /// The file or its directory cannot be used.
    #[error("use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What the system said of a file.
    pub(super) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
