//! The agent's log goes to a descriptor that was opened before the jail; see [`program::log`].

mod output;

use std::io::Write;

use ::log::{LevelFilter, SetLoggerError};

use crate::clock;

pub use output::{Background, Output};

/// Starts logging at `level` to `out`, for the whole process.
///
/// # Errors
/// Logging was started before.
pub fn init(level: LevelFilter, out: Box<dyn Write + Send>) -> Result<(), SetLoggerError> {
    let now_ms = || i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
    program::log::init(level, env!("CARGO_CRATE_NAME"), now_ms, out)
}
