//! Judges a file of rules on rows that are made of bytes; the suite does it, too.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use collector::alert::baseline::{DAYS, Usuals};
use collector::alert::evaluate::{Cell, Ends, Input, Pass, Plan, Reporting, Row};
use collector::alert::finding::{End, Evaluated};
use collector::alert::rule::read;
use collector::alert::rule::{Rules, Source};
use wire::Histogram;

/// Rows of an input.
const ROWS: usize = 40;

/// What was read and found; `None` where the text is no rules.
pub(crate) fn judge(text: &str, bytes: &[u8]) -> Option<Evaluated> {
    let read = read::read("fuzz", text).ok()?;
    let plan = Plan::of(&Rules::of(read.rules));
    let mut bytes = Bytes(bytes);
    let mut usuals = Usuals::default();
    let mut rows = 0;
    for _ in 0..DAYS {
        let mut pass = Pass::new(&plan);
        rows += add(&plan, &mut pass, &mut bytes);
        pass.note(3_600_000, &mut usuals);
    }
    let mut pass = Pass::new(&plan);
    rows += add(&plan, &mut pass, &mut bytes);
    let hosts = (0..4).map(|n| format!("h{n}")).collect();
    let silent = BTreeSet::new();
    let found = pass.finish(1_767_225_600_000, &usuals, &Reporting { hosts, silent });
    // A rule finds each of its subjects once: those of rows now, and those of the days before.
    let most = plan.rules() * rows;
    assert!(
        found.findings.len() <= most,
        "{} of {most}",
        found.findings.len()
    );
    for one in &found.findings {
        assert!(one.value.is_finite(), "{one:?}");
    }
    Some(found)
}

fn add(plan: &Plan, pass: &mut Pass<'_>, bytes: &mut Bytes<'_>) -> usize {
    let mut rows = 0;
    for (at, input) in plan.inputs().iter().enumerate() {
        for _ in 0..usize::from(bytes.byte()) % ROWS {
            pass.add(at, &row(input, bytes));
            rows += 1;
        }
    }
    rows
}

fn row(input: &Input, bytes: &mut Bytes<'_>) -> Row {
    let cells = input.columns.iter().map(|_| bytes.cell()).collect();
    let ends = || Ends {
        client: bytes_end(bytes.byte()),
        server: bytes_end(bytes.byte()),
        endpoint: String::from("10.0.0.1:80"),
        vip: bytes
            .byte()
            .is_multiple_of(2)
            .then(|| String::from("10.9.9.9:80")),
        gateways: vec![String::from("gw")],
        confidence: f64::from(bytes.byte()) / 255.0,
        ..Ends::default()
    };
    let is_edge = input.source == Source::Edge;
    let ends = is_edge.then(ends).map(Arc::new);
    Row {
        cells,
        most: Vec::new(),
        end_ms: i64::from(bytes.byte()),
        host: format!("h{}", bytes.byte() % 4),
        hostname: String::from("\u{202e}{host}"),
        service: String::from("s"),
        ends,
    }
}

fn bytes_end(byte: u8) -> End {
    End {
        name: format!("h{}/s{}", byte % 4, byte % 3),
        host: (!byte.is_multiple_of(5)).then(|| format!("h{}", byte % 4)),
        service: format!("s{}", byte % 3),
    }
}

/// Bytes, and zeros behind them.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Any number at all, or such as rows have.
    fn number(&mut self) -> f64 {
        if !self.byte().is_multiple_of(4) {
            return f64::from(self.byte()) * f64::from(self.byte());
        }
        f64::from_bits(u64::from_le_bytes(std::array::from_fn(|_| self.byte())))
    }

    fn cell(&mut self) -> Cell {
        match self.byte() % 8 {
            0 => Cell::Absent,
            1 => Cell::Flag(self.byte().is_multiple_of(2)),
            2 => Cell::Text(format!("{{t{}}}", self.byte())),
            3 => {
                let mut histogram = Histogram::default();
                for _ in 0..self.byte() % 8 {
                    let at = usize::from(self.byte()) % histogram.buckets.len();
                    histogram.buckets[at] = u64::from(self.byte()) << (self.byte() % 64);
                }
                Cell::Histogram(Box::new(histogram))
            }
            _ => Cell::Number(self.number()),
        }
    }
}
