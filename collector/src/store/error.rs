//! Why the store did not do what it was asked.

use crate::meter::Exceeded;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite failed: disk full, damaged file, no permission.
    #[error("cannot {action} the store")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The file, or one beside it, cannot be opened or is no regular file.
    #[error("cannot open the store")]
    Open(#[source] std::io::Error),
    /// The file is a database of another program.
    #[error("the file is not a store of waybill-collector")]
    Foreign,
    /// The file was written by a newer version.
    #[error("the store has version {version}, which is newer than this program")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// The file was written by an older version and only `serve` upgrades it.
    #[error("the store is of an older version; start `serve` once to upgrade it")]
    Older,
    /// A file that is to be written is there.
    #[error("{} is there already; move it away first", .path.display())]
    Exists {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The bound by size is reached, and what was evicted in this turn is not enough. Eviction goes
    /// on; the batch should be sent again.
    #[error("the store has reached its {max_bytes} bytes")]
    Full {
        /// The bound.
        max_bytes: u64,
    },
    /// One batch would take more than half of the store.
    #[error("a batch that takes more than half of the store's {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
    /// Somebody reads for so long that the write-ahead log has reached its bound.
    #[error("the log of the store has reached {bytes} bytes, because somebody reads for long")]
    Log {
        /// Its size.
        bytes: u64,
    },
    /// A row cannot be what this program wrote.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found.
        what: &'static str,
    },
    /// A server cannot be reached, or its answer breaks off.
    #[error("the store cannot be reached")]
    Unreachable(#[source] std::sync::Arc<dyn std::error::Error + Send + Sync>),
    /// Somebody else wrote the same at once.
    #[error("somebody else changed it at the same moment; look at it, and try again")]
    Overtaken,
    /// A server refuses what it was asked.
    #[error("the store answered {status}: {message}")]
    Answered {
        /// Of HTTP.
        status: u16,
        /// In its words, shortened.
        message: String,
    },
    /// The answer would take more than it may.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
}

impl Error {
    /// The same of another batch that failed together with one.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Unreachable(cause) => Self::Unreachable(std::sync::Arc::clone(cause)),
            Self::Answered { status, message } => Self::Answered {
                status: *status,
                message: message.clone(),
            },
            Self::Damaged { what } => Self::Damaged { what },
            _ => Self::Damaged {
                what: "a batch that failed together with another one",
            },
        }
    }

    /// The sentence, with those of its causes behind it.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        text
    }

    pub(super) fn sqlite(action: &'static str, source: rusqlite::Error) -> Self {
        Self::Sqlite { action, source }
    }
}

/// A question that failed.
pub(super) fn failed(source: rusqlite::Error) -> Error {
    Error::sqlite("read", source)
}
