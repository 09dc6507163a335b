//! One guest from start to end: whatever it says is recorded, and it never outlives its deadline.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::record::{News, Record};
use crate::stream;

/// A guest that said that it is done has this long to power off.
const POWER_OFF: Duration = Duration::from_secs(15);

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself.
    Itself,
    /// It was killed when its deadline had passed.
    Deadline,
    /// The emulator could not run it.
    Emulator,
}

/// What is known of a guest that ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it said.
    pub record: Record,
    /// The kernel's log.
    pub log: String,
    /// What the emulator said for itself.
    pub emulator: String,
    /// How it ended.
    pub end: End,
    /// How long it ran.
    pub seconds: f64,
    /// How long it took to be ready.
    pub ready_seconds: Option<f64>,
}

/// Runs a guest: `command` writes results to its standard output and the kernel's log to
/// `console`.
///
/// # Errors
/// When the command cannot be started.
pub fn run(
    mut command: Command,
    console: &Path,
    deadline: Duration,
    watch: &mut dyn FnMut(&News),
) -> Result<Run> {
    fs::remove_file(console).ok();
    let begun = Instant::now();
    let mut child = Killed(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?,
    );
    let lines = stream::lines(child.0.stdout.take().context("standard output is piped")?)?;
    let errors = stream::whole(child.0.stderr.take().context("standard error is piped")?)?;
    let mut record = Record::default();
    let mut ready_seconds = None;
    let mut until = begun + deadline;
    let mut end = End::Itself;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                let news = record.line(&line);
                match &news {
                    News::Ready(_) => ready_seconds = Some(begun.elapsed().as_secs_f64()),
                    News::Done => until = until.min(Instant::now() + POWER_OFF),
                    _ => {}
                }
                watch(&news);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // A guest that is done and lacks what powers a machine off has done its part.
                if record.done.is_none() {
                    end = End::Deadline;
                }
                child.0.kill().ok();
                break;
            }
        }
    }
    let status = child.0.wait().context("wait for the emulator")?;
    let emulator = errors.recv_timeout(POWER_OFF).unwrap_or_default();
    let log = fs::read(console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    record.console(&log);
    if !status.success() && end == End::Itself && record.done.is_none() {
        end = End::Emulator;
    }
    Ok(Run {
        record,
        log,
        emulator,
        end,
        seconds: begun.elapsed().as_secs_f64(),
        ready_seconds,
    })
}

/// A program that is gone when this is.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
