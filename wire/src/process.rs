//! Family `process`: who the processes behind the other rows are.

use crate::DecodeError;
use crate::rows::ProcessRow;
use crate::table::{Number, TableReader, narrow, unzigzag};
use crate::tables::{Opened, Tables};
use crate::text::Pairs;

pub(crate) const TABLE: &str = "process";
const TAGS: &str = "process_tag";

const PROCESS: Number = Number::delta("process_id", 4);
const TGID: Number = Number::plain("tgid", 4);
const STARTED: Number = Number::minus("started_ms", 6, "end_ms");

fn sorted(rows: &[ProcessRow]) -> Vec<&ProcessRow> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.process_id);
    rows
}

pub(crate) fn write(rows: &[ProcessRow], end_ms: u64, tables: &mut Tables) {
    let rows = sorted(rows);
    tables.add(TABLE, rows.len(), |table, _| {
        table.number(&PROCESS, rows.iter().map(|row| u64::from(row.process_id)));
        table.number(&TGID, rows.iter().map(|row| u64::from(row.tgid)));
        table.against(&STARTED, rows.iter().map(|row| (row.started_ms, end_ms)));
        table.text("comm", rows.iter().map(|row| row.comm.as_str()));
        table.text("exe", rows.iter().map(|row| row.exe.as_str()));
        table.text("cgroup", rows.iter().map(|row| row.cgroup.as_str()));
        table.text("container", rows.iter().map(|row| row.container.as_str()));
        table.text("unit", rows.iter().map(|row| row.unit.as_str()));
        table.text("service", rows.iter().map(|row| row.service.as_str()));
    });
    Pairs::write(TAGS, rows.iter().map(|row| row.tags.as_slice()), tables);
}

pub(crate) fn read(
    table: &TableReader<'_>,
    end_ms: u64,
    opened: &Opened<'_>,
) -> Result<Vec<ProcessRow>, DecodeError> {
    let mut comms = table.text("comm")?.into_iter();
    let mut exes = table.text("exe")?.into_iter();
    let mut cgroups = table.text("cgroup")?.into_iter();
    let mut containers = table.text("container")?.into_iter();
    let mut units = table.text("unit")?.into_iter();
    let mut services = table.text("service")?.into_iter();
    let mut tags = Pairs::read(TAGS, table.rows(), opened)?.into_iter();
    let (processes, tgids) = (table.number(&PROCESS)?, table.number(&TGID)?);
    let started = table.number(&STARTED)?;
    // Every column has exactly `rows` values.
    (0..table.rows())
        .map(|row| {
            Ok(ProcessRow {
                process_id: narrow(processes[row], "process_id")?,
                tgid: narrow(tgids[row], "tgid")?,
                started_ms: unzigzag(started[row], end_ms),
                comm: comms.next().unwrap_or_default(),
                exe: exes.next().unwrap_or_default(),
                cgroup: cgroups.next().unwrap_or_default(),
                container: containers.next().unwrap_or_default(),
                unit: units.next().unwrap_or_default(),
                service: services.next().unwrap_or_default(),
                tags: tags.next().unwrap_or_default(),
            })
        })
        .collect()
}
