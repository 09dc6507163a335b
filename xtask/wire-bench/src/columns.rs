//! What each column of a batch costs: how much shorter the batch is without it.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use wire::Values;

use crate::measure::ratio;
use fleet::{BENCH, Hour};

/// One in so many intervals of an hour is looked at.
const SAMPLED: usize = 45;

/// Prints bytes a row of each table, over an hour of that many hosts.
pub(crate) fn print(hosts: u64, out: &mut dyn Write) -> Result<()> {
    let (mut batches, mut all) = (0, 0);
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    let mut columns: BTreeMap<(String, usize, String), u64> = BTreeMap::new();
    for batch in (1..=hosts).flat_map(|seed| Hour::new(seed, &BENCH).step_by(SAMPLED)) {
        let batch = batch.1;
        let whole = wire::encode(&batch).len();
        (batches, all) = (batches + 1, all + whole as u64);
        for (_, table) in batch.as_tables() {
            let name = &table.table.name;
            *rows.entry(name.clone()).or_default() += table.rows as u64;
            for (at, column) in table.table.columns.iter().enumerate() {
                let mut less = table.clone();
                less.columns[at] = Values::nothing(&column.values, table.rows);
                let mut without = batch.clone();
                without.put(less).context("a column of nothing")?;
                let saved = whole.saturating_sub(wire::encode(&without).len());
                let key = (name.clone(), at, column.name.clone());
                *columns.entry(key).or_default() += saved as u64;
            }
        }
    }
    writeln!(
        out,
        "{batches} batches, {:.0} bytes each",
        ratio(all, batches)
    )?;
    for (name, rows) in &rows {
        let share = ratio(*rows, batches);
        writeln!(out, "{name}: {share:.1} rows a batch; bytes a row:")?;
        for ((_, _, column), bytes) in columns.iter().filter(|((table, ..), _)| table == name) {
            writeln!(out, "  {column:<20} {:>7.3}", ratio(*bytes, *rows))?;
        }
    }
    Ok(())
}
