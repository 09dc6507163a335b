//! `cargo xtask bench join`: precision and recall of each kind of evidence in simulated fleets.

#![forbid(unsafe_code)]

/// What the tests use as well.
#[path = "../tests/suite/support"]
mod support {
    pub(crate) mod fleet;
    pub(crate) mod measure;
}

use std::io::{self, Write};

use support::fleet::Rewriting;
use support::measure::{KINDS, measure, ratio};

/// Fleets of each kind.
const FLEETS: u64 = 1000;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, rewriting) in [
        ("no box rewrites sequence numbers", Rewriting::Nowhere),
        ("boxes on two paths in five do", Rewriting::Somewhere),
        ("boxes on every path do", Rewriting::Everywhere),
    ] {
        let measured = measure(0..FLEETS, rewriting);
        writeln!(
            out,
            "{FLEETS} fleets, {name}: {} edges with both ends reported, {:.1} % joined, {} \
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
    Ok(())
}
