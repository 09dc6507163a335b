//! The table of exit codes, and how an error gets one.

use anyhow::Error;

/// How a program ends; the numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or drained after SIGTERM.
    Ok = 0,
    /// Failed while running.
    Runtime = 1,
    /// Wrong arguments or configuration (clap uses the same number).
    Usage = 2,
    // 3 is free: on a host where nothing can be measured the agent runs all the same and reports
    // why, so that the fleet's list has it.
    /// Not enough privilege, or the jail cannot be entered.
    Jail = 4,
    /// The spool or the store cannot be used.
    Store = 5,
    /// What was compared is not the same: a matrix and what was seen, or two matrices.
    Differs = 6,
    /// Alerts fire, and it was asked to say so.
    Alerting = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the program, with its code.
#[derive(Debug)]
pub struct Failure {
    /// What the shell sees.
    pub exit: Exit,
    /// What the operator reads; printed once, by `main`.
    pub error: Error,
}

impl Failure {
    /// A mistake in the command line or the configuration.
    pub fn usage(error: impl Into<Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// What was compared is not the same.
    pub fn differs(error: impl Into<Error>) -> Self {
        Self {
            exit: Exit::Differs,
            error: error.into(),
        }
    }

    /// Alerts fire.
    pub fn alerting(error: impl Into<Error>) -> Self {
        Self {
            exit: Exit::Alerting,
            error: error.into(),
        }
    }

    /// A store that cannot be opened.
    pub fn store(error: impl Into<Error>) -> Self {
        Self {
            exit: Exit::Store,
            error: error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            exit: Exit::Runtime,
            error,
        }
    }
}

/// Gives the errors of one step their exit code.
pub trait OrExit<T> {
    /// The value, or a [`Failure`] with this code.
    ///
    /// # Errors
    /// The same error, with the code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            exit,
            error: error.into(),
        })
    }
}

/// True when the reader of our output went away, which is not our failure.
#[must_use]
pub fn is_broken_pipe(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::{Exit, OrExit as _, is_broken_pipe};

    #[test]
    fn a_broken_pipe_is_recognised_below_its_context() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(
            &Err::<(), _>(broken).context("print").unwrap_err()
        ));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }

    #[test]
    fn a_step_gives_its_error_a_code() {
        let failed: Result<(), _> = Err(anyhow::anyhow!("no"));
        assert_eq!(failed.or_exit(Exit::Jail).unwrap_err().exit, Exit::Jail);
    }
}
