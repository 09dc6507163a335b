//! Expects a counter from another one by the rate seen so far among rows of the same group.
//!
//! Peers of one service fail, answer and lose segments at similar rates; what remains is noise.

use super::number::{Expected, bits};

/// How far counters stray from their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// In proportion to the value, about one part in `2^n`: the size of requests, for example.
    Share(u32),
    /// Like the square root of the value: independent rare events.
    Root,
}

impl Spread {
    fn noise(self, value: u64) -> u32 {
        match self {
            Self::Share(shift) => bits(value).saturating_sub(shift),
            Self::Root => bits(value) / 2,
        }
    }
}

/// Sums of a counter and of the one it is expected from.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    counted: u64,
    base: u64,
}

impl Sums {
    fn learn(&mut self, counted: u64, base: u64) {
        self.counted = self.counted.saturating_add(counted);
        self.base = self.base.saturating_add(base);
    }

    fn expect(&self, base: u64) -> Option<u64> {
        let product = u128::from(base) * u128::from(self.counted);
        let expected = product.checked_div(u128::from(self.base))?;
        Some(u64::try_from(expected).unwrap_or(u64::MAX))
    }
}

/// Means of one column by group.
#[derive(Debug)]
pub(crate) struct Mean<'a> {
    group: &'a [usize],
    groups: Vec<(u64, u64)>,
}

impl<'a> Mean<'a> {
    /// Per row: the number of the row's group.
    pub(crate) fn new(group: &'a [usize]) -> Self {
        let groups = group.iter().max().map_or(0, |last| last + 1);
        Self {
            group,
            groups: vec![(0, 0); groups],
        }
    }

    /// The mean of the group's values before `row`, else the value before it, else 0.
    pub(crate) fn near(&mut self, row: usize, before: &[u64]) -> Expected {
        let Some(last) = row.checked_sub(1) else {
            return Expected::near(0);
        };
        let (sum, count) = &mut self.groups[self.group[last]];
        *sum = sum.saturating_add(before[last]);
        *count += 1;
        let (sum, count) = self.groups[self.group[row]];
        let mean = sum.saturating_add(count / 2).checked_div(count);
        Expected::near(mean.unwrap_or(before[last]))
    }
}

/// Numbers of the groups that rows belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Groups<'a> {
    pub(crate) fine: &'a [usize],
    /// Groups of groups.
    pub(crate) coarse: Option<&'a [usize]>,
}

/// Rates of one column, by group and overall.
#[derive(Debug)]
pub(crate) struct Rate<'a> {
    base: &'a [u64],
    groups: Groups<'a>,
    fine: Vec<Sums>,
    coarse: Vec<Sums>,
    all: Sums,
}

impl<'a> Rate<'a> {
    /// Per row: the counter to expect from, and the row's groups.
    pub(crate) fn new(base: &'a [u64], groups: Groups<'a>) -> Self {
        let sums = |numbers: &[usize]| {
            vec![Sums::default(); numbers.iter().max().map_or(0, |last| last + 1)]
        };
        let coarse = groups.coarse.map(sums).unwrap_or_default();
        Self {
            base,
            groups,
            fine: sums(groups.fine),
            coarse,
            all: Sums::default(),
        }
    }

    /// The value to expect in `row`, after the values of all rows before it: by the rate in both of
    /// its groups, so that the finer one counts twice, else by the overall one, else 0.
    pub(crate) fn value(&mut self, row: usize, before: &[u64]) -> u64 {
        if let Some(last) = row.checked_sub(1) {
            let (counted, base) = (before[last], self.base[last]);
            self.fine[self.groups.fine[last]].learn(counted, base);
            if let Some(coarse) = self.groups.coarse {
                self.coarse[coarse[last]].learn(counted, base);
            }
            self.all.learn(counted, base);
        }
        let mut sums = self.fine[self.groups.fine[row]];
        if let Some(coarse) = self.groups.coarse {
            let Sums { counted, base } = self.coarse[coarse[row]];
            sums.learn(counted, base);
        }
        let base = self.base[row];
        sums.expect(base)
            .or_else(|| self.all.expect(base))
            .unwrap_or(0)
    }

    /// The same as an expectation.
    pub(crate) fn about(&mut self, spread: Spread, row: usize, before: &[u64]) -> Expected {
        let base = self.value(row, before);
        Expected::About {
            base,
            noise: spread.noise(base),
        }
    }
}
