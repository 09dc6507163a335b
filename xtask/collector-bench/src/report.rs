//! The figures and the goals, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::questions::{DAY, DAY_NOW, HOUR, HOUR_NOW};
use crate::sections::{Fleet, Grown, Section};

/// A 20th of what the rows of an edge took in a day, each in a place of its own.
const DAY_BYTES: f64 = 8640.0 * 105.0 / 20.0;
/// Batches a second of a fleet of 1,000 agents.
const FLEET_BATCHES: f64 = 100.0;

/// All fleets, and what is to be reached.
pub(crate) struct Report {
    fleets: Vec<Fleet>,
    goals: Vec<Goal>,
}

/// Something to reach.
struct Goal {
    name: String,
    /// What was measured, and what it should be.
    found: Option<(f64, Bound)>,
    note: String,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn new(name: &str, found: Option<(f64, Bound)>, note: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            found,
            note: note.into(),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.found {
            None => "not measured",
            Some((value, Bound::AtMost(most))) if value <= most => "met",
            Some((value, Bound::AtLeast(least))) if value >= least => "met",
            Some(_) => "missed",
        }
    }

    fn bound(&self) -> String {
        match self.found {
            None => String::new(),
            Some((value, Bound::AtMost(most))) => format!("{value:.3} (at most {most})"),
            Some((value, Bound::AtLeast(least))) => format!("{value:.3} (at least {least})"),
        }
    }
}

fn ratio(first: f64, second: f64) -> f64 {
    first / second
}

impl Report {
    pub(crate) fn of(fleets: Vec<Fleet>) -> Self {
        let goals = fleets.last().map(goals).unwrap_or_default();
        let mut report = Self { fleets, goals };
        for fleet in &report.fleets {
            let kept = fleet.kept;
            let lost = kept.batches_acknowledged.abs_diff(kept.batches_stored)
                + kept.rows_acknowledged.abs_diff(kept.rows_stored)
                + kept
                    .connections_acknowledged
                    .abs_diff(kept.connections_stored);
            report.goals.push(Goal::new(
                &format!(
                    "nothing acknowledged is lost, {} agents, kill -9",
                    fleet.agents
                ),
                Some((lost as f64, Bound::AtMost(0.0))),
                "batches, rows and sums of connections, acknowledged less stored",
            ));
        }
        report
    }

    pub(crate) fn is_missed(&self) -> bool {
        self.goals.iter().any(|goal| goal.verdict() == "missed")
    }

    pub(crate) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for fleet in &self.fleets {
            writeln!(
                out,
                "{} agents, RSS peak {} MiB",
                fleet.agents,
                fleet.peak >> 20
            )?;
            writeln!(
                out,
                "  {:<30} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8}",
                "",
                "batches",
                "rows/b",
                "bytes/b",
                "us/batch",
                "ingest",
                "us/row",
                "written/b",
                "stored/r",
                "store"
            )?;
            let grown = fleet.grown.iter().flat_map(|grown| &grown.sections);
            let paced = std::iter::once(&fleet.paced);
            for section in fleet.sections.iter().chain(paced).chain(grown) {
                line(out, section)?;
            }
            for waited in &fleet.waited {
                writeln!(
                    out,
                    "  {:<30} p50 {:>9.1} ms  p95 {:>9.1} ms  status {}  {} bytes",
                    waited.name, waited.p50_ms, waited.p95_ms, waited.status, waited.answer_bytes
                )?;
            }
            let kept = fleet.kept;
            writeln!(
                out,
                "  acknowledged and stored: batches {} {}, rows {} {}, connections {} {}",
                kept.batches_acknowledged,
                kept.batches_stored,
                kept.rows_acknowledged,
                kept.rows_stored,
                kept.connections_acknowledged,
                kept.connections_stored
            )?;
        }
        writeln!(
            out,
            "ingest: us/batch without the threads that join and judge; written/b: bytes written to \
             disk for each byte of a batch; stored/r: bytes of the store for each row of an edge or \
             a sighting"
        )?;
        for goal in &self.goals {
            let (verdict, bound) = (goal.verdict(), goal.bound());
            writeln!(out, "{verdict:<12} {}: {bound} {}", goal.name, goal.note)?;
        }
        Ok(())
    }

    pub(crate) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let fleets: Vec<Value> = self.fleets.iter().map(fleet_json).collect();
        let goals: Vec<Value> = self
            .goals
            .iter()
            .map(|goal| {
                json!({
                    "goal": goal.name,
                    "verdict": goal.verdict(),
                    "value": goal.found.map(|(value, _)| value),
                    "note": goal.note,
                })
            })
            .collect();
        let report = json!({ "fleets": fleets, "goals": goals });
        writeln!(out, "{report:#}")
    }
}

fn goals(fleet: &Fleet) -> Vec<Goal> {
    let [edges, sightings, small, again] = &fleet.sections[..] else {
        return Vec::new();
    };
    let cores = edges.cpu_us_per_batch() * FLEET_BATCHES / 1e6;
    let mixed = small.cpu_us_per_batch() * FLEET_BATCHES / 1e6;
    let peak = fleet.peak as f64 / f64::from(1 << 20);
    let find = |name| fleet.waited.iter().find(|waited| waited.name == name);
    let beside = |name| {
        let waited = find(name);
        waited.map_or_else(String::new, |waited| {
            format!(
                "p50, of the time that was sent; of the moment {:.0} with status {}",
                waited.p50_ms, waited.status
            )
        })
    };
    let answered = |name: &'static str, most: f64| {
        let waited = find(name)?;
        let ms = if waited.status == 200 {
            waited.p50_ms
        } else {
            f64::INFINITY
        };
        Some((ms, Bound::AtMost(most)))
    };
    let mut goals = vec![
        Goal::new(
            "cores for 1,000 agents x edges alone each 10 s",
            Some((cores, Bound::AtMost(1.0))),
            format!("CPU of a batch times 100 batches a second; as agents send {mixed:.3}"),
        ),
        Goal::new(
            "cores while agents send as they do, and slices are joined",
            Some((fleet.paced.cores(), Bound::AtMost(1.0))),
            format!(
                "{} agents; {:.1} bytes written for each byte",
                fleet.agents,
                fleet.paced.written_per_byte()
            ),
        ),
        Goal::new("RSS peak, MiB", Some((peak, Bound::AtMost(512.0))), ""),
        Goal::new(
            "topology of the last hour, up to two minutes old, ms",
            answered(HOUR, 300.0),
            beside(HOUR_NOW),
        ),
        Goal::new(
            "topology of the last day, up to two minutes old, ms",
            answered(DAY, 1000.0),
            beside(DAY_NOW),
        ),
        Goal::new(
            "bytes of the store for an edge and interval",
            Some((edges.stored_per_row(), Bound::AtMost(30.0))),
            format!("a sighting takes {:.1}", sightings.stored_per_row()),
        ),
        Goal::new(
            "bytes of an edge and day after roll-up",
            fleet
                .edge_hour
                .map(|bytes| (24.0 * bytes, Bound::AtMost(DAY_BYTES))),
            "24 slices of an hour; at most a 20th of a row of 105 bytes in each interval",
        ),
        Goal::new(
            "bytes written to disk for each byte of a batch",
            Some((fleet.paced.written_per_byte(), Bound::AtMost(10.0))),
            format!(
                "as fast as it goes {:.1}, edges alone {:.1}, sightings alone {:.1}, again {:.1}",
                small.written_per_byte(),
                edges.written_per_byte(),
                sightings.written_per_byte(),
                again.written_per_byte()
            ),
        ),
    ];
    if let Some(grown) = &fleet.grown {
        goals.extend(grown_goals(small, again, grown));
    }
    goals
}

/// What a grown store costs beside a small one.
fn grown_goals(small: &Section, again: &Section, grown: &Grown) -> [Goal; 2] {
    let [first, second] = &grown.sections;
    let of =
        |one: &Section, other: &Section| one.ingest_us_per_batch() + other.ingest_us_per_batch();
    let ingest = Goal::new(
        "ingest at a grown store beside a small one, by CPU without joining",
        Some((
            ratio(of(small, again), of(first, second)),
            Bound::AtLeast(0.9),
        )),
        format!(
            "at {} and {} MiB, smaller than an operator's, so that a run takes minutes; A/A {:.3} \
             and {:.3}; by rate {:.3}",
            small.after.used >> 20,
            second.after.used >> 20,
            ratio(small.ingest_us_per_batch(), again.ingest_us_per_batch()),
            ratio(first.ingest_us_per_batch(), second.ingest_us_per_batch()),
            ratio(rate(first) + rate(second), rate(small) + rate(again)),
        ),
    );
    let retention = Goal::new(
        "CPU of deleting a row by age beside storing it",
        grown
            .retention
            .map(|(share, _)| (share, Bound::AtMost(0.05))),
        grown.retention.map_or_else(
            || String::from("nothing was deleted in time"),
            |(_, rows)| format!("{rows} rows, with the start of the collector"),
        ),
    );
    [ingest, retention]
}

fn rate(section: &Section) -> f64 {
    section.sent.batches as f64 / section.wall.as_secs_f64()
}

fn line(out: &mut dyn Write, section: &Section) -> io::Result<()> {
    let batches = section.sent.batches as f64;
    writeln!(
        out,
        "  {:<30} {:>8} {:>8.1} {:>9.0} {:>8.0} {:>8.0} {:>8.2} {:>9.1} {:>9.1} {:>4} MiB  {:.0} batches/s, {} refused for a while",
        section.name,
        section.sent.batches,
        section.sent.rows as f64 / batches,
        section.sent.bytes as f64 / batches,
        section.cpu_us_per_batch(),
        section.ingest_us_per_batch(),
        section.cpu_us_per_row(),
        section.written_per_byte(),
        section.stored_per_row(),
        section.after.used >> 20,
        rate(section),
        section.sent.refused,
    )
}

fn section_json(section: &Section) -> Value {
    json!({
        "name": section.name,
        "batches": section.sent.batches,
        "rows": section.sent.rows,
        "edges": section.sent.edges,
        "sightings": section.sent.sightings,
        "bytes": section.sent.bytes,
        "refused_for_a_while": section.sent.refused,
        "batches_per_second": rate(section),
        "cpu_us_per_batch": section.cpu_us_per_batch(),
        "ingest_us_per_batch": section.ingest_us_per_batch(),
        "cpu_us_per_row": section.cpu_us_per_row(),
        "written_per_byte": section.written_per_byte(),
        "file_growth_bytes": section.after.file.saturating_sub(section.before.file),
        "stored_per_row": section.stored_per_row(),
        "store_bytes": section.after.used,
    })
}

fn fleet_json(fleet: &Fleet) -> Value {
    let grown = fleet.grown.iter().flat_map(|grown| &grown.sections);
    let sections: Vec<Value> = fleet
        .sections
        .iter()
        .chain([&fleet.paced])
        .chain(grown)
        .map(section_json)
        .collect();
    json!({
        "agents": fleet.agents,
        "rss_peak_bytes": fleet.peak,
        "sections": sections,
        "questions": fleet.waited,
        "kept": fleet.kept,
    })
}
