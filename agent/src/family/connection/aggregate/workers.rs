//! What each of several processes of one identity does with the connections that it accepted, so that
//! one that is stuck shows beside its siblings.

use std::collections::HashMap;

use wire::{Role, WorkerRow};

use crate::clock::Now;
use crate::family::connection::event::Connection;
use crate::family::totals::{Close, Owed, Totals};
use crate::spool::Lost;

/// Most processes.
const MOST: usize = 1024;
/// Intervals without a connection after which one is forgotten.
const QUIET_INTERVALS: u64 = 30;

/// Identity, process id, and when it started.
type Key = (u32, u32, u64);

/// A process within [`Workers`]; none for connections of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worker(Option<u32>);

/// What is added to a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) accepted: u64,
    pub(super) closed: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

#[derive(Debug)]
struct Known {
    key: Key,
    /// Its totals.
    row: WorkerRow,
    /// What this interval added.
    added: Added,
    /// The number of the last interval in which it had a connection.
    busy: u64,
    owed: Owed,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Workers {
    places: HashMap<Key, u32>,
    all: HashMap<u32, Known>,
    next: u32,
    interval: u64,
    totals: Totals,
    full: u64,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self {
            places: HashMap::new(),
            all: HashMap::new(),
            next: 0,
            interval: 0,
            totals: Totals::new(MOST),
            full: 0,
        }
    }

    /// Processes that found no room.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// Batches of these numbers will never arrive.
    pub(super) fn lost(&mut self, batches: Lost) {
        self.totals.lost(batches);
    }

    /// Who accepted a connection; none where it is not known, or nobody has yet.
    pub(super) fn of(&mut self, event: &Connection, process_id: u32, now: Now) -> Worker {
        let process = &event.process;
        if event.role != Role::Server || process.tgid == 0 || event.awaits_owner() {
            return Worker(None);
        }
        let key = (process_id, process.tgid, process.start_ns);
        if let Some(place) = self.places.get(&key) {
            return Worker(Some(*place));
        }
        if self.all.len() >= MOST {
            self.full += 1;
            return Worker(None);
        }
        self.next = self.next.wrapping_add(1);
        let known = Known {
            key,
            row: WorkerRow {
                total: true,
                process_id,
                pid: process.tgid,
                since_ms: now.unix_ms,
                ..WorkerRow::default()
            },
            added: Added::default(),
            busy: self.interval,
            owed: self.totals.series(),
        };
        self.all.insert(self.next, known);
        self.places.insert(key, self.next);
        Worker(Some(self.next))
    }

    /// Adds to what a process did.
    pub(super) fn add(&mut self, worker: Worker, more: Added) {
        if let Some(known) = worker.0.and_then(|place| self.all.get_mut(&place)) {
            let added = &mut known.added;
            added.accepted += more.accepted;
            added.closed += more.closed;
            added.bytes_sent += more.bytes_sent;
            added.bytes_received += more.bytes_received;
            known.busy = self.interval;
        }
    }

    /// It has one more open connection.
    pub(super) fn opens(&mut self, worker: Worker) {
        if let Some(known) = worker.0.and_then(|place| self.all.get_mut(&place)) {
            known.row.open = known.row.open.saturating_add(1);
        }
    }

    /// It has one less.
    pub(super) fn ends(&mut self, worker: Worker) {
        if let Some(known) = worker.0.and_then(|place| self.all.get_mut(&place)) {
            known.row.open = known.row.open.saturating_sub(1);
        }
    }

    /// Ends the interval. Of a process is told while several of its identity have connections and one
    /// of them sent something; what it did at other times is in no row and in no total.
    pub(super) fn close(&mut self, close: &Close) -> Vec<WorkerRow> {
        let mut groups: HashMap<u32, (usize, bool)> = HashMap::new();
        for known in self.all.values_mut() {
            if known.row.open > 0 {
                known.busy = self.interval;
            }
            let group = groups.entry(known.row.process_id).or_default();
            group.0 += usize::from(known.busy == self.interval);
            group.1 |= known.added.bytes_sent > 0;
        }
        let (interval, totals, places) = (self.interval, &mut self.totals, &mut self.places);
        let mut rows = Vec::new();
        totals.begin(close);
        self.all.retain(|_, known| {
            let added = std::mem::take(&mut known.added);
            let group = groups.get(&known.row.process_id).copied();
            let is_told = group.is_some_and(|(workers, sent)| workers > 1 && sent);
            let has_row = is_told && known.busy == interval;
            if has_row {
                known.count(&added);
                rows.push(known.interval(&added));
            }
            let ends = known.row.open == 0 && interval - known.busy >= QUIET_INTERVALS;
            if totals.tells(&mut known.owed, close, (has_row, ends)) {
                rows.push(known.row.clone());
            }
            let stays = !ends || known.owed.owes();
            if !stays {
                places.remove(&known.key);
            }
            stays
        });
        totals.end();
        self.interval += 1;
        rows.sort_by_key(|row| (row.process_id, row.pid, row.since_ms, row.total));
        rows
    }

    /// Whether totals are owed that found no place.
    pub(super) fn is_short(&self) -> bool {
        self.totals.is_short()
    }
}

impl Known {
    fn count(&mut self, added: &Added) {
        self.row.accepted += added.accepted;
        self.row.closed += added.closed;
        self.row.bytes_sent += added.bytes_sent;
        self.row.bytes_received += added.bytes_received;
    }

    fn interval(&self, added: &Added) -> WorkerRow {
        WorkerRow {
            total: false,
            accepted: added.accepted,
            closed: added.closed,
            bytes_sent: added.bytes_sent,
            bytes_received: added.bytes_received,
            ..self.row.clone()
        }
    }
}
