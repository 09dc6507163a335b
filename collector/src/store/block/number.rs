//! Numbers as bytes: LEB128, small ones of either sign in one byte.

use wire::HISTOGRAM_BUCKETS;

use crate::counters::{COUNTERS, Counters};
use crate::packed::{Packed, places};

/// What is counted of an edge: the plain counters, and sum and buckets of both histograms.
pub(in crate::store) const VALUES: usize = COUNTERS + 2 * (1 + HISTOGRAM_BUCKETS);

/// What is counted of an edge, or what of it was added: that may be less than nothing, where a
/// total is less than what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Values(pub(in crate::store) [i64; VALUES]);

impl Default for Values {
    fn default() -> Self {
        Self([0; VALUES])
    }
}

impl From<&Counters> for Values {
    fn from(counters: &Counters) -> Self {
        let mut values = Self::default();
        let histograms = [&counters.connect_latency, &counters.rtt];
        let histograms = histograms
            .into_iter()
            .flat_map(|histogram| std::iter::once(&histogram.sum_us).chain(&histogram.buckets));
        for (value, counted) in values
            .0
            .iter_mut()
            .zip(counters.plain.iter().chain(histograms))
        {
            // A counter at the end of its range stays there.
            *value = i64::try_from(*counted).unwrap_or(i64::MAX);
        }
        values
    }
}

impl Values {
    /// As counters; less than nothing is nothing.
    pub(in crate::store) fn counters(&self, absent: wire::Columns) -> Packed {
        let counted = self.0.map(|value| u64::try_from(value).unwrap_or(0));
        Packed::of(&counted, absent)
    }

    pub(in crate::store) fn add(&mut self, more: &Self) {
        for (value, more) in self.0.iter_mut().zip(more.0) {
            *value = value.saturating_add(more);
        }
    }

    /// What is more than in `other`.
    #[must_use]
    pub(in crate::store) fn less(mut self, other: &Self) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value = value.saturating_sub(other);
        }
        self
    }

    pub(in crate::store) fn is_zero(&self) -> bool {
        self.0.iter().all(|value| *value == 0)
    }

    /// Connections by which more are open.
    pub(in crate::store) fn open(&self) -> i64 {
        let [opened, closed] = [
            self.0[crate::counters::OPENED],
            self.0[crate::counters::CLOSED],
        ];
        let adopted = self.0[crate::counters::ADOPTED];
        opened.saturating_add(adopted).saturating_sub(closed)
    }
}

/// [`Values`] without those that are zero: of an edge three in four are.
#[derive(Debug, Default)]
pub(in crate::store) struct Few {
    /// Bit `n % 64` of word `n / 64` is set where value `n` is one of them.
    which: [u64; 2],
    values: Box<[i64]>,
}

impl From<&Values> for Few {
    fn from(all: &Values) -> Self {
        let mut which = [0; 2];
        for (at, _) in all.0.iter().enumerate().filter(|(_, value)| **value != 0) {
            which[at / 64] |= 1 << (at % 64);
        }
        let values = all.0.iter().copied().filter(|value| *value != 0);
        Self {
            which,
            values: values.collect(),
        }
    }
}

impl Few {
    /// As [`Values::add`].
    pub(in crate::store) fn add(&mut self, more: &Values) {
        let has = |at: usize| self.which[at / 64] >> (at % 64) & 1 == 1;
        if (0..VALUES).all(|at| more.0[at] == 0 || has(at)) {
            for (value, at) in self.values.iter_mut().zip(places(self.which)) {
                *value = value.saturating_add(more.0[at]);
            }
            return;
        }
        let mut all = self.all();
        all.add(more);
        *self = Self::from(&all);
    }

    /// As [`Values::open`].
    pub(in crate::store) fn open(&self) -> i64 {
        self.all().open()
    }

    /// As [`Values::counters`].
    pub(in crate::store) fn counters(&self, absent: wire::Columns) -> Packed {
        self.all().counters(absent)
    }

    fn all(&self) -> Values {
        let mut all = Values::default();
        for (value, at) in self.values.iter().zip(places(self.which)) {
            all.0[at] = *value;
        }
        all
    }
}

/// Values as bytes, without the zeros at the end.
pub(in crate::store) fn pack(values: &Values) -> Vec<u8> {
    let used = values.0.iter().rposition(|value| *value != 0);
    let mut bytes = Vec::new();
    for value in &values.0[..used.map_or(0, |last| last + 1)] {
        put_signed(&mut bytes, *value);
    }
    bytes
}

/// The inverse of [`pack`]; `None` for bytes that it did not make.
pub(in crate::store) fn unpack(bytes: &[u8]) -> Option<Values> {
    let mut values = Values::default();
    let mut rest = Reading(bytes);
    for value in &mut values.0 {
        if rest.0.is_empty() {
            break;
        }
        *value = rest.signed()?;
    }
    rest.0.is_empty().then_some(values)
}

pub(super) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// Zigzag: 0, -1, 1, -2 and so on are 0, 1, 2, 3.
pub(super) fn put_signed(bytes: &mut Vec<u8>, value: i64) {
    put(bytes, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Bytes that are being read; everything is `None` where they are not what was written.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Reading<'a>(pub(in crate::store) &'a [u8]);

impl Reading<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// A number of things that take a byte each at least.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    pub(super) fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::{Reading, VALUES, Values, pack, put, put_signed, unpack};
    use proptest::prelude::{any, prop, proptest};

    proptest! {
        #[test]
        fn numbers_survive(plain: u64, signed: i64, shift in 0_u32..64) {
            let (plain, signed) = (plain >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put(&mut bytes, plain);
            put_signed(&mut bytes, signed);
            let mut reading = Reading(&bytes);
            assert_eq!(reading.number(), Some(plain));
            assert_eq!(reading.signed(), Some(signed));
            assert!(reading.0.is_empty());
        }

        #[test]
        fn values_survive(some in prop::collection::vec(any::<i64>(), VALUES), used in 0..VALUES) {
            let mut values = Values::default();
            values.0[..used].copy_from_slice(&some[..used]);
            assert_eq!(unpack(&pack(&values)), Some(values));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = unpack(&bytes);
        }
    }
}
