//! Sizes of the same rows in each format.

use anyhow::{Context, Result, ensure};
use wire::Limits;

use crate::compare::{self, json, otlp, parquet};
use crate::cost::Cost;
use fleet::{self, BENCH, Hour, Interval, Mix};

/// Batch sizes that are compared; the goals are for [`GOAL_ROWS`].
const SIZES: [usize; 3] = [100, 1000, 5000];
const GOAL_ROWS: usize = 1000;

/// What a comparison found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) hosts: u64,
    pub(crate) lines: Vec<Line>,
    pub(crate) cost: Cost,
    pub(crate) hour: Hours,
}

/// What an hour of a fleet takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hours {
    pub(crate) hosts: u64,
    pub(crate) rows: u64,
    /// Bytes in format 1, of totals.
    pub(crate) format1: u64,
    /// Bytes in format 2, of what intervals added and of totals now and then.
    pub(crate) format2: u64,
}

/// One kind of rows in one batch size, summed over all hosts.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Rows per batch.
    pub(crate) rows: usize,
    pub(crate) bytes: Sizes,
    /// The host whose batch gained least over plain OTLP, and over the same compressed.
    pub(crate) worst: [f64; 2],
}

/// Bytes of the same rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) otlp: u64,
    pub(crate) otlp_zstd: u64,
    pub(crate) lean_otlp: u64,
    pub(crate) lean_otlp_zstd: u64,
    pub(crate) json_zstd: u64,
    pub(crate) parquet_zstd: u64,
    /// The same rows as totals, which format 1 carries.
    pub(crate) format1: u64,
    pub(crate) waybill: u64,
}

/// What must not be exceeded.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) most: f64,
    pub(crate) found: f64,
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        self.found <= self.most
    }

    /// How many times the goal is exceeded.
    pub(crate) fn over(&self) -> f64 {
        self.found / self.most
    }
}

/// `other / own`.
#[expect(
    clippy::cast_precision_loss,
    reason = "ratios are shown with one digit"
)]
pub(crate) fn ratio(other: u64, own: u64) -> f64 {
    other as f64 / own as f64
}

impl Report {
    /// The goals of the project, for batches of 1,000 rows.
    pub(crate) fn goals(&self) -> Vec<Goal> {
        let line = |name| {
            self.lines
                .iter()
                .find(|line| line.name == name && line.rows == GOAL_ROWS)
        };
        let mut goals = Vec::new();
        for (name, plain, compressed) in [
            (
                "edge",
                ("edges of OTLP", 150.0),
                ("edges of OTLP + zstd-3", 3.5),
            ),
            (
                "mix",
                ("a mix of OTLP", 70.0),
                ("a mix of OTLP + zstd-3", 2.5),
            ),
        ] {
            let Some(Line { bytes, .. }) = line(name) else {
                continue;
            };
            for ((what, part), other) in [(plain, bytes.otlp), (compressed, bytes.otlp_zstd)] {
                goals.push(Goal {
                    what,
                    most: 1.0 / part,
                    found: ratio(bytes.waybill, other),
                });
            }
        }
        goals.push(Goal {
            what: "an hour of format 1",
            most: 0.75,
            found: ratio(self.hour.format2, self.hour.format1),
        });
        goals.push(Goal {
            what: "us to seal a row",
            most: 5.0,
            found: self.cost.seal,
        });
        goals
    }
}

/// Hosts whose hour is counted.
const HOUR_HOSTS: u64 = 64;

/// Compares the formats on the rows of that many hosts.
pub(crate) fn measure(hosts: u64) -> Result<Report> {
    let mut lines = Vec::new();
    for rows in SIZES {
        for (name, mix) in kinds(rows) {
            lines.push(line(name, rows, mix, hosts)?);
        }
    }
    Ok(Report {
        hosts,
        lines,
        cost: Cost::measure(GOAL_ROWS)?,
        hour: hours(HOUR_HOSTS),
    })
}

/// Each family alone, and all of them as in an interval. A host has one row of its own.
fn kinds(rows: usize) -> [(&'static str, Mix); 6] {
    [
        (
            "edge",
            Mix {
                edges: rows,
                ..Mix::default()
            },
        ),
        (
            "sighting",
            Mix {
                sightings: rows,
                ..Mix::default()
            },
        ),
        (
            "process",
            Mix {
                processes: rows,
                ..Mix::default()
            },
        ),
        (
            "event",
            Mix {
                events: rows,
                ..Mix::default()
            },
        ),
        (
            "nat",
            Mix {
                nats: rows,
                ..Mix::default()
            },
        ),
        ("mix", Mix::interval(rows)),
    ]
}

fn line(name: &'static str, rows: usize, mix: Mix, hosts: u64) -> Result<Line> {
    let mut sum = Sizes::default();
    let mut worst = [f64::INFINITY; 2];
    for seed in 1..=hosts {
        let sizes = sizes(&fleet::interval(seed, &BENCH, mix))?;
        worst[0] = worst[0].min(ratio(sizes.otlp, sizes.waybill));
        worst[1] = worst[1].min(ratio(sizes.otlp_zstd, sizes.waybill));
        sum.otlp += sizes.otlp;
        sum.otlp_zstd += sizes.otlp_zstd;
        sum.lean_otlp += sizes.lean_otlp;
        sum.lean_otlp_zstd += sizes.lean_otlp_zstd;
        sum.json_zstd += sizes.json_zstd;
        sum.parquet_zstd += sizes.parquet_zstd;
        sum.format1 += sizes.format1;
        sum.waybill += sizes.waybill;
    }
    Ok(Line {
        name,
        rows,
        bytes: sum,
        worst,
    })
}

fn sizes(interval: &Interval) -> Result<Sizes> {
    let batch = &interval.added;
    let plain = otlp::requests(batch, otlp::Style::Plain);
    let lean = otlp::requests(batch, otlp::Style::Lean);
    let length = |parts: &[Vec<u8>]| parts.iter().map(|part| part.len() as u64).sum();
    let sealed = wire::encode(batch);
    let opened = wire::decode(&sealed, &Limits::default()).context("open an own batch")?;
    ensure!(
        opened.row_count() == batch.row_count(),
        "rows are missing after opening"
    );
    Ok(Sizes {
        otlp: length(&plain),
        otlp_zstd: compare::zstd_len(&plain)?,
        lean_otlp: length(&lean),
        lean_otlp_zstd: compare::zstd_len(&lean)?,
        json_zstd: compare::zstd_len(&[json::lines(batch)])?,
        parquet_zstd: parquet::len(batch)? as u64,
        format1: format1::encode(&interval.totals).len() as u64,
        waybill: sealed.len() as u64,
    })
}

/// One in so many intervals is sealed, for all of them; it meets each turn of totals and of rows of
/// the host alike.
const SAMPLED: usize = 7;

/// Seals an hour of each host in both formats.
fn hours(hosts: u64) -> Hours {
    let mut hours = Hours {
        hosts,
        ..Hours::default()
    };
    for seed in 1..=hosts {
        for (at, (first, second)) in Hour::new(seed, &BENCH).enumerate() {
            hours.rows += first.row_count() as u64;
            if !at.is_multiple_of(SAMPLED) {
                continue;
            }
            let weight = SAMPLED as u64;
            hours.format1 += weight * format1::encode(&first).len() as u64;
            hours.format2 += weight * wire::encode(&second).len() as u64;
        }
    }
    hours
}
