//! Golden files: sealed batches that every later version has to open, and the rows they hold.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use wire::schema::{Column, Kind, Shape, Table, Type};
use wire::{Batch, Columns, DynamicTable, Histogram, Part, Role, Values};

use fleet::{self, Mix, TRAINING};

/// Name and rows of each golden file.
const GOLDEN: [(&str, Mix); 7] = [
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
    (
        TOTALS,
        Mix {
            edges: 30,
            sightings: 0,
            processes: 0,
            hosts: 0,
            events: 0,
            nats: 5,
        },
    ),
    (
        OTHERS,
        Mix {
            edges: 4,
            sightings: 0,
            processes: 0,
            hosts: 0,
            events: 0,
            nats: 0,
        },
    ),
];

/// Of a host whose kernel writes no option and counts little.
const OBSERVED: &str = "observed";

/// Of an interval after which the totals follow.
const TOTALS: &str = "totals";

/// With a table that no reader has a struct for.
const OTHERS: &str = "others";

/// A column of each type.
fn other() -> DynamicTable {
    let column = |name: &str, kind, values, unit: &str| Column {
        name: name.to_owned(),
        kind,
        values,
        unit: unit.to_owned(),
        help: format!("What {name} is."),
        since: 1,
        absent: None,
    };
    let modes = ["read", "write"].map(str::to_owned).to_vec();
    let mut latency = Histogram::default();
    for us in [90, 130, 4000] {
        latency.record(us);
    }
    let pair = (String::from("scheduler"), String::from("none"));
    DynamicTable {
        table: Cow::Owned(Table {
            name: String::from("block"),
            family: String::from("block"),
            version: 3,
            shape: Shape::Series,
            help: String::from("Requests to block devices."),
            columns: vec![
                column("total", Kind::Dimension, Type::Bool, ""),
                column("device", Kind::Text, Type::Text, ""),
                column("mode", Kind::Dimension, Type::Enum(modes), ""),
                column("queue", Kind::Dimension, Type::U16, ""),
                column("target", Kind::Address, Type::Address, ""),
                column("since_ms", Kind::Time, Type::U64, "ms"),
                column("requests", Kind::Counter, Type::U64, "{request}"),
                column("depth", Kind::Gauge, Type::U32, "{request}"),
                column("latency", Kind::Histogram, Type::Histogram, "us"),
                column("settings", Kind::Text, Type::Labels, ""),
                column("errors", Kind::Counter, Type::Counts, "{request}"),
            ],
        }),
        rows: 2,
        columns: vec![
            Values::Numbers(vec![0, 0]),
            Values::Texts(vec![String::from("sda"), String::from("nvme0n1")]),
            Values::Numbers(vec![1, 0]),
            Values::Numbers(vec![0, 511]),
            Values::Addresses(vec![[0; 16], [0xfd; 16]]),
            Values::Numbers(vec![1_700_000_000_000, 1_700_000_000_001]),
            Values::Numbers(vec![3, 1 << 40]),
            Values::Numbers(vec![7, u64::from(u32::MAX)]),
            Values::Histograms(vec![latency, Histogram::default()]),
            Values::Labels(vec![Vec::new(), vec![pair]]),
            Values::Counts(vec![vec![(String::from("timeout"), 2)], Vec::new()]),
        ],
    }
}

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
        let interval = fleet::interval(seed, &TRAINING, mix);
        let mut batch = interval.added;
        match name {
            OBSERVED => observe(&mut batch),
            TOTALS => {
                batch.edges.truncate(10);
                batch.edges.extend_from_slice(&interval.totals.edges[10..]);
                batch.nats = interval.totals.nats;
            }
            OTHERS => batch.others.push(other()),
            _ => {}
        }
        let sealed = wire::encode(&batch);
        // Opened again, so that the rows are in the order in which a reader gets them.
        let opened = wire::decode(&sealed, &wire::Limits::default()).context("open own batch")?;
        for (ending, bytes) in [
            ("bin", sealed),
            ("txt", format!("{opened:#?}\n").into_bytes()),
        ] {
            let file = wire.join(format!("golden/2/{name}.{ending}"));
            fs::write(&file, &bytes).with_context(|| format!("write {}", file.display()))?;
            writeln!(out, "{} has {} bytes", file.display(), bytes.len())?;
        }
    }
    document(&wire.join("FORMAT.md"))
}

/// Writes the tables into the page.
fn document(page: &Path) -> Result<()> {
    const BEGIN: &str = "<!-- tables -->\n";
    const END: &str = "<!-- end of tables -->";
    let text = fs::read_to_string(page).context("read FORMAT.md")?;
    let (before, rest) = text.split_once(BEGIN).context("find where tables begin")?;
    let (_, after) = rest.split_once(END).context("find where tables end")?;
    let text = format!("{before}{BEGIN}{}{END}{after}", wire::documentation());
    fs::write(page, text).context("write FORMAT.md")
}
