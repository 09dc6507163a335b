//! Log lines on stderr: `<time> <level> <message> key=value ...`.
//!
//! The message is a constant phrase and the data are in the keys; values are escaped, for they
//! may come from a hostile host. Callers use the `log` macros with keys. What a remote peer can
//! cause goes through a [`Limiter`], so that a peer cannot fill the disk.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::escape::Shown;
use crate::time;

/// Lines a [`Limiter`] lets through per window.
const LINES_PER_WINDOW: u64 = 10;
/// Length of that window in milliseconds.
const WINDOW_MS: i64 = 10_000;

/// Starts logging at `level`; a second call only changes the level.
pub fn init(level: LevelFilter) {
    static LOGGER: Stderr = Stderr(Mutex::new(()));
    // It fails when a logger is set already, and then that one stays.
    if log::set_logger(&LOGGER).is_err() {
        log::debug!("logger already set");
    }
    log::set_max_level(level);
}

/// Writes each record as one line and one `write` call.
struct Stderr(Mutex<()>);

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries may warn; their chatter is for their developers.
        metadata.target().starts_with("collector") || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(record, time::now_ms());
            let _guard = self.0.lock();
            // A log that cannot be written has nowhere to say so.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>, now_ms: i64) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let message = record.args().to_string();
    let mut line = format!("{} {level} {}", time::rfc3339(now_ms), Shown(&message));
    // Writing to a string cannot fail, and the visitor returns no error of its own.
    drop(record.key_values().visit(&mut Pairs(&mut line)));
    line.push('\n');
    line
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let shown = Shown(&value).to_string();
        let bare = !shown.is_empty() && !shown.contains([' ', '"', '=']);
        let written = if bare {
            write!(self.0, " {key}={shown}")
        } else {
            write!(self.0, " {key}=\"{}\"", shown.replace('"', "\\\""))
        };
        written.map_err(|_| kv::Error::msg("string"))
    }
}

/// Lets a few lines through per window and counts the rest.
#[derive(Debug, Default)]
pub struct Limiter {
    window_start_ms: AtomicU64,
    in_window: AtomicU64,
    suppressed: AtomicU64,
}

impl Limiter {
    /// One that has let nothing through yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window_start_ms: AtomicU64::new(0),
            in_window: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// `Some(n)` when a line may be written now; `n` lines were held back before it.
    ///
    /// Two threads at the edge of a window may let one line more through; nothing is miscounted.
    pub fn admit(&self, now_ms: i64) -> Option<u64> {
        let now = now_ms.cast_unsigned();
        let start = self.window_start_ms.load(Ordering::Relaxed);
        if now.abs_diff(start) >= WINDOW_MS.cast_unsigned() {
            self.window_start_ms.store(now, Ordering::Relaxed);
            self.in_window.store(0, Ordering::Relaxed);
        }
        if self.in_window.fetch_add(1, Ordering::Relaxed) < LINES_PER_WINDOW {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES_PER_WINDOW, Limiter, WINDOW_MS, line};
    use log::{Level, Record};

    #[test]
    fn a_line_holds_time_level_phrase_and_keys() {
        let pairs = [
            ("address", "127.0.0.1:9"),
            ("error", "disk \"full\"\n"),
            ("empty", ""),
        ];
        let record = Record::builder()
            .level(Level::Info)
            .args(format_args!("listening"))
            .key_values(&pairs)
            .build();
        assert_eq!(
            line(&record, 0),
            "1970-01-01T00:00:00.000Z info listening address=127.0.0.1:9 \
             error=\"disk \\\"full\\\"\\n\" empty=\"\"\n"
        );
    }

    #[test]
    fn a_flood_is_cut_and_the_next_line_says_how_many_were_held_back() {
        let limiter = Limiter::new();
        let now = 1_000_000;
        let let_through = (0..100).filter(|_| limiter.admit(now).is_some()).count();
        assert_eq!(let_through as u64, LINES_PER_WINDOW);
        assert_eq!(limiter.admit(now + WINDOW_MS), Some(100 - LINES_PER_WINDOW));
        assert_eq!(limiter.admit(now + WINDOW_MS), Some(0));
    }
}
