//! Process rows as tuples.

use wire::ProcessRow;

/// All of [`ProcessRow`].
pub(super) type Process = ((u32, u32, u64), [String; 6], Vec<(String, String)>);

pub(super) fn of_process(row: &ProcessRow) -> Process {
    let texts = [
        &row.comm,
        &row.exe,
        &row.cgroup,
        &row.container,
        &row.unit,
        &row.service,
    ];
    (
        (row.process_id, row.tgid, row.started_ms),
        texts.map(Clone::clone),
        row.tags.clone(),
    )
}

pub(super) fn process_of((numbers, texts, tags): &Process) -> ProcessRow {
    let [comm, exe, cgroup, container, unit, service] = texts.clone();
    let (process_id, tgid, started_ms) = *numbers;
    ProcessRow {
        process_id,
        tgid,
        started_ms,
        comm,
        exe,
        cgroup,
        container,
        unit,
        service,
        tags: tags.clone(),
    }
}
