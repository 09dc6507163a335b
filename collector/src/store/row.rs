//! Rows of the store as the join takes them.

use rusqlite::Row;
use wire::{Columns, Endpoint, Kept, Part, ProcessRow, Role};

use super::block::{Head, Sighted};
use super::error::{Error, failed};
use super::lasting::Held;
use super::window::Window;
use crate::join::{Flow, HostId, Presence, Process, Run, Sighting, cost};

/// What a host cannot measure, from its bits; `None` for what this program has not written.
pub(super) fn columns(bits: u64) -> Option<Columns> {
    Columns::from_bits(bits.try_into().ok()?)
}

/// A sighting of a block, of the flow with an index.
pub(super) fn short(row: &Sighted, head: &Head, flow: usize, window: Window) -> Sighting {
    Sighting {
        flow,
        token: row.token,
        part: part(row.part),
        sample_level: row.sample_level,
        port: row.port,
        start_us: row.start_us,
        adopted: row.kept == Kept::Adopted as u8,
        first_ms: head.start_ms,
        last_ms: head.end_ms,
        // It ended in the interval that told of it.
        presence: Presence::of(
            head.end_ms,
            Some(head.end_ms),
            (window.from_ms, window.to_ms),
        ),
        open: head.end_ms > window.to_ms,
    }
}

/// A sighting of a connection that outlives an interval, of the flow with an index.
pub(super) fn lasting(held: &Held, flow: usize, window: Window) -> Sighting {
    let (first_ms, last_ms) = held.told;
    let ended_ms = held.ended_ms.unwrap_or(i64::MAX);
    Sighting {
        flow,
        token: held.row.token,
        part: part(held.row.part),
        sample_level: held.row.sample_level,
        port: held.row.port,
        start_us: held.row.start_us,
        adopted: held.row.kept == Kept::Adopted as u8,
        first_ms,
        last_ms,
        presence: Presence::of(last_ms, Some(ended_ms), (window.from_ms, window.to_ms)),
        open: ended_ms > window.to_ms,
    }
}

fn part(number: u8) -> Part {
    match number {
        0 => Part::Wrote,
        1 => Part::Read,
        _ => Part::Sequence,
    }
}

/// Memory of the texts of a process.
pub(super) fn texts(row: &ProcessRow) -> usize {
    let own = [
        &row.comm,
        &row.exe,
        &row.cgroup,
        &row.container,
        &row.unit,
        &row.service,
    ];
    let tags = row.tags.iter().flat_map(|(key, value)| [key, value]);
    let all = own.into_iter().chain(tags);
    all.map(|text| size_of::<String>() + cost::text(text.len()))
        .sum()
}

/// Agent run, process id and flow.
pub(super) fn flow(row: &Row<'_>) -> rusqlite::Result<(i64, u32, Flow)> {
    let role: u8 = row.get(2)?;
    let flow = Flow {
        host: HostId(row.get(8)?),
        process: None,
        role: if role == Role::Client as u8 {
            Role::Client
        } else {
            Role::Server
        },
        netns: row.get(3)?,
        local: Endpoint {
            addr: row.get(4)?,
            port: row.get(5)?,
        },
        remote: Endpoint {
            addr: row.get(6)?,
            port: row.get(7)?,
        },
        counters: None,
        open_before: 0,
        run: Run::default(),
        first_ms: i64::MAX,
        last_ms: i64::MIN,
    };
    Ok((row.get(0)?, row.get(1)?, flow))
}

pub(super) fn process(row: &Row<'_>) -> rusqlite::Result<Process> {
    let started_ms: i64 = row.get(3)?;
    let tags: String = row.get(10)?;
    Ok(Process {
        last_ms: row.get(1)?,
        row: ProcessRow {
            process_id: row.get(0)?,
            tgid: row.get(2)?,
            started_ms: u64::try_from(started_ms).unwrap_or(0),
            comm: row.get(4)?,
            exe: row.get(5)?,
            cgroup: row.get(6)?,
            container: row.get(7)?,
            unit: row.get(8)?,
            service: row.get(9)?,
            // Written by `put` and by nobody else.
            tags: serde_json::from_str(&tags).unwrap_or_default(),
        },
    })
}

pub(super) fn sighting(row: &Row<'_>, window: Window) -> Result<Sighting, Error> {
    let read = || -> rusqlite::Result<_> {
        let token: i64 = row.get(1)?;
        let part: u8 = row.get(2)?;
        let last_ms = row.get(7)?;
        let ended_ms: Option<i64> = row.get(8)?;
        Ok(Sighting {
            flow: 0,
            token: token.cast_unsigned(),
            part: self::part(part),
            sample_level: row.get(3)?,
            port: row.get(4)?,
            start_us: row.get(5)?,
            first_ms: row.get(6)?,
            last_ms,
            presence: Presence::of(last_ms, ended_ms, (window.from_ms, window.to_ms)),
            open: ended_ms.is_some_and(|ended_ms| ended_ms > window.to_ms),
            adopted: row.get::<_, u8>(9)? == Kept::Adopted as u8,
        })
    };
    read().map_err(failed)
}
