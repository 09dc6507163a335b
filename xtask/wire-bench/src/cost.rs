//! CPU time of sealing and opening, against compressing the same rows as OTLP with zstd.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wire::Limits;

use crate::compare::{self, otlp};
use fleet::{self, BENCH, Mix};

/// Times that each step is repeated; the fastest one counts, because others were disturbed.
const ROUNDS: u32 = 15;

/// Microseconds per row.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) rows: usize,
    /// Rows to a sealed batch.
    pub(crate) seal: f64,
    /// The same rows as totals to a batch of format 1.
    pub(crate) seal_format1: f64,
    /// A sealed batch to rows.
    pub(crate) open: f64,
    /// Rows to OTLP protobuf.
    pub(crate) otlp: f64,
    /// OTLP protobuf through zstd-3.
    pub(crate) otlp_zstd: f64,
}

impl Cost {
    /// Measures on a mix of that many rows. Single-threaded, so time is CPU time.
    pub(crate) fn measure(rows: usize) -> Result<Self> {
        let interval = fleet::interval(1, &BENCH, Mix::interval(rows));
        let batch = interval.added;
        let sealed = wire::encode(&batch);
        let plain = otlp::requests(&batch, otlp::Style::Plain);
        let limits = Limits::default();
        wire::decode(&sealed, &limits).context("open an own batch")?;
        compare::zstd_len(&plain)?;
        let per_row = |step: &dyn Fn()| fastest(step).as_secs_f64() * 1e6 / divisor(rows);
        Ok(Self {
            rows,
            seal: per_row(&|| drop(black_box(wire::encode(&batch)))),
            seal_format1: per_row(&|| drop(black_box(format1::encode(&interval.totals)))),
            open: per_row(&|| drop(black_box(wire::decode(&sealed, &limits)))),
            otlp: per_row(&|| drop(black_box(otlp::requests(&batch, otlp::Style::Plain)))),
            otlp_zstd: per_row(&|| drop(black_box(compare::zstd_len(&plain)))),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "thousands of rows are exact")]
fn divisor(rows: usize) -> f64 {
    rows as f64
}

fn fastest(step: &dyn Fn()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        step();
        start.elapsed()
    };
    (0..ROUNDS).map(once).min().unwrap_or_default()
}
