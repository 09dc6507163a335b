//! A limit of open files that is reached: whatever needs one fails, each in its own words or in none.

use std::path::Path;
use std::time::{Duration, Instant};

use log::warn;

/// The line is written this often at most.
const EVERY: Duration = Duration::from_secs(60);

/// The limit, and when it was last said to be reached.
#[derive(Debug)]
pub struct OpenFiles {
    limit: Option<u64>,
    said: Option<Instant>,
}

impl OpenFiles {
    /// Reads the limit of this process.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        let own = proc.join(std::process::id().to_string()).join("limits");
        Self {
            limit: std::fs::read_to_string(own)
                .ok()
                .and_then(|text| limit(&text)),
            said: None,
        }
    }

    /// True when no more files can be opened now, by the word of [`follow::no_more_files`]; said once a
    /// minute.
    pub fn look(&mut self, reached: Option<&'static str>, now: Instant) -> bool {
        let Some(whose) = reached else {
            return false;
        };
        let due = self
            .said
            .is_none_or(|at| now.saturating_duration_since(at) >= EVERY);
        if due {
            self.said = Some(now);
            warn!(limit = self.limit, whose = whose; "open files: no more can be opened");
        }
        true
    }
}

/// The soft limit in `/proc/<pid>/limits`.
fn limit(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_process() {
        let text = "Max core file size        0       0       bytes\n\
                    Max open files            96      4096    files\n";
        assert_eq!(limit(text), Some(96));
        assert!(OpenFiles::new(Path::new("/proc")).limit.is_some());
    }

    #[test]
    fn a_limit_that_is_reached_counts_each_time_and_is_said_once_a_minute() {
        let mut files = OpenFiles::new(Path::new("/proc"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!files.look(None, at(0)));
        assert!(files.said.is_none());
        assert!(files.look(Some("x"), at(0)) && files.look(Some("x"), at(59)));
        assert_eq!(files.said, Some(at(0)));
        assert!(files.look(Some("x"), at(60)));
        assert_eq!(files.said, Some(at(60)));
    }
}
