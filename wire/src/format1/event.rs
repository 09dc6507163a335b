//! Family `event`: abnormal connections with their full tuple and numbers.

use super::keys::{EndColumns, Ends, Keys};
use super::sighting::end_us;
use super::source::{Source, any, narrow};
use crate::error::DecodeError;
use crate::family::connection::{EventKind, EventRow};

/// The rows, from the table `event`.
pub(crate) fn read(
    source: &mut impl Source,
    end_ms: u64,
    keys: &Keys,
) -> Result<Vec<EventRow>, DecodeError> {
    let ends = EndColumns::read(source, keys)?;
    let kinds = "0 failed, 1 refused, 2 reset here, 3 reset there, 4 retransmits, 5 timed out";
    let kinds = any(source, "kind", kinds)?;
    let errnos = any(source, "errno", "")?;
    let age = "microseconds before the end of the interval";
    let ages = any(source, "time_us", age)?;
    let durations = any(source, "duration_us", "")?;
    let sent = any(source, "bytes_sent", "")?;
    let received = any(source, "bytes_received", "")?;
    let retransmits = any(source, "retransmits", "")?;
    let tokens = any(source, "token", "")?;
    let row = |row: usize| {
        let Ends {
            process_id,
            role,
            netns,
            local,
            remote,
        } = ends.row(row, keys)?;
        Ok(EventRow {
            kind: kind(kinds[row])?,
            time_us: end_us(end_ms).wrapping_sub(ages[row]),
            role,
            process_id,
            local,
            remote,
            netns,
            token: tokens[row],
            errno: narrow(errnos[row], "errno")?,
            duration_us: durations[row],
            bytes_sent: sent[row],
            bytes_received: received[row],
            retransmits: retransmits[row],
        })
    };
    (0..tokens.len()).map(row).collect()
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
