//! Tokens of connections that go on, of all runs that are in memory.

use std::collections::HashMap;

use super::lasting::Going;

/// How many ends of each go on.
#[derive(Debug, Default)]
pub(super) struct Tokens(HashMap<u64, u32>);

impl Tokens {
    pub(super) fn add(&mut self, token: u64) {
        *self.0.entry(token).or_default() += 1;
    }

    pub(super) fn remove(&mut self, token: u64) {
        if let Some(count) = self.0.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&token);
            }
        }
    }

    /// What went on is what goes on now.
    pub(super) fn replace(&mut self, was: &Going, now: &Going) {
        for row in now.rows() {
            self.add(row.sighted.token);
        }
        for row in was.rows() {
            self.remove(row.sighted.token);
        }
    }

    /// Whether an end goes on beside the one at hand, if that does.
    pub(super) fn others(&self, token: u64, mine: bool) -> bool {
        self.0
            .get(&token)
            .is_some_and(|count| *count > u32::from(mine))
    }
}
