//! Names that say which run of which process a thing belongs to.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// First characters of everything that any lab makes.
pub const PREFIX: &str = "wblab-";

/// A lab's name: `wblab-<pid>-<start>-<n>`.
///
/// The start time of the process tells a living lab from one whose process id was used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabName {
    process: u32,
    started: u64,
    number: u32,
}

impl LabName {
    /// The next name of this process.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn next() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let process = std::process::id();
        let started = started(process).context("read the start time of this process")?;
        Ok(Self {
            process,
            started,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The name at the beginning of `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split(['-', '.']);
        let process = parts.next()?.parse().ok()?;
        let started = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some(Self {
            process,
            started,
            number,
        })
    }

    /// Whether the process that made the lab still runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        started(self.process) == Some(self.started)
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}-{}-{}",
            self.process, self.started, self.number
        )
    }
}

/// Start time of a process in clock ticks since boot, if it exists.
fn started(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may contain blanks; field 22 is the 20th after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_again_in_what_was_named() {
        let name = LabName::next().unwrap();
        assert_eq!(
            LabName::parse(&format!("{name}-client")),
            Some(name.clone())
        );
        assert_eq!(LabName::parse(&format!("{name}")), Some(name.clone()));
        assert!(name.alive());
    }

    #[test]
    fn a_reused_process_id_does_not_keep_a_lab_alive() {
        let mut name = LabName::next().unwrap();
        name.started += 1;
        assert!(!name.alive());
    }

    #[test]
    fn foreign_names_are_not_ours() {
        assert_eq!(LabName::parse("blue-1-2-3"), None);
        assert_eq!(LabName::parse("wblab-x-2-3"), None);
    }
}
