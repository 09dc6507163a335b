//! Family `event`: abnormal connections with their full tuple and numbers.

use crate::DecodeError;
use crate::edge::{endpoints, role};
use crate::rows::{EventKind, EventRow};
use crate::table::{Number, TableReader, narrow, unzigzag};
use crate::tables::{Opened, Tables};

pub(crate) const TABLE: &str = "event";

const KIND: Number = Number::plain("kind", 1);
const TIME: Number = Number::minus("time_us", 6, "end_ms * 1000");
const ROLE: Number = Number::plain("role", 1);
const PROCESS: Number = Number::delta("process_id", 4);
const NETNS: Number = Number::delta("netns", 5);
const LOCAL: Number = Number::delta("local", 2);
const LOCAL_PORT: Number = Number::plain("local_port", 2);
const REMOTE: Number = Number::delta("remote", 2);
const REMOTE_PORT: Number = Number::plain("remote_port", 2);
const TOKEN: Number = Number::plain("token", 8);
const ERRNO: Number = Number::plain("errno", 2);
const DURATION: Number = Number::plain("duration_us", 5);
const SENT: Number = Number::plain("bytes_sent", 5);
const RECEIVED: Number = Number::plain("bytes_received", 5);
const RETRANSMITS: Number = Number::plain("retransmits", 3);

fn sorted(rows: &[EventRow]) -> Vec<&EventRow> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| {
        (
            row.process_id,
            row.role,
            row.netns,
            row.local,
            row.remote,
            row.time_us,
            row.token,
        )
    });
    rows
}

pub(crate) fn write(rows: &[EventRow], end_ms: u64, tables: &mut Tables) {
    let rows = sorted(rows);
    let base = end_ms.wrapping_mul(1000);
    tables.add(TABLE, rows.len(), |table, addresses| {
        table.number(&KIND, rows.iter().map(|row| row.kind as u64));
        table.against(&TIME, rows.iter().map(|row| (row.time_us, base)));
        table.number(&ROLE, rows.iter().map(|row| row.role as u64));
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
        table.number(&TOKEN, rows.iter().map(|row| row.token));
        table.number(&ERRNO, rows.iter().map(|row| u64::from(row.errno)));
        table.number(&DURATION, rows.iter().map(|row| row.duration_us));
        table.number(&SENT, rows.iter().map(|row| row.bytes_sent));
        table.number(&RECEIVED, rows.iter().map(|row| row.bytes_received));
        table.number(&RETRANSMITS, rows.iter().map(|row| row.retransmits));
    });
}

pub(crate) fn read(
    table: &TableReader<'_>,
    end_ms: u64,
    opened: &Opened<'_>,
) -> Result<Vec<EventRow>, DecodeError> {
    let base = end_ms.wrapping_mul(1000);
    let locals = endpoints(table, &LOCAL, &LOCAL_PORT, &opened.addresses)?;
    let remotes = endpoints(table, &REMOTE, &REMOTE_PORT, &opened.addresses)?;
    let (kinds, times, roles) = (
        table.number(&KIND)?,
        table.number(&TIME)?,
        table.number(&ROLE)?,
    );
    let (processes, netns) = (table.number(&PROCESS)?, table.number(&NETNS)?);
    let (tokens, errnos) = (table.number(&TOKEN)?, table.number(&ERRNO)?);
    let (durations, retransmits) = (table.number(&DURATION)?, table.number(&RETRANSMITS)?);
    let (sent, received) = (table.number(&SENT)?, table.number(&RECEIVED)?);
    // Every column has exactly `rows` values.
    (0..table.rows())
        .map(|row| {
            Ok(EventRow {
                kind: kind(kinds[row])?,
                time_us: unzigzag(times[row], base),
                role: role(roles[row])?,
                process_id: narrow(processes[row], "process_id")?,
                local: locals[row],
                remote: remotes[row],
                netns: narrow(netns[row], "netns")?,
                token: tokens[row],
                errno: narrow(errnos[row], "errno")?,
                duration_us: durations[row],
                bytes_sent: sent[row],
                bytes_received: received[row],
                retransmits: retransmits[row],
            })
        })
        .collect()
}

fn kind(code: u64) -> Result<EventKind, DecodeError> {
    match code {
        0 => Ok(EventKind::Failed),
        1 => Ok(EventKind::Refused),
        2 => Ok(EventKind::ResetLocal),
        3 => Ok(EventKind::ResetRemote),
        4 => Ok(EventKind::Retransmits),
        5 => Ok(EventKind::TimedOut),
        _ => Err(DecodeError::Malformed(format!("no event kind {code}"))),
    }
}
