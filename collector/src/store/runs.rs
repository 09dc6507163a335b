//! What is known of runs, as far as there is room for it in memory.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

use super::known::Run;
use super::lasting::Going;
use super::recent::Recent;
use super::tokens::Tokens;

/// Subjects and connections that go on, of all runs together: some 200 bytes each.
const SUBJECTS: usize = if cfg!(test) { 60 } else { 400_000 };

/// All runs that are in memory.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<i64, Run>,
    turn: u64,
    /// Connections that were told of lately.
    pub(super) recent: Recent,
    /// Those that go on.
    tokens: Tokens,
    /// Runs that report were taken out since this was asked for.
    lost: bool,
}

impl Runs {
    /// The run with this number, read when it is not there; and what goes on of all.
    pub(super) fn get(&mut self, db: &Connection, boot: i64) -> Result<(&mut Run, &mut Tokens)> {
        self.turn += 1;
        // They grow as well.
        if self.turn.is_multiple_of(64) {
            self.make_room(0);
        }
        if self.runs.get(&boot).is_none_or(|run| run.is_stale) {
            let run = Run::read(db, boot)?;
            let was = self.runs.remove(&boot).unwrap_or_default();
            self.tokens.replace(&was.going, &run.going);
            self.make_room(weight(&run));
            self.runs.insert(boot, run);
        }
        let run = self.runs.entry(boot).or_default();
        run.used = self.turn;
        Ok((run, &mut self.tokens))
    }

    /// What was taken up since [`Runs::mark`] is not on disk: of these runs what is there counts.
    pub(super) fn undo(&mut self, mark: u64) {
        for run in self.runs.values_mut() {
            run.is_stale |= run.used > mark;
        }
    }

    /// To undo what follows.
    pub(super) fn mark(&self) -> u64 {
        self.turn
    }

    /// What is on disk counts from now on.
    pub(super) fn forget(&mut self, boots: impl IntoIterator<Item = i64>) {
        for boot in boots {
            if let Some(run) = self.runs.get_mut(&boot) {
                run.is_stale = true;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        let boots: Vec<i64> = self.runs.keys().copied().collect();
        self.forget(boots);
    }

    /// Before the next batch is stored: what was told lately of runs that were taken out is not
    /// known.
    pub(super) fn take_recent(&mut self) -> Recent {
        match std::mem::take(&mut self.lost) {
            true => Recent::default(),
            false => std::mem::take(&mut self.recent),
        }
    }

    /// Runs that reported longest ago go; nothing is lost with them.
    fn make_room(&mut self, wanted: usize) {
        let mut held: usize = self.runs.values().map(weight).sum();
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
            if let Some(run) = self.runs.remove(&boot) {
                held -= weight(&run);
                self.lost |= !run.going.is_empty();
                self.tokens.replace(&run.going, &Going::default());
            }
        }
    }
}

fn weight(run: &Run) -> usize {
    run.subjects.len() + run.going.len()
}
