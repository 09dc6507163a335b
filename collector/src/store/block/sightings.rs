//! Connections that a batch told of and that lived within its interval, column by column.

use super::number::{Reading, put, put_signed};

/// One end of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Sighted {
    pub(in crate::store) flow: i64,
    pub(in crate::store) token: u64,
    /// The number of `wire::Part`.
    pub(in crate::store) part: u8,
    pub(in crate::store) answer: bool,
    /// The number of `wire::Kept`.
    pub(in crate::store) kept: u8,
    pub(in crate::store) sample_level: u8,
    pub(in crate::store) port: u16,
    pub(in crate::store) start_us: i64,
}

/// Those of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Sightings(pub(in crate::store) Vec<Sighted>);

impl Sightings {
    /// In the order of their flows.
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_rows(&mut bytes, self.0.iter());
        bytes
    }

    /// The inverse of [`Sightings::encode`]; `None` for bytes that it did not make.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reading = Reading(bytes);
        let rows = read_rows(&mut reading)?;
        reading.0.is_empty().then_some(Self(rows))
    }
}

pub(super) fn put_rows<'a>(
    bytes: &mut Vec<u8>,
    rows: impl ExactSizeIterator<Item = &'a Sighted> + Clone,
) {
    put(bytes, rows.len() as u64);
    let (mut flow, mut start_us) = (0, 0);
    for row in rows.clone() {
        put_signed(bytes, row.flow.wrapping_sub(flow));
        flow = row.flow;
    }
    bytes.extend(
        rows.clone()
            .map(|row| row.part & 3 | u8::from(row.answer) << 2 | row.kept << 3),
    );
    bytes.extend(rows.clone().map(|row| row.sample_level));
    for row in rows.clone() {
        bytes.extend(row.port.to_le_bytes());
    }
    for row in rows.clone() {
        put_signed(bytes, row.start_us.wrapping_sub(start_us));
        start_us = row.start_us;
    }
    for row in rows {
        bytes.extend(row.token.to_le_bytes());
    }
}

pub(super) fn read_rows(reading: &mut Reading<'_>) -> Option<Vec<Sighted>> {
    let mut rows = vec![Sighted::default(); reading.count()?];
    let (mut flow, mut start_us) = (0_i64, 0_i64);
    for row in &mut rows {
        flow = flow.wrapping_add(reading.signed()?);
        row.flow = flow;
    }
    for row in &mut rows {
        let flags = reading.byte()?;
        (row.part, row.answer, row.kept) = (flags & 3, flags & 4 != 0, flags >> 3);
    }
    for row in &mut rows {
        row.sample_level = reading.byte()?;
    }
    for row in &mut rows {
        row.port = u16::from_le_bytes([reading.byte()?, reading.byte()?]);
    }
    for row in &mut rows {
        start_us = start_us.wrapping_add(reading.signed()?);
        row.start_us = start_us;
    }
    for row in &mut rows {
        row.token = reading.word()?;
    }
    Some(rows)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Sighted, Sightings};
    use proptest::prelude::{Strategy, any, prop, proptest};

    pub(in crate::store::block) fn sighted() -> impl Strategy<Value = Sighted> {
        let flags = (0_u8..4, any::<bool>(), 0_u8..32, any::<u8>());
        (
            any::<i64>(),
            any::<u64>(),
            flags,
            any::<u16>(),
            any::<i64>(),
        )
            .prop_map(
                |(flow, token, (part, answer, kept, sample_level), port, start_us)| Sighted {
                    flow,
                    token,
                    part,
                    answer,
                    kept,
                    sample_level,
                    port,
                    start_us,
                },
            )
    }

    proptest! {
        #[test]
        fn sightings_survive(rows in prop::collection::vec(sighted(), 0..20)) {
            let sightings = Sightings(rows);
            assert_eq!(Sightings::decode(&sightings.encode()), Some(sightings));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            drop(Sightings::decode(&bytes));
        }
    }
}
