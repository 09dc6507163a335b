//! What of each scarce thing is taken, for `GET /metrics`.

use std::fmt::Write as _;

use super::app::App;
use super::fair::{Level, Shares};

/// Name, type and help of a number, and the number.
type Line = (&'static str, &'static str, &'static str, fn(&Level) -> u64);

/// Of what is counted in pieces.
const SLOTS: [Line; 4] = [
    (
        "slots",
        "gauge",
        "Pieces of work of a kind that may be done at once.",
        |level| level.most,
    ),
    (
        "slots_used",
        "gauge",
        "Those of them that are taken.",
        |level| level.used,
    ),
    (
        "slots_waiting",
        "gauge",
        "Requests that wait for one.",
        |level| level.waiting,
    ),
    (
        "slots_refused_total",
        "counter",
        "Requests that got none.",
        |level| level.refused,
    ),
];
/// The same of what is counted in bytes.
const MEMORY: [Line; 4] = [
    (
        "memory_bytes",
        "gauge",
        "Bytes that something may take at once.",
        |level| level.most,
    ),
    (
        "memory_used_bytes",
        "gauge",
        "Those of them that are taken.",
        |level| level.used,
    ),
    (
        "memory_waiting",
        "gauge",
        "Requests that wait for some.",
        |level| level.waiting,
    ),
    (
        "memory_refused_total",
        "counter",
        "Requests that got none.",
        |level| level.refused,
    ),
];

/// Prometheus text exposition, version 0.0.4.
pub(super) fn prometheus(app: &App) -> String {
    let mut text = String::new();
    let slots = [
        ("batch", &app.batches),
        ("question", &app.queries),
        ("large_question", &app.answers.turn),
        ("credential", &app.access_work),
    ];
    write(&mut text, &SLOTS, &slots);
    let memory = [
        ("bodies", &app.bodies),
        ("batches", &app.batch_memory),
        ("answers", &app.answers.unsent),
    ];
    write(&mut text, &MEMORY, &memory);
    text
}

fn write(text: &mut String, lines: &[Line], all: &[(&str, &std::sync::Arc<Shares>)]) {
    // Each of one moment.
    let levels: Vec<_> = all
        .iter()
        .map(|(of, shares)| (of, shares.level()))
        .collect();
    for (name, kind, help, number) in lines {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP waybill_collector_{name} {help}\n# TYPE waybill_collector_{name} {kind}\n"
        );
        for (of, level) in &levels {
            let number = number(level);
            let _ = writeln!(text, "waybill_collector_{name}{{of=\"{of}\"}} {number}");
        }
    }
}
