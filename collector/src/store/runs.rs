//! What is known of runs, as far as there is room for it in memory.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

use super::known::Run;
use super::recent::Recent;

/// Subjects of all runs together: some 200 bytes each.
const SUBJECTS: usize = if cfg!(test) { 60 } else { 400_000 };

/// All runs that are in memory.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<i64, Run>,
    turn: u64,
    /// Connections that were told of lately.
    pub(super) recent: Recent,
}

impl Runs {
    /// The run with this number, read when it is not there.
    pub(super) fn get(&mut self, db: &Connection, boot: i64) -> Result<&mut Run> {
        self.turn += 1;
        // They grow as well.
        if self.turn.is_multiple_of(64) {
            self.make_room(0);
        }
        if !self.runs.contains_key(&boot) {
            let run = Run::read(db, boot)?;
            self.make_room(run.subjects.len());
            self.runs.insert(boot, run);
        }
        let run = self.runs.entry(boot).or_default();
        run.used = self.turn;
        Ok(run)
    }

    /// What was taken up since [`Runs::mark`] is not on disk: of these runs what is there counts.
    pub(super) fn undo(&mut self, mark: u64) {
        self.runs.retain(|_, run| run.used <= mark);
    }

    /// To undo what follows.
    pub(super) fn mark(&self) -> u64 {
        self.turn
    }

    /// What is on disk counts from now on.
    pub(super) fn forget(&mut self, boots: impl IntoIterator<Item = i64>) {
        for boot in boots {
            self.runs.remove(&boot);
        }
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    /// Runs that reported longest ago go; nothing is lost with them.
    fn make_room(&mut self, wanted: usize) {
        let mut held: usize = self.runs.values().map(|run| run.subjects.len()).sum();
        if held + wanted <= SUBJECTS {
            return;
        }
        let mut oldest: Vec<_> = self
            .runs
            .iter()
            .map(|(boot, run)| (run.used, *boot))
            .collect();
        oldest.sort_unstable();
        // A part of them at once: so it is seldom done.
        for (_, boot) in oldest {
            if held + wanted <= SUBJECTS / 8 * 7 {
                break;
            }
            held -= self.runs.remove(&boot).map_or(0, |run| run.subjects.len());
        }
    }
}
