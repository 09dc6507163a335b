//! Family `event`: abnormal connections with their full tuple and numbers.

use super::codec::{Codec, column, narrow};
use super::keys::{EndColumns, Ends, Keys};
use super::number::Expected;
use super::sighting::end_us;
use crate::error::DecodeError;
use crate::family::connection::{EventKind, EventRow};

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct EventColumns {
    ends: EndColumns,
    kind: Vec<u64>,
    errno: Vec<u64>,
    /// Microseconds from the event to the end of the interval, wrapping.
    age: Vec<u64>,
    duration: Vec<u64>,
    bytes_sent: Vec<u64>,
    bytes_received: Vec<u64>,
    retransmits: Vec<u64>,
    token: Vec<u64>,
}

impl EventColumns {
    pub(crate) fn of(rows: &[EventRow], end_ms: u64, keys: &Keys) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| (Ends::from(*row).order(), row.time_us, row.token));
        let all = |get: &dyn Fn(&EventRow) -> u64| rows.iter().map(|row| get(row)).collect();
        Self {
            ends: EndColumns::of(rows.iter().map(|row| Ends::from(*row)), keys),
            kind: all(&|row| row.kind as u64),
            errno: all(&|row| u64::from(row.errno)),
            age: all(&|row| end_us(end_ms).wrapping_sub(row.time_us)),
            duration: all(&|row| row.duration_us),
            bytes_sent: all(&|row| row.bytes_sent),
            bytes_received: all(&|row| row.bytes_received),
            retransmits: all(&|row| row.retransmits),
            token: all(&|row| row.token),
        }
    }

    /// The table `event`.
    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        self.ends.code(codec, keys)?;
        let kinds = "0 failed, 1 refused, 2 reset here, 3 reset there, 4 retransmits, 5 timed out";
        for (name, note, values) in [
            ("kind", kinds, &mut self.kind),
            ("errno", "", &mut self.errno),
            (
                "time_us",
                "microseconds before the end of the interval",
                &mut self.age,
            ),
            ("duration_us", "", &mut self.duration),
            ("bytes_sent", "", &mut self.bytes_sent),
            ("bytes_received", "", &mut self.bytes_received),
            ("retransmits", "", &mut self.retransmits),
            ("token", "", &mut self.token),
        ] {
            codec.numbers(column(name, note), values, &mut |_, _| Expected::ANY)?;
        }
        Ok(())
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(&self, end_ms: u64, keys: &Keys) -> Result<Vec<EventRow>, DecodeError> {
        let row = |row: usize| {
            let Ends {
                process_id,
                role,
                netns,
                local,
                remote,
            } = self.ends.row(row, keys)?;
            Ok(EventRow {
                kind: kind(self.kind[row])?,
                time_us: end_us(end_ms).wrapping_sub(self.age[row]),
                role,
                process_id,
                local,
                remote,
                netns,
                token: self.token[row],
                errno: narrow(self.errno[row], "errno")?,
                duration_us: self.duration[row],
                bytes_sent: self.bytes_sent[row],
                bytes_received: self.bytes_received[row],
                retransmits: self.retransmits[row],
            })
        };
        (0..self.token.len()).map(row).collect()
    }
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
