//! Progress of a command that does several things: a heading before each, the time after it.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::Result;

/// Writes `== name` to standard output, runs `work`, then writes how long it took.
///
/// # Errors
/// What `work` returned, or a failure to write.
pub(crate) fn stage<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(&format!("== {name}"))?;
    let started = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "done" } else { "FAILED" };
    say(&format!(
        "== {name}: {outcome} in {:.1} s",
        started.elapsed().as_secs_f64()
    ))?;
    result
}

/// Writes one line to standard output and makes sure that it is seen at once.
///
/// # Errors
/// A failure to write.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
