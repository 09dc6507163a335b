//! Family `sighting`: one end of one connection that carried a waybill.

use super::keys::{EndColumns, Ends, Keys};
use super::source::{Source, any, narrow, near};
use crate::error::DecodeError;
use crate::family::connection::{Kept, Life, Part, Role, SightingRow};

/// The rows, from the table `sighting`.
pub(crate) fn read(
    source: &mut impl Source,
    end_ms: u64,
    keys: &Keys,
) -> Result<Vec<SightingRow>, DecodeError> {
    let ends = EndColumns::read(source, keys)?;
    let levels = near(source, "sample_level", "near the one before")?;
    let note = "0 sampled, 1 abnormal, 2 long-lived, 3 first, 4 adopted";
    let reasons = any(source, "kept", note)?;
    let note = "1 unless client wrote or server read; 2 more for an answer; 4 by sequence numbers";
    let parts = any(source, "part", note)?;
    let note = "microseconds before the end of the interval";
    let ages = any(source, "start_us", note)?;
    // The zeros at the end of a sampled token lead.
    let tokens = any(source, "token", "rotated right by sample_level")?;
    let lives = if source.knows(LIFE_SINCE) {
        any(source, "life", "0 not known, 1 open, 2 ended")?
    } else {
        vec![0; tokens.len()]
    };
    let row = |row: usize| {
        let Ends {
            process_id,
            role,
            netns,
            local,
            remote,
        } = ends.row(row, keys)?;
        let (part, answer) = part(parts[row], role)?;
        let sample_level: u8 = narrow(levels[row], "sample_level")?;
        Ok(SightingRow {
            token: tokens[row].rotate_left(u32::from(sample_level)),
            part,
            answer,
            role,
            kept: kept(reasons[row])?,
            life: life(lives[row])?,
            sample_level,
            process_id,
            local,
            remote,
            netns,
            start_us: end_us(end_ms).wrapping_sub(ages[row]),
        })
    };
    (0..tokens.len()).map(row).collect()
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
