//! Counters of which most are zero.

use wire::{Columns, HISTOGRAM_BUCKETS, Histogram};

use crate::counters::{
    ADOPTED, COUNTERS, Counters, FAILED, OPENED, RESET_LOCAL, RESET_REMOTE, column,
};

/// The plain counters, and of both histograms the sum and the buckets.
pub const NUMBERS: usize = COUNTERS + 2 * (1 + HISTOGRAM_BUCKETS);

/// [`Counters`] without those of its [`NUMBERS`] that are zero: of an edge three in four are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Bit `n % 64` of word `n / 64` is set where number `n` is not zero.
    which: [u64; 2],
    /// Those, in their order.
    values: Box<[u64]>,
    absent: Columns,
}

impl From<&Counters> for Packed {
    fn from(counters: &Counters) -> Self {
        let mut numbers = [0; NUMBERS];
        numbers[..COUNTERS].copy_from_slice(&counters.plain);
        let (latency, rtt) = numbers[COUNTERS..].split_at_mut(1 + HISTOGRAM_BUCKETS);
        for (part, histogram) in [(latency, &counters.connect_latency), (rtt, &counters.rtt)] {
            part[0] = histogram.sum_us;
            part[1..].copy_from_slice(&histogram.buckets);
        }
        Self::of(&numbers, counters.absent)
    }
}

impl Packed {
    /// Of all numbers, in the order of [`NUMBERS`].
    #[must_use]
    pub fn of(numbers: &[u64; NUMBERS], absent: Columns) -> Self {
        let mut which = [0; 2];
        for (at, _) in numbers.iter().enumerate().filter(|(_, n)| **n != 0) {
            which[at / 64] |= 1 << (at % 64);
        }
        let values = numbers.iter().copied().filter(|n| *n != 0).collect();
        Self {
            which,
            values,
            absent,
        }
    }

    /// Of those that are not zero, in their order; bit `n % 64` of word `n / 64` is set where number
    /// `n` is one of them.
    ///
    /// # Panics
    /// There are more or fewer than bits.
    #[must_use]
    pub fn of_some(which: [u64; 2], values: &[u64], absent: Columns) -> Self {
        let bits = which.map(u64::count_ones).into_iter().sum::<u32>();
        assert_eq!(bits as usize, values.len(), "one for each bit");
        Self {
            which,
            values: values.into(),
            absent,
        }
    }

    /// All numbers, in the order of [`NUMBERS`].
    #[must_use]
    pub fn numbers(&self) -> [u64; NUMBERS] {
        let mut numbers = [0; NUMBERS];
        for (at, value) in self.places().zip(&self.values) {
            numbers[at] = *value;
        }
        numbers
    }

    /// With the zeros.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let numbers = self.numbers();
        let histogram = |at: usize| Histogram {
            sum_us: numbers[at],
            buckets: std::array::from_fn(|bucket| numbers[at + 1 + bucket]),
        };
        Counters {
            plain: std::array::from_fn(|at| numbers[at]),
            connect_latency: histogram(COUNTERS),
            rtt: histogram(COUNTERS + 1 + HISTOGRAM_BUCKETS),
            absent: self.absent,
        }
    }

    /// Bytes beside itself.
    #[must_use]
    pub fn heap(&self) -> usize {
        size_of_val(&*self.values)
    }

    /// What one of the hosts cannot measure.
    #[must_use]
    pub fn absent(&self) -> Columns {
        self.absent
    }

    /// A plain counter by its index.
    #[must_use]
    pub fn plain(&self, at: usize) -> u64 {
        let (word, bit) = (at / 64, at % 64);
        if self.which[word] >> bit & 1 == 0 {
            return 0;
        }
        let before = (self.which[word] & ((1 << bit) - 1)).count_ones();
        let words: u32 = self.which[..word]
            .iter()
            .map(|word| word.count_ones())
            .sum();
        self.values[(before + words) as usize]
    }

    /// The same; `None` where one of the hosts cannot measure it.
    #[must_use]
    pub fn known(&self, at: usize) -> Option<u64> {
        let absent = column(at).is_some_and(|column| self.absent.has(column));
        (!absent).then(|| self.plain(at))
    }

    /// Connections that reached ESTABLISHED.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.plain(OPENED)
    }

    /// Connections that failed or were reset, as far as it can be told.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        let resets = [RESET_LOCAL, RESET_REMOTE].map(|at| self.known(at).unwrap_or(0));
        let failed = self.plain(FAILED);
        resets.into_iter().fold(failed, u64::saturating_add)
    }

    /// True when nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.values.is_empty()
    }

    /// What is not measured by both.
    pub fn set_absent(&mut self, absent: Columns) {
        self.absent = absent;
    }

    /// Changes them unpacked.
    pub fn change(&mut self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters();
        change(&mut counters);
        *self = Self::from(&counters);
    }

    /// Lessens what was found open to at most that.
    pub fn adopt_at_most(&mut self, most: u64) {
        if self.plain(ADOPTED) > most {
            let mut numbers = self.numbers();
            numbers[ADOPTED] = most;
            *self = Self::of(&numbers, self.absent);
        }
    }

    /// As [`Counters::add`].
    pub fn add(&mut self, other: &Self) {
        self.absent = self.absent.with(other.absent);
        let both = [0, 1].map(|word| self.which[word] | other.which[word]);
        if both == self.which {
            // Most often a later time counts no more kinds of numbers than an earlier one.
            let mut theirs = other.places().zip(&other.values).peekable();
            for (value, place) in self.values.iter_mut().zip(places(self.which)) {
                if let Some((_, more)) = theirs.next_if(|(their, _)| *their == place) {
                    *value = value.saturating_add(*more);
                }
            }
            return;
        }
        let mut numbers = self.numbers();
        for (at, more) in other.places().zip(&other.values) {
            numbers[at] = numbers[at].saturating_add(*more);
        }
        *self = Self::of(&numbers, self.absent);
    }

    /// As [`Counters::split`].
    #[must_use]
    pub fn split(&self, weights: &[u64], new: &[u64]) -> Vec<Self> {
        let parts = self.counters().split(weights, new);
        parts.iter().map(Self::from).collect()
    }

    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        places(self.which)
    }
}

/// The bits that are set, lowest first.
pub(crate) fn places(which: [u64; 2]) -> impl Iterator<Item = usize> {
    let [mut low, mut high] = which;
    std::iter::from_fn(move || {
        let (word, base) = if low == 0 {
            (&mut high, 64)
        } else {
            (&mut low, 0)
        };
        let bit = word.trailing_zeros() as usize;
        // The lowest one is cleared.
        *word &= word.checked_sub(1)?;
        Some(base + bit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{NUMBERS, Packed};
    use crate::counters::{ADOPTED, COUNTERS, Counters};
    use wire::Columns;

    fn packed(some: &[(usize, u64)]) -> Packed {
        let mut numbers = [0; NUMBERS];
        for (at, value) in some {
            numbers[*at] = *value;
        }
        Packed::of(&numbers, Columns::RTT)
    }

    proptest! {
        #[test]
        fn packed_counters_are_the_same_counters(
            some in prop::collection::vec((0..NUMBERS, any::<u64>()), 0..40),
            other in prop::collection::vec((0..NUMBERS, any::<u64>()), 0..40),
            most in 0_u64..9,
        ) {
            let (mut mine, other) = (packed(&some), packed(&other));
            let mut plain = mine.counters();
            assert_eq!(Packed::from(&plain), mine);
            assert!((0..COUNTERS).all(|at| mine.plain(at) == plain.plain[at]));
            assert_eq!((mine.is_zero(), mine.opened()), (plain.is_zero(), plain.opened()));
            mine.add(&other);
            plain.add(&other.counters());
            assert_eq!(mine.counters(), plain);
            mine.adopt_at_most(most);
            plain.plain[ADOPTED] = plain.plain[ADOPTED].min(most);
            assert_eq!(mine.counters(), plain);
            let halves: Vec<Counters> = mine.split(&[1, 1], &[]).iter().map(Packed::counters).collect();
            assert_eq!(halves, plain.split(&[1, 1], &[]));
        }
    }

    #[test]
    fn zeros_take_no_memory() {
        assert_eq!(Packed::default().heap(), 0);
        assert_eq!(packed(&[(0, 7), (79, 9)]).heap(), 16);
    }
}
