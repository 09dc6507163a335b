//! Family `sighting`: one end of one connection that carried a waybill.

use super::codec::{Codec, column, narrow, previous};
use super::keys::{EndColumns, Ends, Keys};
use super::number::Expected;
use crate::error::DecodeError;
use crate::family::connection::{Kept, Life, Part, Role, SightingRow};

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct SightingColumns {
    ends: EndColumns,
    /// Rotated right by the level, so that the zeros at the end of a sampled token lead.
    token: Vec<u64>,
    sample_level: Vec<u64>,
    kept: Vec<u64>,
    /// 0 where the client wrote or the server read; 1 the other way round; 2 more for an answer; 4
    /// where both ends made the token from sequence numbers.
    part: Vec<u64>,
    /// Microseconds from the start to the end of the interval, wrapping.
    age: Vec<u64>,
    life: Vec<u64>,
}

impl SightingColumns {
    pub(crate) fn of(rows: &[SightingRow], end_ms: u64, keys: &Keys) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| (Ends::from(*row).order(), row.start_us, row.token));
        let all = |get: &dyn Fn(&SightingRow) -> u64| rows.iter().map(|row| get(row)).collect();
        Self {
            ends: EndColumns::of(rows.iter().map(|row| Ends::from(*row)), keys),
            token: all(&|row| row.token.rotate_right(u32::from(row.sample_level))),
            sample_level: all(&|row| u64::from(row.sample_level)),
            kept: all(&|row| row.kept as u64),
            part: all(&|row| match row.part {
                Part::Sequence => SEQUENCE,
                part => (part as u64) ^ (row.role as u64) | u64::from(row.answer) << 1,
            }),
            age: all(&|row| end_us(end_ms).wrapping_sub(row.start_us)),
            life: all(&|row| row.life as u64),
        }
    }

    /// The table `sighting`.
    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        self.ends.code(codec, keys)?;
        let level = column("sample_level", "near the one before");
        codec.numbers(level, &mut self.sample_level, &mut |row, before| {
            Expected::near(previous(row, before))
        })?;
        for (name, note, values) in [
            (
                "kept",
                "0 sampled, 1 abnormal, 2 long-lived, 3 first, 4 adopted",
                &mut self.kept,
            ),
            (
                "part",
                "1 unless client wrote or server read; 2 more for an answer; 4 by sequence numbers",
                &mut self.part,
            ),
            (
                "start_us",
                "microseconds before the end of the interval",
                &mut self.age,
            ),
            ("token", "rotated right by sample_level", &mut self.token),
        ] {
            codec.numbers(column(name, note), values, &mut |_, _| Expected::ANY)?;
        }
        if codec.knows(LIFE_SINCE) {
            let life = column("life", "0 not known, 1 open, 2 ended");
            codec.numbers(life, &mut self.life, &mut |_, _| Expected::ANY)?;
        } else {
            self.life = vec![0; self.token.len()];
        }
        Ok(())
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(&self, end_ms: u64, keys: &Keys) -> Result<Vec<SightingRow>, DecodeError> {
        let row = |row: usize| {
            let Ends {
                process_id,
                role,
                netns,
                local,
                remote,
            } = self.ends.row(row, keys)?;
            let (part, answer) = part(self.part[row], role)?;
            let sample_level: u8 = narrow(self.sample_level[row], "sample_level")?;
            Ok(SightingRow {
                token: self.token[row].rotate_left(u32::from(sample_level)),
                part,
                answer,
                role,
                kept: kept(self.kept[row])?,
                life: life(self.life[row])?,
                sample_level,
                process_id,
                local,
                remote,
                netns,
                start_us: end_us(end_ms).wrapping_sub(self.age[row]),
            })
        };
        (0..self.token.len()).map(row).collect()
    }
}

/// Microseconds of a time in milliseconds.
pub(crate) fn end_us(end_ms: u64) -> u64 {
    end_ms.wrapping_mul(1000)
}

/// Minor schema version that says whether a connection goes on.
const LIFE_SINCE: u8 = 2;

/// What [`Part::Sequence`] is written as.
const SEQUENCE: u64 = 4;

fn part(code: u64, role: Role) -> Result<(Part, bool), DecodeError> {
    if code == SEQUENCE {
        return Ok((Part::Sequence, false));
    }
    if code > SEQUENCE {
        return Err(DecodeError::Malformed(format!(
            "no part {code} of a sighting"
        )));
    }
    let part = if (code & 1) ^ (role as u64) == 0 {
        Part::Wrote
    } else {
        Part::Read
    };
    Ok((part, code & 2 != 0))
}

fn kept(code: u64) -> Result<Kept, DecodeError> {
    match code {
        0 => Ok(Kept::Sampled),
        1 => Ok(Kept::Abnormal),
        2 => Ok(Kept::LongLived),
        3 => Ok(Kept::First),
        4 => Ok(Kept::Adopted),
        _ => Err(DecodeError::Malformed(format!(
            "no reason {code} to keep a sighting"
        ))),
    }
}

fn life(code: u64) -> Result<Life, DecodeError> {
    match code {
        0 => Ok(Life::Unknown),
        1 => Ok(Life::Open),
        2 => Ok(Life::Ended),
        _ => Err(DecodeError::Malformed(format!(
            "no life {code} of a sighting"
        ))),
    }
}
