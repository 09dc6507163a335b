//! The logger: one `key=value` line per record, with the time and in one write.
//!
//! Messages are constant phrases and data stands in keys, so a reader greps for the phrase; values
//! are escaped, for they may come from a hostile host. A warning or error that repeats is limited for
//! each place in the source: neither an outage nor a peer may fill the disk. How many were held back
//! is said with the next line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ::log::kv::{Error, Key, Value, VisitSource};
use ::log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

/// Lines that a [`Limiter`] lets through within [`WINDOW_MS`].
const BURST: u64 = 10;
/// Milliseconds.
const WINDOW_MS: i64 = 60_000;
/// The key of lines held back. A line that has it was limited by its writer, by something else than
/// its place in the source.
const SUPPRESSED: &str = "suppressed";
/// Crates of others speak at this level at most: they log per connection.
const FOREIGN: LevelFilter = LevelFilter::Warn;

/// Starts logging at `level` to `out`, for the whole process; `own` is the name of the crate that may
/// say more than warnings, and `now_ms` the clock, in Unix milliseconds.
///
/// # Errors
/// Logging was started before.
pub fn init(
    level: LevelFilter,
    own: &'static str,
    now_ms: fn() -> i64,
    out: Box<dyn Write + Send>,
) -> Result<(), SetLoggerError> {
    let sites = Mutex::default();
    let out = Mutex::new(out);
    ::log::set_boxed_logger(Box::new(Logger {
        own,
        now_ms,
        sites,
        out,
    }))?;
    ::log::set_max_level(level);
    Ok(())
}

struct Logger {
    own: &'static str,
    now_ms: fn() -> i64,
    sites: Mutex<HashMap<Site, Limiter>>,
    out: Mutex<Box<dyn Write + Send>>,
}

/// A place in the source: the number of them is fixed when the program is built.
type Site = (&'static str, u32);

impl Logger {
    /// Whether a line may be written now, and how many were held back before it.
    fn admit(&self, record: &Record<'_>, now_ms: i64) -> Option<u64> {
        let limited = record.key_values().get(Key::from_str(SUPPRESSED)).is_some();
        if record.level() > Level::Warn || limited {
            return Some(0);
        }
        let file = record.file_static().unwrap_or("");
        let site = (file, record.line().unwrap_or(0));
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = sites.entry(site).or_default();
        limiter.admit(now_ms)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().split("::").next() == Some(self.own);
        ours || metadata.level() <= FOREIGN
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now_ms = (self.now_ms)();
        let Some(suppressed) = self.admit(record, now_ms) else {
            return;
        };
        let line = line(record, now_ms, suppressed);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // When the log cannot be written there is nobody left to tell.
        out.write_all(line.as_bytes()).ok();
    }

    fn flush(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.flush().ok();
    }
}

/// The whole line with its end.
fn line(record: &Record<'_>, now_ms: i64, suppressed: u64) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let mut line = format!("time={} level={level}", notation::rfc3339(now_ms));
    push(&mut line, "msg", &record.args().to_string());
    // Writing into a string cannot fail.
    record.key_values().visit(&mut Pairs(&mut line)).ok();
    if suppressed > 0 {
        push(&mut line, SUPPRESSED, &suppressed.to_string());
    }
    line.push('\n');
    line
}

struct Pairs<'l>(&'l mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        push(self.0, key.as_str(), &value.to_string());
        Ok(())
    }
}

/// ` key=value`, quoted and escaped where a reader could mistake it: values may be hostile names.
fn push(line: &mut String, key: &str, value: &str) {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/+%@,[]".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        write!(line, " {key}={value}").ok();
    } else {
        write!(line, " {key}={value:?}").ok();
    }
}

/// Lets a few lines through per window and counts the rest.
#[derive(Debug, Default)]
pub struct Limiter {
    window_start_ms: AtomicI64,
    in_window: AtomicU64,
    suppressed: AtomicU64,
}

impl Limiter {
    /// One that has let nothing through yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            window_start_ms: AtomicI64::new(0),
            in_window: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// `Some(n)` when a line may be written now, `n` of which were held back before it.
    ///
    /// Two threads at the edge of a window may let one line more through; nothing is miscounted.
    pub fn admit(&self, now_ms: i64) -> Option<u64> {
        let start = self.window_start_ms.load(Ordering::Relaxed);
        let first = self.in_window.load(Ordering::Relaxed) == 0;
        if first || now_ms.abs_diff(start) >= WINDOW_MS.unsigned_abs() {
            self.window_start_ms.store(now_ms, Ordering::Relaxed);
            self.in_window.store(0, Ordering::Relaxed);
        }
        if self.in_window.fetch_add(1, Ordering::Relaxed) < BURST {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Lines that were held back in a window that is over, where none came since that says so.
    pub fn overdue(&self, now_ms: i64) -> Option<u64> {
        let start = self.window_start_ms.load(Ordering::Relaxed);
        if now_ms.abs_diff(start) < WINDOW_MS.unsigned_abs() {
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn a_line_has_time_level_message_and_keys_in_order() {
        let pairs = [
            ("path", "/a/b"),
            ("error", "no such \"file\"\n"),
            ("name", "\u{202e}x"),
            ("empty", ""),
        ];
        let record = Record::builder()
            .level(Level::Warn)
            .args(format_args!("status not written"))
            .key_values(&pairs)
            .build();
        assert_eq!(
            line(&record, 0, 3),
            "time=1970-01-01T00:00:00.000Z level=warn msg=\"status not written\" path=/a/b \
             error=\"no such \\\"file\\\"\\n\" name=\"\\u{202e}x\" empty=\"\" suppressed=3\n"
        );
    }

    #[test]
    fn a_flood_is_cut_and_the_next_line_says_how_many_were_held_back() {
        let limiter = Limiter::default();
        let let_through = (0..100).filter(|_| limiter.admit(1000).is_some()).count();
        assert_eq!(let_through as u64, BURST);
        assert_eq!(limiter.admit(1000 + WINDOW_MS), Some(100 - BURST));
        assert_eq!(limiter.admit(1001 + WINDOW_MS), Some(0));
    }

    #[test]
    fn what_was_held_back_before_all_was_quiet_is_told_once() {
        let limiter = Limiter::default();
        for _ in 0..BURST + 5 {
            limiter.admit(1000);
        }
        assert_eq!(limiter.overdue(1000 + WINDOW_MS - 1), None);
        assert_eq!(limiter.overdue(1000 + WINDOW_MS), Some(5));
        assert_eq!(limiter.overdue(1000 + 2 * WINDOW_MS), None);
    }

    /// Lines that were written.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicU64>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_place_is_limited_but_for_what_limits_itself_and_information() {
        let lines = Lines::default();
        let logger = Logger {
            own: "ours",
            now_ms: || 5,
            sites: Mutex::default(),
            out: Mutex::new(Box::new(lines.clone())),
        };
        let written = |target: &str, level, line, pairs: &[(&str, u64)]| {
            let before = lines.0.load(Ordering::Relaxed);
            for _ in 0..100 {
                logger.log(
                    &Record::builder()
                        .target(target)
                        .level(level)
                        .file_static(Some("a.rs"))
                        .line(Some(line))
                        .key_values(&pairs)
                        .build(),
                );
            }
            lines.0.load(Ordering::Relaxed) - before
        };
        assert_eq!(written("ours::x", Level::Warn, 1, &[]), BURST);
        assert_eq!(written("ours::x", Level::Warn, 1, &[]), 0, "the same place");
        assert_eq!(written("ours::x", Level::Error, 2, &[]), BURST);
        assert_eq!(written("ours::x", Level::Info, 3, &[]), 100);
        assert_eq!(written("ours::x", Level::Warn, 4, &[(SUPPRESSED, 7)]), 100);
        assert_eq!(written("theirs", Level::Info, 5, &[]), 0);
        assert_eq!(written("theirs", Level::Warn, 6, &[]), BURST);
    }
}
