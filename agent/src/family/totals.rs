//! When series tell their totals.
//!
//! A row says what its interval added, so a batch that is lost takes something with it. What is
//! missing then comes with the total since the series began: within ten minutes after each change, in
//! the next batch once it is known that one with a row of the series was lost, and when the series or
//! the agent ends. Series tell theirs in turn, so that no batch has those of all.

use std::time::Duration;

use crate::clock::Now;
use crate::spool::Lost;

/// After a change the total follows within this time.
const PERIOD: Duration = Duration::from_secs(600);
/// Most totals of a family in one batch, or an eighth of its series where that is more; what is
/// beyond comes with the next ones.
const MOST: usize = 4096;
/// No total is owed.
const NEVER: u64 = u64::MAX;

/// The end of an interval.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// When.
    pub now: Now,
    /// Number of the batch that takes its rows.
    pub batch: u64,
    /// Its usual length.
    pub length: Duration,
    /// The agent ends: what is owed is told now.
    pub is_last: bool,
    /// Batches that will never arrive, as far as it became known since the last close.
    pub lost: Option<Lost>,
}

/// What the totals of one series depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    /// Its place in the turn.
    place: u64,
    /// Number of the last batch with its total; 0: none.
    total: u64,
    /// Numbers of the first and the last batch with a row of it after that.
    rows: Option<(u64, u64)>,
    /// The interval at whose end its total is due.
    due: u64,
}

/// The totals of one family.
#[derive(Debug)]
pub(crate) struct Totals {
    most: usize,
    /// Series so far.
    places: u64,
    /// Intervals so far.
    interval: u64,
    /// Batches that were lost, and perhaps some between them, if their rows are not told again yet.
    lost: Option<Lost>,
    /// Totals that the batch at hand may still take, and whether it was too few.
    left: usize,
    is_short: bool,
}

impl Totals {
    /// For at most so many series.
    pub(crate) fn new(series: usize) -> Self {
        Self {
            most: MOST.max(series / 8),
            places: 0,
            interval: 0,
            lost: None,
            left: 0,
            is_short: false,
        }
    }

    /// A new series.
    pub(crate) fn series(&mut self) -> Owed {
        self.places = self.places.wrapping_add(1);
        Owed {
            place: self.places,
            total: 0,
            rows: None,
            due: NEVER,
        }
    }

    /// Batches of these numbers will never arrive.
    pub(crate) fn lost(&mut self, batches: Lost) {
        Lost::add(&mut self.lost, batches);
    }

    /// Whether totals are owed that found no place in the last batch.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Begins a batch.
    pub(crate) fn begin(&mut self, close: &Close) {
        if let Some(lost) = close.lost {
            self.lost(lost);
        }
        self.interval += 1;
        (self.left, self.is_short) = (self.most, false);
    }

    /// Whether a series tells its total in this batch; `has_row`: it also tells what the interval
    /// added, `ends`: it is forgotten afterwards.
    pub(crate) fn tells(
        &mut self,
        owed: &mut Owed,
        close: &Close,
        (has_row, ends): (bool, bool),
    ) -> bool {
        let was_lost = self.lost.is_some_and(|lost| owed.had_row_in(lost));
        if has_row {
            let first = owed.rows.map_or(close.batch, |(first, _)| first);
            owed.rows = Some((first, close.batch));
            if owed.due == NEVER {
                owed.due = self.turn(owed.place, close.length);
            }
        }
        let now = ends || close.is_last;
        let is_due = was_lost || owed.due <= self.interval || (now && owed.due != NEVER);
        if !is_due {
            return false;
        }
        if self.left == 0 {
            self.is_short = true;
            // Of a batch that was lost: its turn comes with the next one.
            owed.due = owed.due.min(self.interval);
            return false;
        }
        self.left -= 1;
        (owed.total, owed.rows, owed.due) = (close.batch, None, NEVER);
        true
    }

    /// Ends a batch: those that had a row in a batch that was lost have told their totals, or it is
    /// noted of them.
    pub(crate) fn end(&mut self) {
        self.lost = None;
    }

    /// The end of the next interval in which it is a series' turn.
    fn turn(&self, place: u64, length: Duration) -> u64 {
        let turns = (PERIOD.as_nanos() / length.as_nanos().max(1)).clamp(1, u128::from(u32::MAX));
        let turns = u64::try_from(turns).expect("it has a bound");
        let past = self.interval.wrapping_add(place) % turns;
        self.interval + turns - 1 - past
    }
}

impl Owed {
    /// Whether one of these batches may have had a row of it that no total came after.
    fn had_row_in(&self, Lost { first, last }: Lost) -> bool {
        let rows = self
            .rows
            .is_some_and(|rows| rows.0 <= last && rows.1 >= first);
        rows || (first..=last).contains(&self.total)
    }

    /// Whether what was told of it is not all.
    pub(crate) fn owes(&self) -> bool {
        self.due != NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn close(batch: u64) -> Close {
        Close {
            now: Now::default(),
            batch,
            length: LENGTH,
            is_last: false,
            lost: None,
        }
    }

    /// Numbers of the batches with the total of each series; `rows` says in which each has a row.
    fn told(
        totals: &mut Totals,
        all: &mut [Owed],
        batches: std::ops::RangeInclusive<u64>,
        rows: impl Fn(usize, u64) -> bool,
    ) -> Vec<Vec<u64>> {
        let mut told = vec![Vec::new(); all.len()];
        for batch in batches {
            totals.begin(&close(batch));
            for (at, owed) in all.iter_mut().enumerate() {
                if totals.tells(owed, &close(batch), (rows(at, batch), false)) {
                    told[at].push(batch);
                }
            }
            totals.end();
        }
        told
    }

    #[test]
    fn totals_follow_within_ten_minutes_and_no_batch_has_all_of_them() {
        let mut totals = Totals::new(1000);
        let mut all: Vec<Owed> = (0..600).map(|_| totals.series()).collect();
        // All change at once, and then no more; later one changes all the time.
        let first = told(&mut totals, &mut all, 1..=70, |_, batch| batch == 1);
        let mut per_batch = vec![0; 71];
        for batches in &first {
            assert_eq!(batches.len(), 1, "once: nothing changed after it");
            assert!(batches[0] <= 60, "{batches:?}");
            per_batch[usize::try_from(batches[0]).unwrap()] += 1;
        }
        assert_eq!(per_batch.iter().max(), Some(&10), "in turn");
        let busy = told(&mut totals, &mut all, 71..=310, |at, _| at == 3);
        assert_eq!(busy[3].len(), 4, "{:?}", busy[3]);
        assert!(busy[4].is_empty());
    }

    #[test]
    fn only_what_was_in_a_lost_batch_is_told_again_and_only_once() {
        let mut totals = Totals::new(1000);
        let mut all: Vec<Owed> = (0..3).map(|_| totals.series()).collect();
        // One had a row in the fifth batch, one before it and one after it.
        let rows = |at: usize, batch| [5, 4, 6][at] == batch;
        let before = told(&mut totals, &mut all, 1..=7, rows);
        assert_eq!(before, vec![Vec::<u64>::new(); 3]);
        totals.lost(Lost::from(5));
        let after = told(&mut totals, &mut all, 8..=9, |_, _| false);
        assert_eq!(after, [vec![8], vec![], vec![]]);
        // A total that is lost itself is told again; one that came after is enough.
        totals.lost(Lost::from(8));
        let again = told(&mut totals, &mut all, 10..=11, |_, _| false);
        assert_eq!(again, [vec![10], vec![], vec![]]);
        totals.lost(Lost::from(9));
        let never = told(&mut totals, &mut all, 12..=13, |_, _| false);
        assert_eq!(never, vec![Vec::<u64>::new(); 3]);
    }

    #[test]
    fn a_batch_takes_a_bounded_number_of_totals_and_the_others_follow() {
        let mut totals = Totals::new(1);
        let series = 2 * MOST + 10;
        let mut all: Vec<Owed> = (0..series).map(|_| totals.series()).collect();
        told(&mut totals, &mut all, 1..=1, |_, _| true);
        totals.lost(Lost::from(1));
        let told = told(&mut totals, &mut all, 2..=4, |_, _| false);
        let sums = [2, 3, 4].map(|batch| told.iter().filter(|at| at.contains(&batch)).count());
        assert_eq!(sums, [MOST, MOST, 10]);
        assert!(told.iter().all(|batches| batches.len() == 1));
    }

    #[test]
    fn the_end_owes_nothing() {
        let mut totals = Totals::new(10);
        let mut owed = totals.series();
        totals.begin(&close(1));
        let last = Close {
            is_last: true,
            ..close(1)
        };
        assert!(totals.tells(&mut owed, &last, (true, false)));
        assert!(!totals.is_short() && !owed.owes());
        // Nor does a series that is forgotten.
        let mut owed = totals.series();
        assert!(totals.tells(&mut owed, &close(1), (true, true)));
        assert!(
            !totals.tells(&mut owed, &close(1), (false, true)),
            "told before"
        );
    }
}
