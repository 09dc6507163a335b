//! Random histories, compared step by step with a model in memory.

mod op;

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::spool::Fault;
use op::{Op, Page, op};

const MAX_BYTES: u64 = 100_000;
const MAX_AGE_MS: u64 = 60_000;

#[derive(Clone, Debug)]
struct Held {
    sequence: u64,
    bytes: usize,
    sealed_ms: u64,
    leased: bool,
    faults: u32,
}

/// The spool, what it should hold, and what it said so far.
struct History {
    place: Place,
    spool: Option<Spool>,
    /// In order of arrival.
    held: Vec<Held>,
    /// Of this run.
    total: Tally,
    /// Batches given to this run's spool.
    sealed: u64,
    sequence: u64,
    now_ms: u64,
    disk_full: bool,
}

fn bounds() -> Bounds {
    Bounds {
        max_bytes: MAX_BYTES,
        max_age: Duration::from_millis(MAX_AGE_MS),
    }
}

impl History {
    fn new() -> Self {
        let place = Place::new();
        let spool = Some(place.open_with(bounds()));
        Self {
            place,
            spool,
            held: Vec::new(),
            total: Tally::default(),
            sealed: 0,
            sequence: 0,
            now_ms: 0,
            disk_full: false,
        }
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().expect("open between two steps")
    }

    fn tally(&mut self) -> Tally {
        let tally = self.spool().take_tally();
        add(&mut self.total, &tally);
        tally
    }

    /// Removes the `count` oldest batches that are not leased.
    fn remove_oldest(&mut self, count: u64) {
        for _ in 0..count {
            let oldest = self.held.iter().position(|held| !held.leased);
            self.held
                .remove(oldest.expect("more were evicted than there are"));
        }
    }

    fn bytes(&self) -> u64 {
        self.held.iter().map(|held| held.bytes as u64).sum()
    }

    /// The sequence number of the n-th lease, if there is one.
    fn leased(&self, nth: usize) -> Option<u64> {
        self.held
            .iter()
            .filter(|held| held.leased)
            .nth(nth)
            .map(|held| held.sequence)
    }

    fn position(&self, sequence: u64) -> usize {
        self.held
            .iter()
            .position(|held| held.sequence == sequence)
            .expect("held")
    }

    fn step(&mut self, op: &Op) {
        let mut before: Vec<u64> = self.held.iter().map(|held| held.sequence).collect();
        match op {
            Op::Put(_) => before.push(self.sequence + 1),
            Op::Ack(nth) => before.retain(|sequence| Some(*sequence) != self.leased(*nth)),
            _ => {}
        }
        self.apply(op);
        before.retain(|sequence| self.held.iter().all(|held| held.sequence != *sequence));
        self.check_lost(&before);
    }

    /// What this run put and the spool has lost is among what it says; without a loss it says none.
    fn check_lost(&mut self, lost: &[u64]) {
        let said = self.spool().take_lost();
        if self.sealed == 0 || lost.is_empty() {
            assert_eq!(said, None);
            return;
        }
        let said = said.expect("the loss is said");
        let known = |sequence: &u64| (said.first..=said.last).contains(sequence);
        assert!(lost.iter().all(known), "{lost:?} lost, {said:?} said");
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(bytes) => self.put(*bytes),
            Op::Lease(max) => self.lease(*max),
            Op::Ack(nth) => {
                if let Some(sequence) = self.leased(*nth) {
                    self.spool().ack(&id(sequence));
                    let gone = self.held.remove(self.position(sequence));
                    let tally = self.tally();
                    assert_eq!((tally.acked, tally.acked_bytes), (1, gone.bytes as u64));
                }
            }
            Op::Refuse(nth) => {
                if let Some(sequence) = self.leased(*nth) {
                    self.spool().refuse(&id(sequence));
                    self.held.remove(self.position(sequence));
                    assert_eq!(self.tally().refused, 1);
                }
            }
            Op::Nack(nth, fault) => {
                if let Some(sequence) = self.leased(*nth) {
                    self.spool().nack(&id(sequence), *fault);
                    let position = self.position(sequence);
                    self.held[position].leased = false;
                    self.held[position].faults += u32::from(*fault == Fault::Batch);
                }
            }
            Op::NackAll => {
                self.spool().nack_all();
                self.end_leases();
            }
            Op::Evict(after_ms) => self.evict(*after_ms),
            Op::Reopen { killed } => {
                if *killed {
                    self.place = self.place.killed_here();
                }
                self.reopen();
                let tally = self.tally();
                assert_eq!(
                    tally,
                    Tally {
                        found: self.held.len() as u64,
                        ..Tally::default()
                    }
                );
            }
            Op::Damage(page) => self.damage(*page),
            Op::DiskFull => {
                self.spool().fill_disk();
                self.disk_full = true;
            }
        }
        self.check();
    }

    fn put(&mut self, bytes: usize) {
        self.sequence += 1;
        self.sealed += 1;
        let mut sealed = batch(self.sequence, bytes);
        sealed.sealed_ms = self.now_ms;
        let stored = self.spool().put(&sealed);
        let tally = self.tally();
        assert_eq!(
            (tally.stored, tally.dropped_error),
            (u64::from(stored), u64::from(!stored))
        );
        if bytes as u64 > MAX_BYTES {
            assert_eq!(
                tally,
                Tally {
                    dropped_error: 1,
                    ..Tally::default()
                }
            );
            return;
        }
        let expected = self.make_room(bytes as u64);
        assert_eq!(tally.evicted_size, expected);
        if self.disk_full {
            // How many pages a batch takes is SQLite's business; that the oldest go is ours.
            self.remove_oldest(tally.evicted_disk);
            let all_leased = self.held.iter().all(|held| held.leased);
            assert!(
                stored || all_leased,
                "dropped although there was something to evict"
            );
        } else {
            assert!(stored, "dropped although there was room");
            assert_eq!(tally.evicted_disk, 0);
        }
        if stored {
            let (sequence, sealed_ms) = (self.sequence, self.now_ms);
            self.held.push(Held {
                sequence,
                bytes,
                sealed_ms,
                leased: false,
                faults: 0,
            });
        }
        self.check_bound();
    }

    fn lease(&mut self, max: usize) {
        let free = 8 - self.held.iter().filter(|held| held.leased).count();
        let mut turn: Vec<Held> = self
            .held
            .iter()
            .filter(|held| !held.leased)
            .cloned()
            .collect();
        turn.sort_by_key(|held| held.faults);
        turn.truncate(max.min(free));
        let leased = self.spool().lease(max);
        let content = |sealed: &Sealed| (sealed.id.sequence, sealed.bytes.clone());
        let expected: Vec<_> = turn
            .iter()
            .map(|held| content(&batch(held.sequence, held.bytes)))
            .collect();
        assert_eq!(leased.iter().map(content).collect::<Vec<_>>(), expected);
        for held in turn {
            let position = self.position(held.sequence);
            self.held[position].leased = true;
        }
    }

    /// Removes the oldest until `bytes` more fit; gives how many.
    fn make_room(&mut self, bytes: u64) -> u64 {
        let before = self.held.len();
        while self.bytes() + bytes > MAX_BYTES && self.held.iter().any(|held| !held.leased) {
            self.remove_oldest(1);
        }
        (before - self.held.len()) as u64
    }

    fn evict(&mut self, after_ms: u64) {
        self.now_ms += after_ms;
        let now_ms = self.now_ms;
        self.spool().evict(now_ms);
        self.disk_full = false;
        let before = self.held.len();
        let first_ms = now_ms.saturating_sub(MAX_AGE_MS);
        self.held
            .retain(|held| held.leased || held.sealed_ms >= first_ms);
        let evicted_age = (before - self.held.len()) as u64;
        let evicted_size = self.make_room(0);
        let expected = Tally {
            evicted_age,
            evicted_size,
            ..Tally::default()
        };
        assert_eq!(self.tally(), expected);
        self.check_bound();
    }

    /// Leased batches that were not evicted may come back on top of the bound; the next put and
    /// the next eviction look at it again.
    fn check_bound(&self) {
        let leased: u64 = self
            .held
            .iter()
            .filter(|held| held.leased)
            .map(|held| held.bytes as u64)
            .sum();
        assert!(self.bytes() <= MAX_BYTES + leased, "the size bound");
    }

    fn reopen(&mut self) {
        self.spool = None;
        self.total = Tally::default();
        self.sealed = 0;
        self.spool = Some(self.place.open_with(bounds()));
        self.end_leases();
        self.disk_full = false;
    }

    fn end_leases(&mut self) {
        self.held.iter_mut().for_each(|held| held.leased = false);
    }

    fn damage(&mut self, page: Page) {
        // Closed, so that everything is in the database and nothing in a cache.
        self.spool = None;
        let page = match page {
            Page::Header => 0,
            Page::Metadata => damage::root_page(&self.place, "batch"),
            Page::Payload => damage::root_page(&self.place, "payload"),
        };
        damage::overwrite(&self.place.path(), page * 4096, &[0xff; 4096]);
        self.reopen();
        let tally = self.tally();
        assert_eq!(tally.quarantined_files, 1);
        assert_eq!(tally.found, tally.quarantined);
        let countable = tally.quarantined_uncounted == 0;
        assert_eq!(
            tally.quarantined,
            if countable { self.held.len() as u64 } else { 0 }
        );
        self.held.clear();
        // Else a history of many damages would fill the disk of the tests.
        for file in self.spool().stat().expect("read numbers").quarantined {
            fs::remove_file(file).expect("remove");
        }
    }

    fn check(&mut self) {
        let entries = self.spool().ls(usize::MAX).expect("list");
        let listed: Vec<_> = entries
            .iter()
            .map(|entry| (entry.id.sequence, entry.bytes, entry.state == State::Leased))
            .collect();
        let expected: Vec<_> = self
            .held
            .iter()
            .map(|held| (held.sequence, held.bytes as u64, held.leased))
            .collect();
        assert_eq!(listed, expected);
        assert_eq!(self.spool().payload_bytes(), self.bytes());
        assert_eq!(self.total.stored + self.total.dropped_error, self.sealed);
        let total = self.total;
        assert_sum(&total, self.spool());
    }
}

proptest! {
    #[test]
    fn every_history_ends_as_the_model_says(ops in proptest::collection::vec(op(), 1..80)) {
        let mut history = History::new();
        for op in &ops {
            history.step(op);
        }
    }
}
