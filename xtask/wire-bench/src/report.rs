//! The comparison for people and for programs.

use std::io::{self, Write};

use serde_json::json;

use crate::measure::{Line, Report, ratio};
use fleet::TOTALS_EVERY;

/// Bytes per row of each format, and how many times smaller the batch is.
pub(crate) fn table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Bytes per row of an interval, means of {} simulated hosts; the dictionary has seen none.\n\
         OTLP in delta temporality; lean: zero counters left out, exponential histograms.\n\
         Format 1 carries totals of the same rows.\n",
        report.hosts
    )?;
    writeln!(
        out,
        "{:<9} {:>5} {:>8} {:>8} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>14}",
        "rows",
        "batch",
        "OTLP",
        "+zstd-3",
        "OTLP lean",
        "+zstd-3",
        "JSON+z3",
        "Parquet+z",
        "format 1",
        "waybill",
        "OTLP/",
        "OTLP+z/",
        "worst host"
    )?;
    for line in &report.lines {
        let per_row = |bytes: u64| per_row(bytes, line, report.hosts);
        let sizes = &line.bytes;
        writeln!(
            out,
            "{:<9} {:>5} {:>8.0} {:>8.1} {:>9.0} {:>8.1} {:>8.1} {:>9.1} {:>8.2} {:>8.2} {:>8.1} {:>8.2} \
             {:>8.1} {:>5.2}",
            line.name,
            line.rows,
            per_row(sizes.otlp),
            per_row(sizes.otlp_zstd),
            per_row(sizes.lean_otlp),
            per_row(sizes.lean_otlp_zstd),
            per_row(sizes.json_zstd),
            per_row(sizes.parquet_zstd),
            per_row(sizes.format1),
            per_row(sizes.waybill),
            ratio(sizes.otlp, sizes.waybill),
            ratio(sizes.otlp_zstd, sizes.waybill),
            line.worst[0],
            line.worst[1],
        )?;
    }
    let (cost, hour) = (&report.cost, &report.hour);
    writeln!(
        out,
        "\nCPU per row of a mix of {} rows: seal {:.1} us (format 1: {:.1}), open {:.1} us; \
         OTLP {:.1} us and its zstd-3 {:.1} us.\n\
         An hour of {} hosts, {} rows: {} bytes in format 1, {} in format 2 with totals every {} \
         intervals.\n",
        cost.rows,
        cost.seal,
        cost.seal_format1,
        cost.open,
        cost.otlp,
        cost.otlp_zstd,
        hour.hosts,
        hour.rows,
        hour.format1,
        hour.format2,
        TOTALS_EVERY,
    )?;
    for goal in report.goals() {
        let verdict = if goal.is_met() {
            String::from("met")
        } else {
            format!("MISSED by {:.0} %", (goal.over() - 1.0) * 100.0)
        };
        writeln!(
            out,
            "goal {:<24} at most {:<7.4} found {:<7.4} {verdict}",
            goal.what, goal.most, goal.found,
        )?;
    }
    Ok(())
}

/// One JSON object.
pub(crate) fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let line = |line: &Line| {
        let per_row = |bytes: u64| per_row(bytes, line, report.hosts);
        let sizes = &line.bytes;
        json!({
            "rows": line.name,
            "batch_rows": line.rows,
            "bytes_per_row": {
                "otlp": per_row(sizes.otlp),
                "otlp_zstd3": per_row(sizes.otlp_zstd),
                "otlp_lean": per_row(sizes.lean_otlp),
                "otlp_lean_zstd3": per_row(sizes.lean_otlp_zstd),
                "json_zstd3": per_row(sizes.json_zstd),
                "parquet_zstd3": per_row(sizes.parquet_zstd),
                "format1": per_row(sizes.format1),
                "waybill": per_row(sizes.waybill),
            },
            "otlp_ratio": ratio(sizes.otlp, sizes.waybill),
            "otlp_zstd3_ratio": ratio(sizes.otlp_zstd, sizes.waybill),
            "worst_host_otlp_ratio": line.worst[0],
            "worst_host_otlp_zstd3_ratio": line.worst[1],
        })
    };
    let goals = report.goals();
    let goals = goals.iter().map(|goal| {
        json!({
            "what": goal.what,
            "most": goal.most,
            "found": goal.found,
            "met": goal.is_met(),
        })
    });
    let (cost, hour) = (&report.cost, &report.hour);
    let value = json!({
        "hosts": report.hosts,
        "lines": report.lines.iter().map(line).collect::<Vec<_>>(),
        "goals": goals.collect::<Vec<_>>(),
        "hour": {
            "hosts": hour.hosts,
            "rows": hour.rows,
            "bytes_format1": hour.format1,
            "bytes": hour.format2,
        },
        "us_per_row": {
            "rows": cost.rows,
            "seal": cost.seal,
            "seal_format1": cost.seal_format1,
            "open": cost.open,
            "otlp": cost.otlp,
            "otlp_zstd3": cost.otlp_zstd,
        },
    });
    writeln!(out, "{value:#}")
}

fn per_row(bytes: u64, line: &Line, hosts: u64) -> f64 {
    ratio(bytes, line.rows as u64 * hosts)
}
