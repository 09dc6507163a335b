//! Connections that a batch told of and that outlive an interval, column by column.

use super::number::{Reading, put, put_signed};
use super::sightings::{Sighted, put_rows, read_rows};

/// One end of one connection, as an interval told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Lasting {
    pub(in crate::store) sighted: Sighted,
    /// It had not ended when the interval did.
    pub(in crate::store) open: bool,
    /// Begin and end of the interval that told of it first, where that is another one; Unix
    /// milliseconds.
    pub(in crate::store) told: Option<(i64, i64)>,
}

/// What of a run goes on when an interval ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum GoesOn {
    /// All of it.
    All(Vec<Lasting>),
    /// It was said with the batch of this number, and what changed since is in blocks.
    Since(i64),
}

/// Those of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Lastings {
    pub(in crate::store) rows: Vec<Lasting>,
    /// Not in every batch.
    pub(in crate::store) goes_on: Option<GoesOn>,
}

impl Lastings {
    /// Both lists in the order of their flows.
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_lasting(&mut bytes, &self.rows);
        match &self.goes_on {
            None => put(&mut bytes, 0),
            Some(GoesOn::Since(sequence)) => {
                put(&mut bytes, 1);
                put_signed(&mut bytes, *sequence);
            }
            Some(GoesOn::All(rows)) => {
                put(&mut bytes, 2);
                put_lasting(&mut bytes, rows);
            }
        }
        bytes
    }

    /// The inverse of [`Lastings::encode`]; `None` for bytes that it did not make.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reading = Reading(bytes);
        let rows = read_lasting(&mut reading)?;
        let goes_on = match reading.number()? {
            0 => None,
            1 => Some(GoesOn::Since(reading.signed()?)),
            2 => Some(GoesOn::All(read_lasting(&mut reading)?)),
            _ => return None,
        };
        reading.0.is_empty().then_some(Self { rows, goes_on })
    }
}

fn put_lasting(bytes: &mut Vec<u8>, rows: &[Lasting]) {
    put_rows(bytes, rows.iter().map(|row| &row.sighted));
    for row in rows {
        bytes.push(u8::from(row.open) | u8::from(row.told.is_some()) << 1);
    }
    let mut before = 0_i64;
    for (first_ms, last_ms) in rows.iter().filter_map(|row| row.told) {
        put_signed(bytes, last_ms.wrapping_sub(before));
        put_signed(bytes, last_ms.wrapping_sub(first_ms));
        before = last_ms;
    }
}

fn read_lasting(reading: &mut Reading<'_>) -> Option<Vec<Lasting>> {
    let rows = read_rows(reading)?.into_iter().map(|sighted| Lasting {
        sighted,
        ..Lasting::default()
    });
    let mut rows: Vec<_> = rows.collect();
    for row in &mut rows {
        let flags = reading.byte()?;
        row.open = flags & 1 != 0;
        row.told = (flags & 2 != 0).then_some((0, 0));
    }
    let mut before = 0_i64;
    for told in rows.iter_mut().filter_map(|row| row.told.as_mut()) {
        before = before.wrapping_add(reading.signed()?);
        *told = (before.wrapping_sub(reading.signed()?), before);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::super::sightings::tests::sighted;
    use super::{GoesOn, Lasting, Lastings};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    fn lasting() -> impl Strategy<Value = Lasting> {
        let rest = (any::<bool>(), any::<Option<(i64, i64)>>());
        (sighted(), rest).prop_map(|(sighted, (open, told))| Lasting {
            sighted,
            open,
            told,
        })
    }

    fn some() -> impl Strategy<Value = Vec<Lasting>> {
        prop::collection::vec(lasting(), 0..20)
    }

    proptest! {
        #[test]
        fn lasting_ones_survive(rows in some(), goes_on in prop_oneof![
            Just(None),
            any::<i64>().prop_map(|sequence| Some(GoesOn::Since(sequence))),
            some().prop_map(|rows| Some(GoesOn::All(rows))),
        ]) {
            let all = Lastings { rows, goes_on };
            assert_eq!(Lastings::decode(&all.encode()), Some(all));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            drop(Lastings::decode(&bytes));
        }
    }
}
