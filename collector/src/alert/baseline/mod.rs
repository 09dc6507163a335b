//! What is usual: the same hour of the last days, by rule and subject. Pure; whoever reads the
//! store puts numbers in.
//!
//! Median and median distance, so that one bad day changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::finding::{RuleName, Subject, Usual};

/// Days that are looked back.
pub const DAYS: usize = 7;
/// Most numbers of which it is known what is usual, over all rules and subjects.
pub const MAX_NUMBERS: usize = 500_000;
/// Most subjects of one rule that are remembered, to be missed.
pub const MAX_SUBJECTS: usize = 20_000;

/// What is usual in one hour.
#[derive(Clone, Debug, Default)]
pub struct Usuals {
    numbers: HashMap<u64, Days>,
    subjects: BTreeMap<RuleName, BTreeMap<String, Subject>>,
    /// Numbers and subjects beyond the bounds.
    cut: u64,
}

/// One number of each day.
#[derive(Clone, Copy, Debug, Default)]
struct Days {
    values: [f32; DAYS],
    known: u8,
}

impl Usuals {
    /// Adds what a number of a rule was on one day; `is_missed`: the subject is remembered, for it is
    /// missed when it is not there.
    pub fn note(
        &mut self,
        (rule, at, key): (&RuleName, usize, &str),
        (subject, is_missed): (&Subject, bool),
        value: f64,
    ) {
        self.put(rule, at, key, value);
        if !is_missed {
            return;
        }
        let known = self.subjects.entry(rule.clone()).or_default();
        if known.len() < MAX_SUBJECTS || known.contains_key(key) {
            let entry = known.entry(String::from(key));
            entry.or_insert_with(|| subject.clone());
        } else {
            self.cut += 1;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "seven digits are enough for what is usual"
    )]
    fn put(&mut self, rule: &RuleName, at: usize, key: &str, value: f64) {
        let hash = hash(rule, at, key);
        if self.numbers.len() >= MAX_NUMBERS && !self.numbers.contains_key(&hash) {
            self.cut += 1;
            return;
        }
        let days = self.numbers.entry(hash).or_default();
        if let Some(free) = days.values.get_mut(usize::from(days.known)) {
            *free = value as f32;
            days.known += 1;
        }
    }

    /// What is usual of a rule's number for a subject; `None` where too few days are known.
    #[must_use]
    pub fn get(&self, rule: &RuleName, at: usize, key: &str, days: u32) -> Option<Usual> {
        let found = self.numbers.get(&hash(rule, at, key))?;
        let values = found.values.get(..usize::from(found.known))?;
        let known = u32::from(found.known);
        if known < days {
            return None;
        }
        let middle = median(values.iter().map(|value| f64::from(*value)).collect())?;
        let far = values
            .iter()
            .map(|value| (f64::from(*value) - middle).abs());
        Some(Usual {
            median: middle,
            spread: median(far.collect())?,
            days: known,
        })
    }

    /// Subjects of a rule that were there, by their keys.
    pub fn subjects(&self, rule: &RuleName) -> impl Iterator<Item = (&str, &Subject)> {
        let of = self.subjects.get(rule).into_iter().flatten();
        of.map(|(key, subject)| (key.as_str(), subject))
    }

    /// Numbers that are known, and what was beyond the bounds.
    #[must_use]
    pub fn counts(&self) -> (usize, u64) {
        (self.numbers.len(), self.cut)
    }
}

fn hash(rule: &RuleName, at: usize, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (rule, at, key).hash(&mut hasher);
    hasher.finish()
}

/// The middle one; of an even number the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::{Usuals, median};
    use crate::alert::finding::RuleName;

    #[test]
    fn one_bad_day_changes_nothing_and_few_days_say_nothing() {
        let rule = RuleName::new("a").expect("a name");
        let mut usuals = Usuals::default();
        for value in [10.0, 12.0] {
            usuals.put(&rule, 0, "k", value);
        }
        assert_eq!(usuals.get(&rule, 0, "k", 3), None);
        for value in [11.0, 5000.0, 10.0] {
            usuals.put(&rule, 0, "k", value);
        }
        let usual = usuals.get(&rule, 0, "k", 3).expect("five days");
        assert_eq!((usual.median, usual.spread, usual.days), (11.0, 1.0, 5));
        assert_eq!(usuals.get(&rule, 1, "k", 1), None);
        assert_eq!(usuals.get(&rule, 0, "other", 1), None);
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn more_days_than_there_is_room_for_are_left_out() {
        let rule = RuleName::new("a").expect("a name");
        let mut usuals = Usuals::default();
        (0..100).for_each(|_| usuals.put(&rule, 0, "k", 1.0));
        assert_eq!(
            usuals.get(&rule, 0, "k", 1).map(|usual| usual.days),
            Some(7)
        );
    }
}
