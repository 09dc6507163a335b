//! Family `host`: facts, plan and the agent's own counters.

use crate::DecodeError;
use crate::rows::HostRow;
use crate::table::{Number, TableReader, narrow, unzigzag};
use crate::tables::{Opened, Tables};
use crate::text::Pairs;

pub(crate) const TABLE: &str = "host";
const PLAN: &str = "host_plan";
const FACTS: &str = "host_fact";
const PATHS: &str = "host_path_off";
const COUNTERS: &str = "host_counter";

const STARTED: Number = Number::minus("started_ms", 6, "end_ms");
const ROW: Number = Number::delta("row", 4);
const VALUE: Number = Number::plain("value", 5);

pub(crate) fn write(rows: &[HostRow], end_ms: u64, tables: &mut Tables) {
    tables.add(TABLE, rows.len(), |table, _| {
        table.text("hostname", rows.iter().map(|row| row.hostname.as_str()));
        table.text("kernel", rows.iter().map(|row| row.kernel.as_str()));
        table.text("agent", rows.iter().map(|row| row.agent.as_str()));
        table.text("mode", rows.iter().map(|row| row.mode.as_str()));
        table.against(&STARTED, rows.iter().map(|row| (row.started_ms, end_ms)));
    });
    Pairs::write(PLAN, rows.iter().map(|row| row.plan.as_slice()), tables);
    Pairs::write(FACTS, rows.iter().map(|row| row.facts.as_slice()), tables);
    Pairs::write(
        PATHS,
        rows.iter().map(|row| row.paths_off.as_slice()),
        tables,
    );
    let counters: Vec<_> = rows
        .iter()
        .enumerate()
        .flat_map(|(row, host)| {
            host.counters
                .iter()
                .map(move |counter| (row as u64, counter))
        })
        .collect();
    tables.add(COUNTERS, counters.len(), |table, _| {
        table.number(&ROW, counters.iter().map(|(row, _)| *row));
        table.text(
            "name",
            counters.iter().map(|(_, counter)| counter.0.as_str()),
        );
        table.number(&VALUE, counters.iter().map(|(_, counter)| counter.1));
    });
}

pub(crate) fn read(
    table: &TableReader<'_>,
    end_ms: u64,
    opened: &Opened<'_>,
) -> Result<Vec<HostRow>, DecodeError> {
    let mut hostnames = table.text("hostname")?.into_iter();
    let mut kernels = table.text("kernel")?.into_iter();
    let mut agents = table.text("agent")?.into_iter();
    let mut modes = table.text("mode")?.into_iter();
    let mut plans = Pairs::read(PLAN, table.rows(), opened)?.into_iter();
    let mut facts = Pairs::read(FACTS, table.rows(), opened)?.into_iter();
    let mut paths = Pairs::read(PATHS, table.rows(), opened)?.into_iter();
    let mut rows: Vec<_> = table
        .number(&STARTED)?
        .into_iter()
        .map(|started| HostRow {
            hostname: hostnames.next().unwrap_or_default(),
            kernel: kernels.next().unwrap_or_default(),
            agent: agents.next().unwrap_or_default(),
            mode: modes.next().unwrap_or_default(),
            plan: plans.next().unwrap_or_default(),
            facts: facts.next().unwrap_or_default(),
            paths_off: paths.next().unwrap_or_default(),
            counters: Vec::new(),
            started_ms: unzigzag(started, end_ms),
        })
        .collect();
    if let Some(table) = opened.table(COUNTERS) {
        let counters = table.text("name")?.into_iter().zip(table.number(&VALUE)?);
        for (row, counter) in table.number(&ROW)?.into_iter().zip(counters) {
            rows.get_mut(narrow::<usize>(row, "row")?)
                .ok_or_else(|| DecodeError::Malformed(format!("{COUNTERS} has no row {row}")))?
                .counters
                .push(counter);
        }
    }
    Ok(rows)
}
