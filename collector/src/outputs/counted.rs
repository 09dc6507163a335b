//! What series have counted since the collector knows them: rows say what an interval added, and now
//! and then a total, and destinations want sums, or what was added alone.
//!
//! Pure. A sum begins at zero when a series is first told of, so that what Prometheus makes of a
//! restart of the collector is what was counted, and nothing twice.

use std::collections::HashMap;

use super::rows::Value;

/// Time without a word after which a series may make room, milliseconds.
const IDLE_MS: i64 = 3_600_000;

/// What a row tells of a series.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) end_ms: i64,
    /// Its counters are totals, not what the interval added.
    pub(super) total: bool,
    /// The series began in this interval.
    pub(super) begun: bool,
    /// Counters, histograms and gauges.
    pub(super) values: Vec<Value>,
}

/// What is known of a series once a row told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What the row added.
    pub(super) added: Vec<Value>,
    /// Sums before it.
    pub(super) before: Vec<Value>,
    /// Sums with it.
    pub(super) sums: Vec<Value>,
    /// A later interval was told of before: the sums are of no moment that is still to be told.
    pub(super) late: bool,
}

#[derive(Clone, Debug)]
struct Series {
    sums: Vec<Value>,
    /// The total when the sums were zero, once that is known.
    base: Option<Vec<Value>>,
    end_ms: i64,
    /// The end of the interval of the newest total: what ended before is in it.
    total_ms: i64,
}

/// A bounded number of series.
#[derive(Debug)]
pub(super) struct Counted {
    series: HashMap<[u8; 16], Series>,
    most: usize,
    newest_ms: i64,
    swept_ms: i64,
}

impl Counted {
    pub(super) fn new(most: usize) -> Self {
        Self {
            series: HashMap::new(),
            most,
            newest_ms: i64::MIN,
            swept_ms: i64::MIN,
        }
    }

    /// Takes a row of a series; `None` where it says nothing new, or there are too many series:
    /// then `left_out` rises. `is_gauge` says of each value whether it is one.
    pub(super) fn take(
        &mut self,
        key: [u8; 16],
        told: Told,
        is_gauge: &[bool],
        left_out: &mut u64,
    ) -> Option<Known> {
        self.newest_ms = self.newest_ms.max(told.end_ms);
        if !self.series.contains_key(&key) && !self.make_room() {
            *left_out += 1;
            return None;
        }
        let zeros: Vec<Value> = told
            .values
            .iter()
            .map(|value| value.beyond(value))
            .collect();
        let series = self.series.entry(key).or_insert_with(|| Series {
            sums: zeros.clone(),
            base: told.begun.then(|| zeros.clone()),
            end_ms: i64::MIN,
            total_ms: i64::MIN,
        });
        series.take(told, zeros, is_gauge)
    }

    /// Forgets a series: its sums begin at zero again.
    pub(super) fn forget(&mut self, key: &[u8; 16]) {
        self.series.remove(key);
    }

    fn make_room(&mut self) -> bool {
        if self.series.len() >= self.most
            && self.newest_ms.saturating_sub(self.swept_ms) > IDLE_MS / 60
        {
            self.swept_ms = self.newest_ms;
            let since = self.newest_ms.saturating_sub(IDLE_MS);
            self.series.retain(|_, series| series.end_ms >= since);
        }
        self.series.len() < self.most
    }
}

impl Series {
    fn take(&mut self, told: Told, zeros: Vec<Value>, is_gauge: &[bool]) -> Option<Known> {
        let late = told.end_ms <= self.end_ms;
        // A total has what ended before it, and an older one has nothing new.
        if told.end_ms <= self.total_ms || (told.total && late) {
            return None;
        }
        let before = self.sums.clone();
        let added = if told.total {
            self.total_ms = told.end_ms;
            self.total(&told.values, zeros)
        } else {
            told.values.clone()
        };
        let each = self.sums.iter_mut().zip(&added).zip(&told.values);
        for (((sum, added), value), is_gauge) in each.zip(is_gauge) {
            match is_gauge {
                true if late => {}
                true => *sum = value.clone(),
                false => sum.add(added),
            }
        }
        self.end_ms = self.end_ms.max(told.end_ms);
        Some(Known {
            added,
            before,
            sums: self.sums.clone(),
            late,
        })
    }

    /// What a total adds to the sums.
    fn total(&mut self, totals: &[Value], zeros: Vec<Value>) -> Vec<Value> {
        let pairs = |with: &[Value]| -> Vec<Value> {
            let beyond = totals
                .iter()
                .zip(with)
                .map(|(total, with)| total.beyond(with));
            beyond.collect()
        };
        let Some(base) = &self.base else {
            // From here on it is known what came before the sums began.
            self.base = Some(pairs(&self.sums));
            return zeros;
        };
        let since = pairs(base);
        let added = since
            .iter()
            .zip(&self.sums)
            .map(|(since, sum)| since.beyond(sum));
        added.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Told};
    use crate::outputs::rows::Value;

    fn told(end_ms: i64, total: bool, begun: bool, value: u64) -> Told {
        Told {
            end_ms,
            total,
            begun,
            values: vec![Value::Number(value)],
        }
    }

    /// What was added and the sum, of rows one after the other.
    fn run(rows: &[Told]) -> Vec<Option<(u64, u64, bool)>> {
        let mut counted = Counted::new(10);
        let of = |value: &Value| match value {
            Value::Number(n) => *n,
            other => panic!("{other:?}"),
        };
        let take = |told: &Told| {
            let known = counted.take([1; 16], told.clone(), &[false], &mut 0)?;
            Some((of(&known.added[0]), of(&known.sums[0]), known.late))
        };
        rows.iter().map(take).collect()
    }

    #[test]
    fn totals_bring_what_lost_batches_had() {
        let rows = [
            told(10, false, true, 5),
            // The interval to 20 was lost with 7.
            told(30, false, false, 1),
            told(40, true, false, 15),
            told(50, false, false, 1),
        ];
        let expected = [(5, 5), (1, 6), (9, 15), (1, 16)];
        assert_eq!(
            run(&rows),
            expected.map(|(added, sum)| Some((added, sum, false)))
        );
    }

    #[test]
    fn a_series_that_is_older_than_the_collector_begins_at_zero() {
        let rows = [
            told(10, false, false, 5),
            told(20, true, false, 1005),
            told(30, false, false, 2),
            told(40, true, false, 1010),
        ];
        let expected = [(5, 5), (0, 5), (2, 7), (3, 10)];
        assert_eq!(
            run(&rows),
            expected.map(|(added, sum)| Some((added, sum, false)))
        );
    }

    #[test]
    fn what_comes_late_is_in_the_sum_once() {
        let rows = [
            told(10, false, true, 1),
            told(30, false, false, 4),
            told(20, false, false, 2),
            told(40, true, false, 10),
            // It was in the total.
            told(35, false, false, 3),
            told(38, true, false, 9),
        ];
        let expected = [
            Some((1, 1, false)),
            Some((4, 5, false)),
            Some((2, 7, true)),
            Some((3, 10, false)),
            None,
            None,
        ];
        assert_eq!(run(&rows), expected);
    }

    #[test]
    fn series_are_bounded_and_idle_ones_make_room() {
        let mut counted = Counted::new(2);
        let mut left_out = 0;
        let mut take = |key: u8, end_ms| {
            let told = told(end_ms, false, true, 1);
            counted
                .take([key; 16], told, &[false], &mut left_out)
                .is_some()
        };
        assert!(take(1, 1_000) && take(2, 2_000));
        assert!(!take(3, 3_000));
        assert!(take(2, 3_700_000));
        // The first one was silent for more than an hour.
        assert!(take(3, 3_700_001) && !take(1, 3_700_002));
        assert_eq!(left_out, 2);
    }
}
