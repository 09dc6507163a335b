//! Connections that lived within an interval and were told of lately.
//!
//! Blocks have no index by token. Whoever tells of the other end of one of theirs tells of it soon,
//! so that the ends of the last minutes are in memory; of earlier ones it is not known whether there
//! are any.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

/// How long ends are kept at least, milliseconds: an interval, what clocks differ, and what one of
/// two agents sends later.
const KEEP_MS: i64 = 600_000;
/// Most tokens of a generation; some 50 bytes each.
const MOST: usize = if cfg!(test) { 20 } else { 500_000 };

/// Tokens of an age.
#[derive(Debug, Default)]
struct Generation {
    since_ms: i64,
    /// The ends of the first and of the last interval that told of each, Unix milliseconds.
    told: HashMap<u64, (i64, i64)>,
}

/// Ends of connections by their token.
///
/// What a transaction took up that is rolled back may stay: it leads to a mark that nobody needs.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The older one first; `None` before anything is known.
    generations: Option<[Generation; 2]>,
}

impl Recent {
    /// Before a batch is stored that arrives at `now_ms`.
    pub(super) fn at(mut self, db: &Connection, now_ms: i64) -> Result<Self> {
        let new = |since_ms| Generation {
            since_ms,
            told: HashMap::new(),
        };
        self.generations = Some(match self.generations {
            // Nothing arrived before it in a store that is empty.
            None => {
                let is_empty: bool = db
                    .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM batch)")?
                    .query_row((), |row| row.get(0))?;
                [new(if is_empty { i64::MIN } else { now_ms }), new(now_ms)]
            }
            Some([_, young])
                if young.told.len() >= MOST || now_ms >= young.since_ms.saturating_add(KEEP_MS) =>
            {
                [young, new(now_ms)]
            }
            Some(both) => both,
        });
        Ok(self)
    }

    /// All that arrived since then is known, Unix milliseconds.
    pub(super) fn since_ms(&self) -> i64 {
        let older = self.generations.as_ref().map(|[older, _]| older.since_ms);
        older.unwrap_or(i64::MAX)
    }

    /// The ends of the first and of the last interval that told of a token.
    pub(super) fn told(&self, token: u64) -> Option<(i64, i64)> {
        let all = self.generations.iter().flatten();
        all.filter_map(|one| one.told.get(&token).copied())
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// Takes up one that is told in the interval that ends then.
    pub(super) fn put(&mut self, token: u64, end_ms: i64) {
        if let Some([_, young]) = &mut self.generations {
            let told = young.told.entry(token).or_insert((end_ms, end_ms));
            *told = (told.0.min(end_ms), told.1.max(end_ms));
        }
    }
}
