//! Exit codes: the part of the project's table that a collector can end with.

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed at run time.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The store cannot be opened.
    Store = 5,
}

/// An error together with the exit code it leads to.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened; printed once, by `main`.
    pub error: anyhow::Error,
}

impl Failure {
    /// A mistake in the command line or the configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// A store that cannot be opened.
    pub fn store(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Store,
            error: error.into(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            exit: Exit::Failure,
            error,
        }
    }
}
