//! Rows of one table that is no series, of one batch: each as text.

use super::number::{Reading, put};

/// Rows in the order in which they were told; each a JSON list of all columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Events(pub(in crate::store) Vec<String>);

impl Events {
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.0.len() as u64);
        for row in &self.0 {
            put(&mut bytes, row.len() as u64);
        }
        for row in &self.0 {
            bytes.extend(row.as_bytes());
        }
        bytes
    }

    /// The inverse of [`Events::encode`]; `None` for bytes that it did not make.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reading = Reading(bytes);
        let mut lengths = vec![0; reading.count()?];
        for length in &mut lengths {
            *length = usize::try_from(reading.number()?).ok()?;
        }
        let mut rest = reading.0;
        let mut rows = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (row, behind) = rest.split_at_checked(length)?;
            rows.push(std::str::from_utf8(row).ok()?.to_owned());
            rest = behind;
        }
        rest.is_empty().then_some(Self(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::Events;
    use proptest::prelude::{any, prop, proptest};

    proptest! {
        #[test]
        fn events_survive(rows in prop::collection::vec(".{0,40}", 0..9)) {
            let events = Events(rows);
            assert_eq!(Events::decode(&events.encode()), Some(events));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            drop(Events::decode(&bytes));
        }
    }
}
