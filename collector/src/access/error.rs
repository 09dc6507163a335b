//! Why the database of credentials did not do what it was asked.

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open the database of credentials")]
    Open(#[source] std::io::Error),
    /// It is a database of another program.
    #[error("is no database of credentials of waybill-collector")]
    Foreign,
    /// A newer collector has written it.
    #[error("has version {version}, which is newer than this collector")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    Random,
    /// There is no memory for it, or what is kept of it cannot be used.
    #[error("a password cannot be hashed")]
    Password,
    /// SQLite.
    #[error("cannot {doing} the database of credentials")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    pub(super) fn read(source: rusqlite::Error) -> Self {
        Self::Sqlite {
            doing: "read",
            source,
        }
    }

    pub(super) fn write(source: rusqlite::Error) -> Self {
        Self::Sqlite {
            doing: "write to",
            source,
        }
    }
}
