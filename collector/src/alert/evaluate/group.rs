//! Numbers of a group, while its rows come.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wire::Histogram;

use super::row::{Cell, Row};
use crate::alert::rule::expr::{Aggregate, Made};
use crate::counters::percentile;

/// Most different values that are told apart.
const MOST_DISTINCT: usize = 10_000;

/// One number while it is made.
#[derive(Clone, Debug)]
pub(super) enum Sum {
    /// Of what was added or told.
    Plain {
        sum: f64,
        rows: u32,
        unknown: bool,
    },
    /// The newest, the least or the largest one.
    One {
        value: f64,
        end_ms: i64,
        rows: u32,
        unknown: bool,
    },
    Times {
        all: Box<Histogram>,
        rows: u32,
        unknown: bool,
    },
    Distinct {
        seen: BTreeSet<u64>,
        unknown: bool,
    },
}

impl Sum {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        match aggregate.made {
            Made::Increase | Made::Sum | Made::Mean | Made::Rows | Made::Share => Self::Plain {
                sum: 0.0,
                rows: 0,
                unknown: false,
            },
            Made::Last | Made::Least | Made::Most => Self::One {
                value: 0.0,
                end_ms: i64::MIN,
                rows: 0,
                unknown: false,
            },
            Made::Percentile(_) | Made::Values => Self::Times {
                all: Box::default(),
                rows: 0,
                unknown: false,
            },
            Made::Distinct => Self::Distinct {
                seen: BTreeSet::new(),
                unknown: false,
            },
        }
    }

    pub(super) fn add(&mut self, made: &Made, at: usize, row: &Row) {
        let cell = row.cells.get(at).unwrap_or(&Cell::Absent);
        match self {
            Self::Plain { sum, rows, unknown } => {
                *rows = rows.saturating_add(1);
                match cell {
                    _ if *made == Made::Rows => *sum += 1.0,
                    Cell::Number(value) => *sum += value,
                    Cell::Flag(flag) => *sum += f64::from(u8::from(*flag)),
                    _ => *unknown = true,
                }
            }
            Self::One {
                value,
                end_ms,
                rows,
                unknown,
            } => {
                let told = row.most.iter().find(|(column, _)| *column == at);
                let number = match (cell, told) {
                    (Cell::Number(last), Some((_, most))) if *made == Made::Most => last.max(*most),
                    (Cell::Number(last), _) => *last,
                    _ => return *unknown = true,
                };
                let takes = match made {
                    _ if *rows == 0 => true,
                    Made::Least => number < *value,
                    Made::Most => number > *value,
                    _ => row.end_ms >= *end_ms,
                };
                *rows = rows.saturating_add(1);
                if takes {
                    (*value, *end_ms) = (number, row.end_ms);
                }
            }
            Self::Times { all, rows, unknown } => {
                *rows = rows.saturating_add(1);
                let Cell::Histogram(told) = cell else {
                    return *unknown = true;
                };
                for (mine, told) in all.buckets.iter_mut().zip(told.buckets) {
                    *mine = mine.saturating_add(told);
                }
            }
            Self::Distinct { seen, unknown } => {
                let mut hasher = DefaultHasher::new();
                match cell {
                    Cell::Text(text) => text.hash(&mut hasher),
                    Cell::Number(value) => value.to_bits().hash(&mut hasher),
                    Cell::Flag(flag) => flag.hash(&mut hasher),
                    Cell::Absent | Cell::Histogram(_) => return *unknown = true,
                }
                if seen.len() < MOST_DISTINCT {
                    seen.insert(hasher.finish());
                }
            }
        }
    }

    /// Adds that of another group.
    pub(super) fn unite(&mut self, made: &Made, other: &Self) {
        match (self, other) {
            (
                Self::Plain { sum, rows, unknown },
                Self::Plain {
                    sum: more,
                    rows: others,
                    unknown: lacks,
                },
            ) => {
                *sum += more;
                *rows = rows.saturating_add(*others);
                *unknown |= lacks;
            }
            (
                Self::One {
                    value,
                    end_ms,
                    rows,
                    unknown,
                },
                Self::One {
                    value: other,
                    end_ms: at,
                    rows: others,
                    unknown: lacks,
                },
            ) => {
                let takes = match made {
                    _ if *others == 0 => false,
                    _ if *rows == 0 => true,
                    Made::Least => other < value,
                    Made::Most => other > value,
                    _ => at >= end_ms,
                };
                if takes {
                    (*value, *end_ms) = (*other, *at);
                }
                *rows = rows.saturating_add(*others);
                *unknown |= lacks;
            }
            (
                Self::Times { all, rows, unknown },
                Self::Times {
                    all: other,
                    rows: others,
                    unknown: lacks,
                },
            ) => {
                for (mine, other) in all.buckets.iter_mut().zip(other.buckets) {
                    *mine = mine.saturating_add(other);
                }
                *rows = rows.saturating_add(*others);
                *unknown |= lacks;
            }
            (
                Self::Distinct { seen, unknown },
                Self::Distinct {
                    seen: other,
                    unknown: lacks,
                },
            ) => {
                let room = MOST_DISTINCT.saturating_sub(seen.len());
                seen.extend(other.iter().take(room));
                *unknown |= lacks;
            }
            _ => {}
        }
    }

    /// The number, in seconds, bytes or pieces; `None` where it is not known. `shorter` is how much
    /// shorter than its rows' window the window is that it is told for.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn value(&self, aggregate: &Aggregate, shorter: f64) -> Option<f64> {
        let scale = aggregate.scale;
        match self {
            Self::Plain { unknown: true, .. }
            | Self::One { unknown: true, .. }
            | Self::Times { unknown: true, .. }
            | Self::Distinct { unknown: true, .. } => None,
            Self::Plain { sum, rows, .. } => match aggregate.made {
                Made::Mean | Made::Share if *rows == 0 => None,
                Made::Mean | Made::Share => Some(sum * scale / f64::from(*rows)),
                Made::Sum => Some(sum * scale),
                _ => Some(sum * scale * shorter),
            },
            Self::One { value, rows, .. } => (*rows > 0).then_some(value * scale),
            Self::Times { all, .. } => match aggregate.made {
                Made::Percentile(per_cent) => {
                    Some(percentile(all, u64::from(per_cent))? as f64 * scale)
                }
                _ => {
                    let count: f64 = all.buckets.iter().map(|n| *n as f64).sum();
                    Some(count * shorter)
                }
            },
            Self::Distinct { seen, .. } => Some(seen.len() as f64),
        }
    }
}
