//! What `matrix check` prints.

use std::io::{self, Write};

use crate::escape::shorten;
use crate::matrix::{Report, Verdict, reasons, sentence, state, verdict};
use crate::time::rfc3339;

/// A sentence, then what is not as it should be: flows, and edges.
///
/// # Errors
/// Those of the writer.
pub fn matrix(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let (from, to) = (rfc3339(report.from_ms), rfc3339(report.to_ms));
    writeln!(out, "{from} to {to}\n{}", sentence(report))?;
    if let Some(before) = report.evicted_before_ms {
        let before = rfc3339(before);
        writeln!(
            out,
            "note: data up to {before} may be missing; unused flows may have been used"
        )?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    let flows: Vec<_> = report
        .flows
        .iter()
        .filter(|flow| flow.verdict != Verdict::Used)
        .collect();
    if !flows.is_empty() {
        writeln!(
            out,
            "\n{:<15}{:<7}{:<28}{:<28}{:<14}{:>8}  WHY",
            "FLOW", "ID", "SOURCE", "DESTINATION", "PORT", "CONNS"
        )?;
    }
    for flow in flows {
        writeln!(
            out,
            "{:<15}{:<7}{:<28}{:<28}{:<14}{:>8}  {}",
            verdict(flow.verdict),
            shorten(&flow.id, 6),
            shorten(&flow.source, 27),
            shorten(&flow.destination, 27),
            shorten(&flow.port, 13),
            flow.connections,
            reasons(&flow.why)
        )?;
    }
    if !report.edges.is_empty() {
        writeln!(
            out,
            "\n{:<12}{:<34}{:<34}{:<24}{:>8}{:>6}  WHY, KEY",
            "EDGE", "CLIENT", "SERVER", "ENDPOINT", "CONNS", "CONF"
        )?;
    }
    for one in &report.edges {
        writeln!(
            out,
            "{:<12}{:<34}{:<34}{:<24}{:>8}{:>6.2}  {}",
            state(one.state),
            shorten(&one.edge.client, 33),
            shorten(&one.edge.server, 33),
            shorten(&one.edge.endpoint, 23),
            one.edge.connections,
            one.edge.confidence,
            [reasons(&one.why), one.edge.key.clone()]
                .join(" ")
                .trim_start()
        )?;
    }
    if report.edges_left_out > 0 {
        writeln!(
            out,
            "\n{} more edges; see --limit and --report",
            report.edges_left_out
        )?;
    }
    Ok(())
}
