//! Family `connection`: edges, sightings and events from connection records.
//!
//! Counters of an edge only grow while it is in the table; its rows say what an interval added, and
//! now and then the totals (`totals`). Open connections are remembered with what was already counted
//! of them, so that a snapshot adds only the difference and the close adds the rest. An edge that was
//! quiet for long is forgotten; if it comes back, its `since_ms` is new and its counters start at zero.

use std::collections::HashMap;

use bpf::abi;
use wire::{Batch, Columns, EdgeRow, EventKind, EventRow, Kept, Role, SightingRow, sample};

mod begins;
mod key;
mod sight;
mod workers;

use begins::Begins;
use key::{EdgeKey, empty_row};
use workers::{Added, Worker, Workers};

use super::bounds::{Bounds, Losses};
use crate::batch::Summary;
use crate::clock::Now;
use crate::family::connection::event::{Connection, ReportReason};
use crate::family::totals::{Close, Owed, Totals};
use crate::spool::Lost;

/// More retransmissions than this make a connection abnormal.
const USUAL_RETRANSMITS: u32 = 3;
/// Intervals without a change after which an edge is forgotten: an hour at 10 s.
const QUIET_INTERVALS: u64 = 360;
/// Intervals for which an open connection that nobody has taken over from its listener is not told:
/// it stays in the edge in which it is counted first.
const OWNER_INTERVALS: u64 = 2;
/// Snapshots without a living connection after which its close counts as lost. One may miss it
/// while its close is on the way.
const MISSED_SNAPSHOTS: u8 = 2;
/// errno values of Linux on every architecture that matters here (asm-generic/errno.h).
const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;

#[derive(Debug)]
struct Edge {
    /// Its totals.
    row: EdgeRow,
    /// What this interval added.
    added: Option<Box<EdgeRow>>,
    owed: Owed,
    changed: u64,
    open: u32,
    first_kept: u32,
    /// A fingerprint beside a token was kept in this interval.
    spare_kept: bool,
}

/// How far a token has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// Nobody looked at it.
    #[default]
    No,
    /// It was not in the sample, nor kept for another reason so far.
    Unsampled,
    /// Its sighting is on the way, and the connection goes on: its end will be told as well.
    Open { kept: Kept, level: u8 },
    /// Its sighting is on the way and says that it ended, or was dropped and counted.
    Over,
}

/// An open connection: what of it is in its edge already.
#[derive(Debug)]
struct Open {
    edge: EdgeKey,
    worker: Worker,
    counted: abi::wb_numbers,
    sent: Told,
    received: Told,
    fingerprint: Told,
    /// Snapshots in a row that did not show it alive.
    missed: u8,
}

impl Open {
    fn new((edge, worker): (EdgeKey, Worker), counted: abi::wb_numbers) -> Self {
        Self {
            edge,
            worker,
            counted,
            sent: Told::No,
            received: Told::No,
            fingerprint: Told::No,
            missed: 0,
        }
    }
}

/// What is told beside the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Tokens.
    pub sightings: bool,
    /// Abnormal connections, one by one.
    pub events: bool,
    /// At most one token in two to the power of this is kept.
    pub least_level: u8,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            sightings: true,
            events: true,
            least_level: 0,
        }
    }
}

/// All edges and open connections of the host.
#[derive(Debug)]
pub struct Connections {
    bounds: Bounds,
    absent: Columns,
    edges: HashMap<EdgeKey, Edge>,
    totals: Totals,
    open: HashMap<u64, Open>,
    workers: Workers,
    sightings: Vec<SightingRow>,
    /// Connections told in this interval, and ends of those told before.
    told: (usize, usize),
    events: Vec<EventRow>,
    interval: u64,
    begins: Begins,
    /// CLOCK_MONOTONIC at the beginning of the interval.
    started_ns: u64,
    tokens: u64,
    level: u8,
    sending: Sending,
    /// At least this level, and no events: the agent takes more than its budget.
    spared: (u8, bool),
    losses: Losses,
}

impl Connections {
    /// Empty tables; `absent` is what this host cannot measure, `now` where the first interval begins.
    #[must_use]
    pub fn new(bounds: Bounds, absent: Columns, now: Now) -> Self {
        Self {
            bounds,
            absent,
            edges: HashMap::new(),
            totals: Totals::new(bounds.edges),
            open: HashMap::new(),
            workers: Workers::new(),
            sightings: Vec::new(),
            told: (0, 0),
            events: Vec::new(),
            interval: 1,
            begins: Begins::new(now.unix_ms),
            started_ns: now.monotonic_ns(),
            tokens: 0,
            level: 0,
            sending: Sending::default(),
            spared: (0, false),
            losses: Losses::default(),
        }
    }

    /// Keeps at most one token in `2^least_level`, and with `events` tells of no abnormal connection
    /// one by one, from now on.
    pub fn spare(&mut self, least_level: u8, events: bool) {
        self.spared = (least_level, events);
        self.level = self.level.max(least_level);
    }

    /// What was left out so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses {
            workers_full: self.workers.full(),
            ..self.losses
        }
    }

    /// Connections and edges in the tables now.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.open.len(), self.edges.len())
    }

    /// One in `2^level` tokens is kept in this interval.
    #[must_use]
    pub fn sample_level(&self) -> u8 {
        self.level
    }

    /// Changes what is told from now on; `sightings` is the bound of one interval.
    pub fn set_sending(&mut self, sending: Sending, sightings: usize) {
        self.sending = sending;
        self.bounds.sightings = sightings;
        self.level = self.level.max(sending.least_level);
    }

    /// Batches of these numbers will never arrive.
    pub fn lost(&mut self, batches: Lost) {
        self.totals.lost(batches);
        self.workers.lost(batches);
    }

    /// What this host cannot measure, as far as it is known by now.
    #[must_use]
    pub fn absent(&self) -> Columns {
        self.absent
    }

    /// Takes one record of a connection owned by `process_id`.
    pub fn fold(&mut self, event: &Connection, process_id: u32, now: Now) {
        if event.has(abi::WB_FLAG_NO_OUT_OF_ORDER) {
            self.lacks(Columns::OUT_OF_ORDER);
        }
        match event.reason {
            ReportReason::Adopted => self.adopt(event, process_id, now),
            ReportReason::Live if event.has(abi::WB_FLAG_ESTABLISHED) => {
                self.update(event, process_id, now);
            }
            // Still connecting: it will be established or fail.
            ReportReason::Live => {}
            ReportReason::Closed if event.has(abi::WB_FLAG_ESTABLISHED) => {
                self.close_connection(event, process_id, now);
            }
            ReportReason::Closed => self.fail(event, process_id, now),
            ReportReason::Stale if event.has(abi::WB_FLAG_ESTABLISHED) => {
                self.lose_end(event, process_id, now);
            }
            // Whether it failed is not known; the table that it left counts it.
            ReportReason::Stale => self.losses.connections_lost += 1,
        }
    }

    /// Ends the interval: what it added, and the totals whose turn it is.
    pub fn close(&mut self, close: &Close) -> Summary {
        let edges = self.close_edges(close);
        let mut workers = self.workers.close(close);
        if self.absent.has(Columns::BYTES_SENT) {
            // Who sends nothing cannot be told from who is not measured.
            workers.clear();
        }
        let budget = u64::try_from(self.bounds.sightings).unwrap_or(u64::MAX);
        let least = self.sending.least_level.max(self.spared.0);
        self.level = sample::level_for(self.tokens, budget).max(least);
        (self.tokens, self.told) = (0, (0, 0));
        self.interval += 1;
        self.started_ns = close.now.monotonic_ns();
        Summary {
            edges,
            sightings: std::mem::take(&mut self.sightings),
            events: std::mem::take(&mut self.events),
            owes: self.totals.is_short() || self.workers.is_short(),
            others: Batch {
                workers,
                ..Batch::default()
            },
        }
    }

    fn close_edges(&mut self, close: &Close) -> Vec<EdgeRow> {
        let (interval, totals) = (self.interval, &mut self.totals);
        let begins = &mut self.begins;
        let mut rows = Vec::new();
        totals.begin(close);
        self.edges.retain(|_, edge| {
            edge.first_kept = 0;
            edge.spare_kept = false;
            let added = edge.added.take();
            let ends = edge.open == 0 && interval - edge.changed >= QUIET_INTERVALS;
            if totals.tells(&mut edge.owed, close, (added.is_some(), ends)) {
                rows.push(edge.row.clone());
            }
            rows.extend(added.map(|row| *row));
            let stays = !ends || edge.owed.owes();
            if !stays {
                begins.forget(edge.row.since_ms);
            }
            stays
        });
        totals.end();
        rows.sort_by_key(|row| {
            let ends = (row.process_id, row.role, row.remote, row.local, row.netns);
            (ends, row.total)
        });
        rows
    }

    /// It was open before this run of the agent: an earlier run may have counted it as opened, and
    /// what it has sent so far.
    fn adopt(&mut self, event: &Connection, process_id: u32, now: Now) {
        if self.open.len() >= self.bounds.connections {
            // Its close will tell that it was there.
            self.losses.connections_full += 1;
        } else if !self.open.contains_key(&event.id) {
            self.opened(event, process_id, now);
        }
    }

    fn update(&mut self, event: &Connection, process_id: u32, now: Now) {
        if self.open.len() >= self.bounds.connections && !self.open.contains_key(&event.id) {
            // Its close will bring all its numbers at once.
            self.losses.connections_full += 1;
            return;
        }
        let lived_ns = event.time_ns.saturating_sub(event.start_ns);
        let interval_ns = now.monotonic_ns().saturating_sub(self.started_ns);
        if event.awaits_owner() && lived_ns < OWNER_INTERVALS.saturating_mul(interval_ns) {
            return;
        }
        let open = self.opened(event, process_id, now);
        let long = lived_ns > interval_ns;
        self.count(&open, event);
        let open = self.sight(event, open, long.then_some(Kept::LongLived), now);
        self.open.insert(
            event.id,
            Open {
                counted: event.numbers,
                missed: 0,
                ..open
            },
        );
    }

    fn close_connection(&mut self, event: &Connection, process_id: u32, now: Now) {
        let open = self.opened(event, process_id, now);
        self.ended(event.id, &open);
        self.count(&open, event);
        let kind = end_of(event);
        let absent = self.absent;
        // Some resets show without the program that tells of all, and a part would mislead.
        self.change(open.edge, |row| {
            row.closed += 1;
            let ended = |end, column| u64::from(kind == Some(end) && !absent.has(column));
            row.reset_local += ended(EventKind::ResetLocal, Columns::RESET_LOCAL);
            row.reset_remote += ended(EventKind::ResetRemote, Columns::RESET_REMOTE);
        });
        self.sight(event, open, kind.map(|_| Kept::Abnormal), now);
        if let Some(kind) = kind {
            self.report(event, kind, process_id, now);
        }
    }

    /// Its end was not seen, nor its last numbers, but it was there and is gone.
    fn lose_end(&mut self, event: &Connection, process_id: u32, now: Now) {
        let open = self.opened(event, process_id, now);
        self.ended(event.id, &open);
        self.change(open.edge, |row| row.closed += 1);
        self.sight(event, open, None, now);
        self.losses.connections_lost += 1;
    }

    /// It is open no more.
    fn ended(&mut self, id: u64, open: &Open) {
        if self.open.remove(&id).is_some() {
            self.edges
                .entry(open.edge)
                .and_modify(|edge| edge.open -= 1);
            self.workers.ends(open.worker);
        }
        let closed = Added {
            closed: 1,
            ..Added::default()
        };
        self.workers.add(open.worker, closed);
    }

    fn fail(&mut self, event: &Connection, process_id: u32, now: Now) {
        let refused = event.numbers.error == ECONNREFUSED;
        let key = self.edge(EdgeKey::of(event, process_id), now);
        self.change(key, |row| {
            row.failed += 1;
            row.refused += u64::from(refused);
            row.retransmits += u64::from(event.numbers.retransmits);
            row.segments_sent += u64::from(event.numbers.segments_sent);
        });
        let kind = if refused {
            EventKind::Refused
        } else {
            EventKind::Failed
        };
        self.report(event, kind, process_id, now);
    }

    /// Forgets connections that two complete snapshots in a row did not show: their close was
    /// lost in the ring or their entry evicted. Called after the snapshot was folded and the ring
    /// emptied again.
    pub fn sweep(&mut self) {
        let mut lost = Vec::new();
        self.open.retain(|_, open| {
            open.missed += 1;
            let keep = open.missed <= MISSED_SNAPSHOTS;
            if !keep {
                lost.push((open.edge, open.worker));
            }
            keep
        });
        for (key, worker) in lost {
            self.losses.connections_lost += 1;
            self.workers.ends(worker);
            self.edges.entry(key).and_modify(|edge| edge.open -= 1);
            self.change(key, |row| row.closed += 1);
        }
    }

    /// The open connection of an event; the first time it is seen it is opened.
    fn opened(&mut self, event: &Connection, process_id: u32, now: Now) -> Open {
        if let Some(open) = self.open.get(&event.id) {
            return Open { ..*open };
        }
        let key = self.edge(EdgeKey::of(event, process_id), now);
        let adopted = event.has(abi::WB_FLAG_ADOPTED);
        let worker = self.workers.of(event, process_id, now);
        let accepted = Added {
            accepted: u64::from(!adopted),
            ..Added::default()
        };
        self.workers.add(worker, accepted);
        self.losses.connections_unowned += u64::from(event.process.tgid == 0);
        let latency_us = event.established_ns.saturating_sub(event.start_ns) / 1000;
        let timed = event.role == Role::Client && event.established_ns != 0;
        self.change(key, |row| {
            row.opened += u64::from(!adopted);
            row.adopted += u64::from(adopted);
            if timed {
                row.connect_latency.record(latency_us);
            }
        });
        // What is older than this run has counted for earlier ones, or for nobody.
        let counted = match adopted {
            true => event.numbers,
            false => abi::wb_numbers::default(),
        };
        if matches!(event.reason, ReportReason::Live | ReportReason::Adopted) {
            self.remember(event, (key, worker), counted);
        }
        Open::new((key, worker), counted)
    }

    fn remember(
        &mut self,
        event: &Connection,
        (edge, worker): (EdgeKey, Worker),
        counted: abi::wb_numbers,
    ) {
        if self.open.len() >= self.bounds.connections {
            self.losses.connections_full += 1;
            return;
        }
        let open = Open::new((edge, worker), counted);
        if self.open.insert(event.id, open).is_none() {
            self.workers.opens(worker);
            self.edges.entry(edge).and_modify(|edge| edge.open += 1);
        }
    }

    /// Adds to the edge what the kernel counted since the last look.
    fn count(&mut self, open: &Open, event: &Connection) {
        let (new, old) = (&event.numbers, &open.counted);
        if new == old {
            return;
        }
        let moved = Added {
            bytes_sent: new.bytes_sent.saturating_sub(old.bytes_sent),
            bytes_received: new.bytes_received.saturating_sub(old.bytes_received),
            ..Added::default()
        };
        self.workers.add(open.worker, moved);
        // 32-bit counters of struct tcp_sock wrap.
        let wrapped = |new: u32, old: u32| u64::from(new.wrapping_sub(old));
        self.change(open.edge, |row| {
            row.bytes_sent += moved.bytes_sent;
            row.bytes_received += moved.bytes_received;
            row.segments_sent += wrapped(new.segments_sent, old.segments_sent);
            row.segments_received += wrapped(new.segments_received, old.segments_received);
            row.retransmits += wrapped(new.retransmits, old.retransmits);
            row.out_of_order += wrapped(new.out_of_order, old.out_of_order);
            row.zero_windows += wrapped(new.zero_windows, old.zero_windows);
            if new.srtt_us != 0 {
                row.rtt.record(u64::from(new.srtt_us));
            }
        });
    }

    fn report(&mut self, event: &Connection, kind: EventKind, process_id: u32, now: Now) {
        if !self.sending.events {
            return;
        }
        if self.spared.1 {
            self.losses.events_spared += 1;
            return;
        }
        if self.events.len() >= self.bounds.events {
            self.losses.events_dropped += 1;
            return;
        }
        self.events.push(EventRow {
            kind,
            time_us: now.unix_us(event.time_ns),
            role: event.role,
            process_id,
            local: event.local,
            remote: event.remote,
            netns: event.netns,
            token: event.token_sent.or(event.token_received).unwrap_or(0),
            errno: event.numbers.error,
            duration_us: event.time_ns.saturating_sub(event.start_ns) / 1000,
            bytes_sent: event.numbers.bytes_sent,
            bytes_received: event.numbers.bytes_received,
            retransmits: u64::from(event.numbers.retransmits),
        });
    }

    /// The key under which changes are counted: the edge's own, or the catch-all.
    fn edge(&mut self, wanted: EdgeKey, now: Now) -> EdgeKey {
        // Two places are kept for the catch-all edges, one per role.
        let full = self.edges.len() + 2 >= self.bounds.edges;
        let key = if full && !self.edges.contains_key(&wanted) {
            self.losses.edges_overflowed += 1;
            EdgeKey::catch_all(wanted.role)
        } else {
            wanted
        };
        let (interval, since_ms) = (self.interval, self.begins.since_ms(now.unix_ms));
        let absent = match key.role_unknown {
            true => self.absent.with(Columns::ROLE),
            false => self.absent,
        };
        let totals = &mut self.totals;
        self.edges.entry(key).or_insert_with(|| Edge {
            row: EdgeRow {
                absent,
                ..empty_row(key, since_ms)
            },
            added: None,
            owed: totals.series(),
            changed: interval,
            open: 0,
            first_kept: 0,
            spare_kept: false,
        });
        key
    }

    /// The kernel does not count this, and did not before: zeros of edges that are there mean
    /// nothing either.
    fn lacks(&mut self, columns: Columns) {
        if !self.absent.has(columns) {
            self.absent = self.absent.with(columns);
            for edge in self.edges.values_mut() {
                for row in std::iter::once(&mut edge.row).chain(edge.added.as_deref_mut()) {
                    row.absent = row.absent.with(columns);
                }
            }
        }
    }

    fn change(&mut self, key: EdgeKey, change: impl Fn(&mut EdgeRow)) {
        if let Some(edge) = self.edges.get_mut(&key) {
            change(&mut edge.row);
            let added = edge.added.get_or_insert_with(|| {
                Box::new(EdgeRow {
                    absent: edge.row.absent,
                    total: false,
                    ..empty_row(key, edge.row.since_ms)
                })
            });
            change(added);
            edge.changed = self.interval;
        }
    }
}

/// What is abnormal about the end of an established connection.
fn end_of(event: &Connection) -> Option<EventKind> {
    if event.has(abi::WB_FLAG_RESET_RECEIVED) {
        Some(EventKind::ResetRemote)
    } else if event.has(abi::WB_FLAG_RESET_SENT) {
        Some(EventKind::ResetLocal)
    } else if event.numbers.error == ETIMEDOUT {
        Some(EventKind::TimedOut)
    } else if event.numbers.retransmits > USUAL_RETRANSMITS {
        Some(EventKind::Retransmits)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
