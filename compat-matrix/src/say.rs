//! What is happening, for whoever waits: lines on standard error, from any thread.

use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

/// Where lines of progress go.
pub struct Progress {
    out: Mutex<Box<dyn Write + Send>>,
    begun: Instant,
}

impl Progress {
    /// Lines go to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out: Mutex::new(out),
            begun: Instant::now(),
        }
    }

    /// One line about one thing.
    pub fn say(&self, about: &str, what: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Ok(mut out) = self.out.lock() {
            // Whoever closed the other end does not want to know.
            writeln!(out, "{seconds:6.1} s  {about:<20} {what}").ok();
            out.flush().ok();
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
