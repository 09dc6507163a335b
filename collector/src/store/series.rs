//! How rows become samples, whichever of both kinds they are.
//!
//! A row says what its interval added, or the total since its series began. Samples are cumulative:
//! a total is taken as it is, and what an interval added counts on from the sample before. So a
//! window is a difference of two samples, whatever lies between. What was added and arrives late is
//! added to the samples that follow, up to the next total, which has it already. What a lost batch
//! added is missing until the next total, and shows in that one's interval.
//!
//! The order within a series is that of the ends of its intervals; within a run of an agent that is
//! the order of its batches.

use rusqlite::{Connection, Result, Row};

use super::context::Context;
use super::window::Window;

/// Most samples after a row to which one batch adds what it brings late: some 60 a row is usual, as
/// agents tell totals every ten minutes. What is beyond shows with the next total.
const LATE_SAMPLES: usize = if cfg!(test) { 200 } else { 50_000 };

/// What is counted, cumulative or not.
pub(super) trait Value: Clone + Default {
    /// Adds up; a counter at the end of its range stays there, and so does what is no counter.
    fn add(&mut self, other: &Self);
    /// What is more than in `other`; a counter that is less counts as equal, and what is no counter
    /// stays.
    fn beyond(&self, other: &Self) -> Self;
    /// Nothing was counted.
    fn is_zero(&self) -> bool;
}

/// Values under the end of their interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample<V> {
    pub(super) end_ms: i64,
    /// Number of the newest batch in it.
    pub(super) sequence: i64,
    pub(super) total: bool,
    pub(super) value: V,
}

/// The table that has the samples of a family.
pub(super) trait Table {
    type Value: Value;
    /// Its name, and the column that names the series.
    const NAMES: (&'static str, &'static str);

    /// The newest sample up to and including a time.
    fn before(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Self::Value>>>;
    /// The first sample after a time.
    fn after(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Self::Value>>>;
    /// Stores a sample, in the place of the one with the same end.
    fn write(db: &Connection, series: i64, sample: &Sample<Self::Value>) -> Result<()>;
}

/// How a batch comes into the samples.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Samples to which something was added that came late.
    touched: usize,
    /// Rows of later batches that were looked at for what comes late.
    pub(super) looked: usize,
    /// Rows of flows or subjects beyond the bound of a run: not stored.
    pub(super) refused: u64,
    /// Rows of which a part shows with the next totals only.
    pub(super) unplaced: u64,
}

/// What is known of a series before its row is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) id: i64,
    /// The end of its newest sample.
    pub(super) last_ms: i64,
    /// Earlier samples were evicted, and no total was told since.
    pub(super) cut: bool,
}

impl Series {
    /// One that is known, of a row with `id`, `last_ms` and `cut`.
    pub(super) fn of(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            last_ms: row.get(1)?,
            cut: row.get(2)?,
        })
    }

    /// One that has no sample.
    pub(super) fn new(id: i64, cut: bool) -> Self {
        Self {
            id,
            last_ms: i64::MIN,
            cut,
        }
    }
}

/// Stores what a row says of its series under the end of the batch; gives the newest sample's value
/// where that changed. The caller keeps what [`Series`] says up to date.
pub(super) fn put<T: Table>(
    db: &Connection,
    context: Context,
    series: Series,
    (total, row): (bool, T::Value),
    late: &mut Late,
) -> Result<Option<T::Value>> {
    let (end_ms, sequence) = (context.end_ms, context.sequence);
    let is_newest = end_ms > series.last_ms;
    // Nothing that is there has an influence on the newest total.
    let before = match total && is_newest {
        true => None,
        false => T::before(db, series.id, end_ms)?,
    };
    let mut sample = Sample {
        end_ms,
        sequence,
        total,
        value: T::Value::default(),
    };
    if let Some(before) = &before {
        if has(before, &sample) {
            return Ok(None);
        }
        if before.sequence > sequence && before.end_ms < end_ms {
            late.unplaced += 1;
            return Ok(None);
        }
        if before.end_ms == end_ms {
            sample.sequence = before.sequence.max(sequence);
            sample.total |= before.total;
        }
    }
    if total && series.cut {
        forget::<T>(db, series.id, end_ms)?;
    }
    let before = before.map(|sample| sample.value).unwrap_or_default();
    let more = match total {
        true => row.beyond(&before),
        false => row.clone(),
    };
    sample.value = row;
    if !total {
        sample.value.add(&before);
    }
    T::write(db, series.id, &sample)?;
    if end_ms >= series.last_ms {
        return Ok(Some(sample.value));
    }
    add_after::<T>(db, series, end_ms, &more, late)
}

/// Whether a sample that is there has what a row adds that is to be stored after it, or knows
/// better.
fn has<V>(there: &Sample<V>, new: &Sample<V>) -> bool {
    match (there.total, new.total) {
        (true, false) => there.sequence >= new.sequence,
        (_, true) => there.sequence > new.sequence,
        (false, false) => false,
    }
}

/// Adds to the samples that follow, up to the next total; gives the newest one's value if it is one
/// of them.
fn add_after<T: Table>(
    db: &Connection,
    series: Series,
    mut end_ms: i64,
    more: &T::Value,
    late: &mut Late,
) -> Result<Option<T::Value>> {
    if more.is_zero() {
        return Ok(None);
    }
    while let Some(mut next) = T::after(db, series.id, end_ms)? {
        if next.total {
            break;
        }
        if late.touched >= LATE_SAMPLES {
            late.unplaced += 1;
            break;
        }
        late.touched += 1;
        next.value.add(more);
        T::write(db, series.id, &next)?;
        end_ms = next.end_ms;
        if end_ms >= series.last_ms {
            return Ok(Some(next.value));
        }
    }
    Ok(None)
}

/// Once a total is known, samples that begin at zero without knowing it go: the first that is left
/// is where the series stood when it was seen again, as readers expect after an eviction.
fn forget<T: Table>(db: &Connection, series: i64, end_ms: i64) -> Result<()> {
    let (samples, key) = T::NAMES;
    let sql = format!("DELETE FROM {samples} WHERE {key} = ?1 AND end_ms < ?2");
    db.prepare_cached(&sql)?.execute([series, end_ms]).map(drop)
}

/// What the samples of a series say of a window.
#[derive(Debug)]
pub(super) struct Counted<V> {
    /// The newest sample up to its end.
    pub(super) last: Sample<V>,
    /// Where the series stood at its begin; `None` where no sample is in the window.
    pub(super) baseline: Option<V>,
}

/// Looks a window up; `None` where the series began after it. What began up to `evicted_ms` may
/// have lost its first samples: the first that is left stands for those.
pub(super) fn counted<T: Table>(
    db: &Connection,
    (series, since_ms): (i64, i64),
    window: Window,
    evicted_ms: Option<i64>,
) -> Result<Option<Counted<T::Value>>> {
    let Some(last) = T::before(db, series, window.to_ms)? else {
        return Ok(None);
    };
    // By its age, or by a clock that says nothing.
    let is_cut = evicted_ms.is_some_and(|before| since_ms <= before || since_ms > last.end_ms);
    let baseline = if last.end_ms <= window.from_ms {
        None
    } else if let Some(baseline) = T::before(db, series, window.from_ms)? {
        Some(baseline.value)
    } else if is_cut {
        // What was counted before the first sample that is left belongs to no time.
        T::after(db, series, i64::MIN)?.map(|first| first.value)
    } else {
        Some(T::Value::default())
    };
    Ok(Some(Counted { last, baseline }))
}
