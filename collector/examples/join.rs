//! `cargo xtask bench join`: precision and recall of each kind of evidence in simulated fleets.

#![forbid(unsafe_code)]

/// What the tests use as well.
#[path = "../tests/suite/support"]
mod support {
    pub(crate) mod calibration;
    pub(crate) mod fleet;
    pub(crate) mod histories;
    pub(crate) mod measure;
    pub(crate) mod shapes;
}

use std::io::{self, Write};
use std::process::ExitCode;

use support::calibration::{Calibration, calibrate};
use support::fleet::Rewriting;
use support::measure::{KINDS, measure, ratio};
use support::shapes::SHAPES;

/// Fleets of each kind, and histories of each shape, where no other number is an argument.
const EACH: u64 = 1000;

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let each = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(EACH);
    for (name, rewriting) in [
        ("no box rewrites sequence numbers", Rewriting::Nowhere),
        ("boxes on two paths in five do", Rewriting::Somewhere),
        ("boxes on every path do", Rewriting::Everywhere),
    ] {
        let measured = measure(0..each, rewriting);
        writeln!(
            out,
            "{each} fleets, {name}: {} edges with both ends reported, {:.1} % joined, {} \
             ambiguous",
            measured.visible,
            100.0 * ratio(measured.joined, measured.visible),
            measured.ambiguous,
        )?;
        writeln!(
            out,
            "{:<10}{:>8}{:>8}{:>11}{:>9}{:>14}{:>14}",
            "evidence", "edges", "wrong", "precision", "claimed", "alone: edges", "alone: recall"
        )?;
        for kind in KINDS {
            let tally = measured.kinds.get(&kind).copied().unwrap_or_default();
            writeln!(
                out,
                "{:<10}{:>8}{:>8}{:>11.4}{:>9.3}{:>14}{:>14.3}",
                format!("{kind:?}").to_lowercase(),
                tally.found,
                tally.found - tally.right,
                tally.precision(),
                tally.confidence(),
                tally.alone_found,
                ratio(tally.alone, measured.visible),
            )?;
        }
        writeln!(out)?;
    }
    histories(&mut out, each)
}

/// What edges claim, and what is true, by the shape of what happened.
fn histories(out: &mut impl Write, each: u64) -> io::Result<ExitCode> {
    writeln!(out, "{each} histories of each shape; right of all")?;
    writeln!(
        out,
        "{:<10}{:>14}{:>16}{:>15}{:>15}{:>15}{:>17}{:>12}",
        "shape",
        "told by both",
        "counted by both",
        "whole numbers",
        "exact numbers",
        "intervals",
        "sums of sides",
        "wrong >=.9"
    )?;
    let mut all = Calibration::default();
    for shape in SHAPES {
        let found = calibrate(shape, 0..each);
        line(out, &format!("{shape:?}").to_lowercase(), &found)?;
        all.merge(&found.named(shape));
    }
    line(out, "all", &all)?;
    writeln!(
        out,
        "\n{:<14}{:>8}{:>8}{:>9}{:>9}",
        "confidence", "edges", "wrong", "claimed", "true"
    )?;
    for (at, bin) in all.bins.iter().enumerate().filter(|(_, bin)| bin.edges > 0) {
        writeln!(
            out,
            "{:<14}{:>8}{:>8}{:>9.3}{:>9.3}",
            format!("0.{at} to {:.1}", ratio(at as u64 + 1, 10)),
            bin.edges,
            bin.edges - bin.right,
            bin.claimed / ratio(bin.edges, 1),
            ratio(bin.right, bin.edges),
        )?;
    }
    let (owners, one_service) = all.owners;
    writeln!(
        out,
        "\nedges of a process that is not known: {owners}, of one service: {one_service} ({:.3})",
        ratio(one_service, owners)
    )?;
    if std::env::args().any(|arg| arg == "--wrong") {
        for (what, list) in [("wrong", &all.wrong), ("off", &all.off)] {
            for (seed, edge) in list {
                writeln!(out, "{what} {seed} {edge}")?;
            }
        }
    }
    let faults = all.faults();
    for fault in &faults {
        writeln!(out, "MISSED: {fault}")?;
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(out: &mut impl Write, name: &str, found: &Calibration) -> io::Result<()> {
    let of = |(all, right): (u64, u64)| format!("{right}/{all}");
    writeln!(
        out,
        "{name:<10}{:>14}{:>16}{:>15}{:>15}{:>15}{:>17}{:>12}",
        of(found.told),
        of(found.counted),
        of(found.whole),
        of(found.exact),
        of(found.intervals),
        of(found.sides),
        found.wrong_from(9),
    )
}
