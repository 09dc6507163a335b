//! What the edges of a batch counted, column by column.

use super::number::{Reading, VALUES, Values, put, put_signed};

/// What one interval added to one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Edge {
    pub(in crate::store) subject: i64,
    /// Bits of `wire::Columns`.
    pub(in crate::store) absent: u64,
    pub(in crate::store) added: Values,
    /// The total that the agent told with it.
    pub(in crate::store) told: Option<Box<Values>>,
}

/// A subject that has open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Open {
    pub(in crate::store) subject: i64,
    pub(in crate::store) open: u64,
    /// The end of the interval in which it counted something last.
    pub(in crate::store) last_ms: i64,
}

/// The edges of one batch, in the order of their subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Edges {
    pub(in crate::store) rows: Vec<Edge>,
    /// All subjects of the run that have something open when the interval ends; not in every batch.
    pub(in crate::store) open: Option<Vec<Open>>,
}

impl Edges {
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.rows.len() as u64);
        let mut before = 0;
        for row in &self.rows {
            put_signed(&mut bytes, row.subject.wrapping_sub(before));
            before = row.subject;
        }
        for row in &self.rows {
            put(&mut bytes, row.absent << 1 | u64::from(row.told.is_some()));
        }
        columns(&mut bytes, self.rows.iter().map(|row| &row.added));
        columns(
            &mut bytes,
            self.rows.iter().filter_map(|row| row.told.as_deref()),
        );
        let Some(open) = &self.open else {
            put(&mut bytes, 0);
            return bytes;
        };
        put(&mut bytes, open.len() as u64 + 1);
        let (mut subject, mut last_ms) = (0, 0);
        for one in open {
            put_signed(&mut bytes, one.subject.wrapping_sub(subject));
            put(&mut bytes, one.open);
            put_signed(&mut bytes, one.last_ms.wrapping_sub(last_ms));
            (subject, last_ms) = (one.subject, one.last_ms);
        }
        bytes
    }

    /// The inverse of [`Edges::encode`]; `None` for bytes that it did not make.
    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reading = Reading(bytes);
        let mut rows = vec![Edge::default(); reading.count()?];
        let mut before = 0_i64;
        for row in &mut rows {
            before = before.wrapping_add(reading.signed()?);
            row.subject = before;
        }
        for row in &mut rows {
            let flags = reading.number()?;
            row.absent = flags >> 1;
            row.told = (flags & 1 == 1).then(Box::default);
        }
        let mut added: Vec<_> = rows.iter_mut().map(|row| &mut row.added).collect();
        read_columns(&mut reading, &mut added)?;
        let mut told: Vec<_> = rows
            .iter_mut()
            .filter_map(|row| row.told.as_deref_mut())
            .collect();
        read_columns(&mut reading, &mut told)?;
        let open = match reading.number()? {
            0 => None,
            more => {
                let more = usize::try_from(more).ok()?;
                // Each takes three bytes at least.
                if more - 1 > reading.0.len() {
                    return None;
                }
                let (mut subject, mut last_ms) = (0_i64, 0_i64);
                let mut open = Vec::with_capacity(more - 1);
                for _ in 1..more {
                    subject = subject.wrapping_add(reading.signed()?);
                    let count = reading.number()?;
                    last_ms = last_ms.wrapping_add(reading.signed()?);
                    open.push(Open {
                        subject,
                        open: count,
                        last_ms,
                    });
                }
                Some(open)
            }
        };
        reading.0.is_empty().then_some(Self { rows, open })
    }
}

/// Those columns in which there is something, behind their number.
fn columns<'a>(bytes: &mut Vec<u8>, rows: impl Iterator<Item = &'a Values> + Clone) {
    for at in 0..VALUES {
        if rows.clone().all(|row| row.0[at] == 0) {
            continue;
        }
        put(bytes, at as u64 + 1);
        for row in rows.clone() {
            put_signed(bytes, row.0[at]);
        }
    }
    put(bytes, 0);
}

fn read_columns(reading: &mut Reading<'_>, rows: &mut [&mut Values]) -> Option<()> {
    loop {
        let column = usize::try_from(reading.number()?).ok()?;
        let Some(at) = column.checked_sub(1) else {
            return Some(());
        };
        for row in rows.iter_mut() {
            *row.0.get_mut(at)? = reading.signed()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Edge, Edges, Open};
    use crate::store::block::number::{VALUES, Values};
    use proptest::prelude::{Strategy, any, prop, proptest};

    fn values() -> impl Strategy<Value = Values> {
        let some = prop::collection::vec((0..VALUES, any::<i64>()), 0..6);
        some.prop_map(|some| {
            let mut values = Values::default();
            some.iter().for_each(|(at, value)| values.0[*at] = *value);
            values
        })
    }

    fn edge() -> impl Strategy<Value = Edge> {
        let told = prop::option::of(values());
        (any::<i64>(), 0_u64..1 << 32, values(), told).prop_map(|(subject, absent, added, told)| {
            Edge {
                subject,
                absent,
                added,
                told: told.map(Box::new),
            }
        })
    }

    proptest! {
        #[test]
        fn edges_survive(
            rows in prop::collection::vec(edge(), 0..9),
            open in prop::option::of(prop::collection::vec(any::<(i64, u64, i64)>(), 0..5)),
        ) {
            let one = |(subject, open, last_ms)| Open { subject, open, last_ms };
            let open = open.map(|open| open.into_iter().map(one).collect());
            let edges = Edges { rows, open };
            assert_eq!(Edges::decode(&edges.encode()), Some(edges));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            drop(Edges::decode(&bytes));
        }
    }
}
