//! Tables that are stored by their description, and their rows.

use std::io::{self, Write};

use serde_json::Value;
use wire::schema::{Column, Kind, Table, Type};

use super::line::{WIDTH, write_items};
use crate::counters::percentile;
use crate::escape::{Shown, shorten};
use crate::rows::{Answer, Listed, Row, Rows, Tables};
use crate::time::rfc3339;

/// The tables, each with its columns.
///
/// # Errors
/// Those of the writer.
pub fn tables(out: &mut dyn Write, tables: &Tables) -> io::Result<()> {
    for Listed {
        table,
        shown_by,
        last_ms,
    } in &tables.tables
    {
        head(out, table)?;
        let state = match (shown_by, last_ms) {
            (Some(command), _) => format!("shown by `waybill-collector {command}`"),
            (None, Some(last)) => format!("newest interval until {}", rfc3339(*last)),
            (None, None) => String::from("no rows"),
        };
        write_items(out, "    ", &[state])?;
        let columns = table.columns.iter().map(|column| {
            let kind = format!("{:?}", column.kind).to_lowercase();
            match &*column.unit {
                "" => format!("{} ({kind})", column.name),
                unit => format!("{} ({kind}, {})", column.name, Shown(unit)),
            }
        });
        write_items(out, "    ", &columns.collect::<Vec<_>>())?;
    }
    writeln!(out, "\ntables: {}", tables.tables.len())
}

/// Rows of a table: a line with what a row is about, then what it says.
///
/// # Errors
/// Those of the writer.
pub fn rows(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    for table in &answer.tables {
        let Rows {
            table,
            rows,
            rows_left_out,
        } = table;
        head(out, table)?;
        for row in rows {
            write_row(out, table, row)?;
        }
        writeln!(out, "rows: {}", rows.len())?;
        if *rows_left_out > 0 {
            writeln!(out, "left out, because of --limit: {rows_left_out}")?;
        }
    }
    let (from, to) = (rfc3339(answer.from_ms), rfc3339(answer.to_ms));
    writeln!(out, "from {from} to {to}")?;
    if let Some(before) = answer.evicted_before_ms {
        let before = rfc3339(before);
        writeln!(
            out,
            "the store was full: data up to {before} may be missing"
        )?;
    }
    if let Some(from) = answer.whole_from_ms {
        writeln!(
            out,
            "whole from {} on: what is older was deleted",
            rfc3339(from)
        )?;
    }
    Ok(())
}

fn head(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    let shape = format!("{:?}", table.shape).to_lowercase();
    let title = format!("{} ({shape} of family {})", table.name, table.family);
    writeln!(out, "{title}")?;
    write_items(out, "    ", &[Shown(&table.help).to_string()])
}

fn write_row(out: &mut dyn Write, table: &Table, row: &Row) -> io::Result<()> {
    let (mut about, mut says) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let Some(value) = row.values.get(&column.name) else {
            continue;
        };
        let mut text = format!("{} {}", column.name, cell(column, value));
        let most = row.most.get(&column.name).filter(|most| *most != value);
        if let Some(most) = most {
            text = format!("{text} (most {})", cell(column, most));
        }
        match column.kind {
            Kind::Dimension | Kind::Address => about.push(text),
            _ => says.push(text),
        }
    }
    let host = if row.hostname.is_empty() {
        &row.host
    } else {
        &row.hostname
    };
    if let Some(process) = &row.process {
        let name = [&process.service, &process.exe, &process.comm];
        let name = name.into_iter().find(|name| !name.is_empty());
        about.extend(name.map(|name| format!("process {}", Shown(name))));
    }
    let end = rfc3339(row.end_ms);
    let width = WIDTH - end.chars().count() - 1;
    writeln!(out, "{:<width$} {end}", shorten(host, width))?;
    for items in [about, says] {
        if !items.is_empty() {
            write_items(out, "    ", &items)?;
        }
    }
    Ok(())
}

/// A value in words.
fn cell(column: &Column, value: &Value) -> String {
    let time = |per_ms: i64| value.as_i64().map(|at| rfc3339(at / per_ms));
    let unit = match &*column.unit {
        "" => String::new(),
        // `{connection}`: what is counted, which the column's name says.
        unit if unit.starts_with('{') => String::new(),
        unit => format!(" {}", Shown(unit)),
    };
    match (value, &column.values) {
        (Value::Null, _) => String::from("not known"),
        (Value::Number(_), _) if column.kind == Kind::Time && column.unit == "ms" => {
            time(1).unwrap_or_default()
        }
        (Value::Number(_), _) if column.kind == Kind::Time && column.unit == "us" => {
            time(1000).unwrap_or_default()
        }
        (Value::Number(number), _) => format!("{number}{unit}"),
        (Value::String(text), _) => Shown(text).to_string(),
        (Value::Object(_), Type::Histogram) => distribution(value),
        (Value::Object(map), _) => {
            let counts = map.iter().map(|(name, n)| format!("{} {n}", Shown(name)));
            format!("[{}]", counts.collect::<Vec<_>>().join(" "))
        }
        (other, _) => Shown(&other.to_string()).to_string(),
    }
}

/// How many, and below what half and nearly all of them are.
fn distribution(value: &Value) -> String {
    let mut histogram = wire::Histogram::default();
    let buckets = value["buckets"].as_array();
    let buckets = buckets.into_iter().flatten();
    for (slot, count) in histogram.buckets.iter_mut().zip(buckets) {
        *slot = count.as_u64().unwrap_or(0);
    }
    let at = |per_cent| percentile(&histogram, per_cent).unwrap_or(0);
    format!(
        "{} times, p50 {} us, p95 {} us",
        value["count"],
        at(50),
        at(95)
    )
}
