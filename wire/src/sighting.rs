//! Family `sighting`: one end of one connection that carried a waybill.

use crate::DecodeError;
use crate::edge::{endpoints, role};
use crate::rows::{Kept, Part, SightingRow};
use crate::table::{Number, TableReader, narrow, unzigzag};
use crate::tables::{Opened, Tables};

pub(crate) const TABLE: &str = "sighting";

const TOKEN: Number = Number::plain("token", 8);
/// Bit 0 part, bit 1 answer, bit 2 role, bits 3 and 4 kept.
const FLAGS: Number = Number::plain("flags", 1);
const LEVEL: Number = Number::plain("sample_level", 1);
const PROCESS: Number = Number::delta("process_id", 4);
const NETNS: Number = Number::delta("netns", 5);
const LOCAL: Number = Number::delta("local", 2);
const LOCAL_PORT: Number = Number::plain("local_port", 2);
const REMOTE: Number = Number::delta("remote", 2);
const REMOTE_PORT: Number = Number::plain("remote_port", 2);
const START: Number = Number::minus("start_us", 6, "end_ms * 1000");

fn sorted(rows: &[SightingRow]) -> Vec<&SightingRow> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| {
        (
            row.process_id,
            row.role,
            row.netns,
            row.local,
            row.remote,
            row.start_us,
            row.token,
        )
    });
    rows
}

fn flags(row: &SightingRow) -> u64 {
    row.part as u64 | u64::from(row.answer) << 1 | (row.role as u64) << 2 | (row.kept as u64) << 3
}

pub(crate) fn write(rows: &[SightingRow], end_ms: u64, tables: &mut Tables) {
    let rows = sorted(rows);
    let base = end_ms.wrapping_mul(1000);
    tables.add(TABLE, rows.len(), |table, addresses| {
        table.number(&TOKEN, rows.iter().map(|row| row.token));
        table.number(&FLAGS, rows.iter().map(|row| flags(row)));
        table.number(&LEVEL, rows.iter().map(|row| u64::from(row.sample_level)));
        table.number(&PROCESS, rows.iter().map(|row| u64::from(row.process_id)));
        table.number(&NETNS, rows.iter().map(|row| u64::from(row.netns)));
        table.number(
            &LOCAL,
            rows.iter().map(|row| addresses.number(row.local.addr)),
        );
        table.number(
            &LOCAL_PORT,
            rows.iter().map(|row| u64::from(row.local.port)),
        );
        table.number(
            &REMOTE,
            rows.iter().map(|row| addresses.number(row.remote.addr)),
        );
        table.number(
            &REMOTE_PORT,
            rows.iter().map(|row| u64::from(row.remote.port)),
        );
        table.against(&START, rows.iter().map(|row| (row.start_us, base)));
    });
}

pub(crate) fn read(
    table: &TableReader<'_>,
    end_ms: u64,
    opened: &Opened<'_>,
) -> Result<Vec<SightingRow>, DecodeError> {
    let base = end_ms.wrapping_mul(1000);
    let (tokens, starts) = (table.number(&TOKEN)?, table.number(&START)?);
    let (flags, levels) = (table.number(&FLAGS)?, table.number(&LEVEL)?);
    let (processes, netns) = (table.number(&PROCESS)?, table.number(&NETNS)?);
    let locals = endpoints(table, &LOCAL, &LOCAL_PORT, &opened.addresses)?;
    let remotes = endpoints(table, &REMOTE, &REMOTE_PORT, &opened.addresses)?;
    // Every column has exactly `rows` values.
    (0..table.rows())
        .map(|row| {
            Ok(SightingRow {
                token: tokens[row],
                part: if flags[row] & 1 == 0 {
                    Part::Wrote
                } else {
                    Part::Read
                },
                answer: flags[row] & 2 != 0,
                role: role(flags[row] >> 2 & 1)?,
                kept: kept(flags[row] >> 3)?,
                sample_level: narrow(levels[row], "sample_level")?,
                process_id: narrow(processes[row], "process_id")?,
                local: locals[row],
                remote: remotes[row],
                netns: narrow(netns[row], "netns")?,
                start_us: unzigzag(starts[row], base),
            })
        })
        .collect()
}

fn kept(code: u64) -> Result<Kept, DecodeError> {
    match code {
        0 => Ok(Kept::Sampled),
        1 => Ok(Kept::Abnormal),
        2 => Ok(Kept::LongLived),
        3 => Ok(Kept::First),
        _ => Err(DecodeError::Malformed(format!(
            "no reason {code} to keep a sighting"
        ))),
    }
}
