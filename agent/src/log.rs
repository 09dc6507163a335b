//! The agent's own logger: one key=value line per record, on a descriptor opened before the jail.
//!
//! Messages are constant lower-case phrases and data stands in keys, so a reader greps for the
//! phrase. A warning or error that repeats is limited per call site: what an outage says a thousand
//! times must not fill the host's disk. How many were left out is said with the next line.

mod output;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use ::log::kv::{Error, Key, Value, VisitSource};
use ::log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::clock;

pub use output::{Background, Output};

/// Lines of one warning or error within [`WINDOW_MS`].
const BURST: u32 = 10;
const WINDOW_MS: u64 = 60_000;
/// Crates of others speak at this level at most: they log per connection.
const FOREIGN: LevelFilter = LevelFilter::Warn;

/// Starts logging at `level` to `out`, for the whole process.
///
/// # Errors
/// Logging was started before.
pub fn init(level: LevelFilter, out: Box<dyn Write + Send>) -> Result<(), SetLoggerError> {
    let sink = Sink {
        out,
        sites: HashMap::new(),
    };
    ::log::set_boxed_logger(Box::new(Logger {
        level,
        sink: Mutex::new(sink),
    }))?;
    ::log::set_max_level(level);
    Ok(())
}

struct Logger {
    level: LevelFilter,
    sink: Mutex<Sink>,
}

struct Sink {
    out: Box<dyn Write + Send>,
    sites: HashMap<Site, Window>,
}

/// A place in the source: the number of them is fixed when the program is built.
type Site = (&'static str, u32);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    start_ms: u64,
    written: u32,
    left_out: u64,
}

impl Window {
    /// Whether a line may be written now, and how many were not since the last one.
    fn admit(&mut self, now_ms: u64) -> Option<u64> {
        if self.written == 0 || now_ms.saturating_sub(self.start_ms) >= WINDOW_MS {
            self.start_ms = now_ms;
            self.written = 0;
        }
        if self.written >= BURST {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        metadata.level() <= self.level && (ours || metadata.level() <= FOREIGN)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = if record.level() <= Level::Warn {
            let site = (
                record.file_static().unwrap_or(""),
                record.line().unwrap_or(0),
            );
            match sink
                .sites
                .entry(site)
                .or_default()
                .admit(clock::monotonic_ms())
            {
                Some(left_out) => left_out,
                None => return,
            }
        } else {
            0
        };
        let line = line(record, clock::unix_ms(), left_out);
        // When the log cannot be written there is nobody left to tell.
        sink.out.write_all(line.as_bytes()).ok();
    }

    fn flush(&self) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.out.flush().ok();
    }
}

/// The whole line with its end.
fn line(record: &Record<'_>, now_ms: u64, left_out: u64) -> String {
    let time = notation::rfc3339(i64::try_from(now_ms).unwrap_or(i64::MAX));
    let mut line = format!("time={time} level={}", level(record.level()));
    push(&mut line, "msg", &record.args().to_string());
    // Writing into a string cannot fail.
    record.key_values().visit(&mut Pairs(&mut line)).ok();
    if left_out > 0 {
        push(&mut line, "left_out", &left_out.to_string());
    }
    line.push('\n');
    line
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
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

#[cfg(test)]
mod tests {
    use super::{BURST, WINDOW_MS, Window, line};
    use ::log::{Level, Record};

    #[test]
    fn a_line_has_time_level_message_and_keys_in_order() {
        let pairs = [("path", "/a/b"), ("error", "no such \"file\"\n")];
        let record = Record::builder()
            .level(Level::Warn)
            .args(format_args!("status not written"))
            .key_values(&pairs)
            .build();
        assert_eq!(
            line(&record, 0, 3),
            "time=1970-01-01T00:00:00.000Z level=warn msg=\"status not written\" path=/a/b \
             error=\"no such \\\"file\\\"\\n\" left_out=3\n"
        );
    }

    #[test]
    fn a_repeated_warning_is_limited_and_says_how_often_it_was_left_out() {
        let mut window = Window::default();
        for _ in 0..BURST {
            assert_eq!(window.admit(1000), Some(0));
        }
        assert_eq!(window.admit(1001), None);
        assert_eq!(window.admit(1002), None);
        assert_eq!(window.admit(1000 + WINDOW_MS), Some(2));
        assert_eq!(window.admit(1001 + WINDOW_MS), Some(0));
    }
}
