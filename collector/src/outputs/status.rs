//! What is counted of outputs, for `GET /metrics`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::exposed::{Exposed, Place};
use crate::metrics::Counter;
use crate::store::outbox::Outbox;

/// Counters of one output beside its progress.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Attempts that failed and are made again.
    pub(super) failed: Counter,
    /// Rows that were left out because there were more series than `max_series`.
    pub(super) rows_left_out: Counter,
    /// 1 while the last attempt failed.
    pub(super) failing: Counter,
    /// Rows that were added to the series for the rest.
    pub(super) rows_in_other: Counter,
    /// What a scrape shows of an output that is for that.
    pub(super) exposed: Mutex<Exposed>,
}

/// All outputs, for whoever asks.
#[derive(Debug)]
pub struct Status {
    outbox: Arc<Outbox>,
    counters: Vec<(String, Arc<Counters>)>,
}

/// Name, type, description and value.
type Line = (&'static str, &'static str, &'static str, fn(&Seen) -> u64);

/// One output at one moment.
struct Seen {
    accepted: u64,
    waiting: u64,
    sent: u64,
    refused: u64,
    dropped: u64,
    counters: Arc<Counters>,
}

const LINES: [Line; 9] = [
    (
        "output_accepted_total",
        "counter",
        "Batches stored since the output was configured: sent, refused, dropped or waiting.",
        |seen| seen.accepted,
    ),
    (
        "output_sent_total",
        "counter",
        "Batches that the destination has.",
        |seen| seen.sent,
    ),
    (
        "output_refused_total",
        "counter",
        "Batches of which the destination will never take all.",
        |seen| seen.refused,
    ),
    (
        "output_dropped_total",
        "counter",
        "Batches that made room for others before they were sent.",
        |seen| seen.dropped,
    ),
    (
        "output_waiting",
        "gauge",
        "Batches that wait for the output.",
        |seen| seen.waiting,
    ),
    (
        "output_attempts_failed_total",
        "counter",
        "Attempts that failed and were, or will be, made again.",
        |seen| seen.counters.failed.get(),
    ),
    (
        "output_failing",
        "gauge",
        "1 while the last attempt failed.",
        |seen| seen.counters.failing.get(),
    ),
    (
        "output_rows_left_out_total",
        "counter",
        "Rows left out because there were more series than max_series.",
        |seen| seen.counters.rows_left_out.get(),
    ),
    (
        "output_rows_in_other_total",
        "counter",
        "Rows added to series whose labels are other, because there were max_series others.",
        |seen| seen.counters.rows_in_other.get(),
    ),
];

impl Status {
    /// Of the outputs of an outbox.
    #[must_use]
    pub fn new(outbox: &Arc<Outbox>) -> Self {
        let counters = outbox.outputs.iter();
        let counters = counters.map(|output| (output.name.clone(), Arc::default()));
        Self {
            counters: counters.collect(),
            outbox: Arc::clone(outbox),
        }
    }

    pub(super) fn of(&self, name: &str) -> Arc<Counters> {
        let mut counters = self.counters.iter();
        let found = counters.find(|(known, _)| known == name);
        found.map_or_else(Arc::default, |(_, counters)| Arc::clone(counters))
    }

    /// Whether an output's last attempt failed.
    #[must_use]
    pub fn failing(&self) -> Vec<&str> {
        let failing = self.counters.iter();
        let failing = failing.filter(|(_, counters)| counters.failing.get() == 1);
        failing.map(|(name, _)| name.as_str()).collect()
    }

    /// Prometheus text exposition, version 0.0.4; nothing where there are no outputs.
    #[must_use]
    pub fn prometheus(&self, now_ms: i64) -> String {
        let mut text = String::new();
        if self.counters.is_empty() {
            return text;
        }
        let outputs = self.outbox.outputs.iter().zip(&self.counters);
        let seen = outputs.map(|(output, (name, counters))| {
            let at = output.at();
            let (accepted, waiting) = self.outbox.accepted(output);
            let seen = Seen {
                accepted,
                waiting,
                sent: at.sent,
                refused: at.refused,
                dropped: at.dropped,
                counters: Arc::clone(counters),
            };
            (name, seen)
        });
        let seen: Vec<_> = seen.collect();
        for (metric, kind, help, value) in LINES {
            head(&mut text, metric, kind, help);
            for (name, seen) in &seen {
                let value = value(seen);
                let _ = writeln!(
                    text,
                    "waybill_collector_{metric}{{output=\"{name}\"}} {value}"
                );
            }
        }
        let level = self.outbox.level();
        let age_ms = level
            .oldest_ms
            .map_or(0, |at| now_ms.saturating_sub(at).max(0));
        let gauges = [
            (
                "outbox_bytes",
                "Bytes of batches that wait for outputs.",
                level.bytes as f64,
            ),
            (
                "outbox_oldest_age_seconds",
                "Age of the oldest batch that waits for an output.",
                age_ms as f64 / 1e3,
            ),
        ];
        for (metric, help, value) in gauges {
            head(&mut text, metric, "gauge", help);
            let _ = writeln!(text, "waybill_collector_{metric} {value}");
        }
        text
    }
}

/// The series of the fleet as text, piece by piece.
#[derive(Debug)]
pub struct Pieces {
    status: Arc<Status>,
    output: usize,
    place: Place,
}

impl Pieces {
    /// From the first one on.
    #[must_use]
    pub fn new(status: &Arc<Status>) -> Self {
        Self {
            status: Arc::clone(status),
            output: 0,
            place: Place::default(),
        }
    }

    /// The next piece, some 64 KiB; `None` behind the last one.
    pub fn next(&mut self, now_ms: i64) -> Option<String> {
        let mut text = String::new();
        while let Some((_, counters)) = self.status.counters.get(self.output) {
            let exposed = counters.exposed.lock();
            let exposed = exposed.unwrap_or_else(PoisonError::into_inner);
            if exposed.write(&mut self.place, now_ms, &mut text) {
                return Some(text);
            }
            (self.output, self.place) = (self.output + 1, Place::default());
        }
        (!text.is_empty()).then_some(text)
    }
}

fn head(text: &mut String, metric: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "# HELP waybill_collector_{metric} {help}\n# TYPE waybill_collector_{metric} {kind}\n"
    );
}
