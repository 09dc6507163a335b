//! Golden files: sealed batches that every later version has to open, and the rows they hold.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use wire::{Batch, Columns, Histogram, Part, Role};

use crate::fleet::{self, Mix, TRAINING};

/// Name and rows of each golden file.
const GOLDEN: [(&str, Mix); 5] = [
    (
        "empty",
        Mix {
            edges: 0,
            sightings: 0,
            processes: 0,
            hosts: 0,
            events: 0,
            nats: 0,
        },
    ),
    (
        "edges",
        Mix {
            edges: 40,
            sightings: 0,
            processes: 0,
            hosts: 0,
            events: 0,
            nats: 0,
        },
    ),
    (
        "host",
        Mix {
            edges: 0,
            sightings: 0,
            processes: 3,
            hosts: 1,
            events: 0,
            nats: 0,
        },
    ),
    (
        "interval",
        Mix {
            edges: 60,
            sightings: 50,
            processes: 8,
            hosts: 1,
            events: 9,
            nats: 12,
        },
    ),
    (
        OBSERVED,
        Mix {
            edges: 12,
            sightings: 20,
            processes: 2,
            hosts: 1,
            events: 0,
            nats: 6,
        },
    ),
];

/// Of a host whose kernel writes no option and counts little.
const OBSERVED: &str = "observed";

fn observe(batch: &mut Batch) {
    for row in &mut batch.edges {
        let lacks = Columns::OUT_OF_ORDER.with(Columns::ZERO_WINDOWS);
        row.absent = match row.role {
            Role::Client => lacks,
            Role::Server => lacks.with(Columns::CONNECT_LATENCY),
        };
        (row.out_of_order, row.zero_windows) = (0, 0);
        if row.role == Role::Server {
            row.connect_latency = Histogram::default();
        }
    }
    for row in &mut batch.sightings {
        (row.part, row.answer) = (Part::Sequence, false);
    }
}

const FIRST_SEED: u64 = 7_000_000;

/// Writes `NAME.bin`, and the rows it holds as `NAME.txt`.
pub(crate) fn bless(wire: &Path, out: &mut dyn Write) -> Result<()> {
    for (seed, (name, mix)) in (FIRST_SEED..).zip(GOLDEN) {
        let mut batch = fleet::batch(seed, &TRAINING, mix);
        if name == OBSERVED {
            observe(&mut batch);
        }
        let sealed = wire::encode(&batch);
        // Opened again, so that the rows are in the order in which a reader gets them.
        let opened = wire::decode(&sealed, &wire::Limits::default()).context("open own batch")?;
        for (ending, bytes) in [
            ("bin", sealed),
            ("txt", format!("{opened:#?}\n").into_bytes()),
        ] {
            let file = wire.join(format!("golden/{name}.{ending}"));
            fs::write(&file, &bytes).with_context(|| format!("write {}", file.display()))?;
            writeln!(out, "{} has {} bytes", file.display(), bytes.len())?;
        }
    }
    Ok(())
}
