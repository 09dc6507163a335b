//! The outbox: what is accepted is sent, refused, dropped or waiting, whatever happens in between.

use std::sync::Arc;

use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tempfile::TempDir;
use wire::{Batch, BatchHeader};

use super::outbox::{Outbox, OutboxReader};
use super::{Bounds, Outcome, Store};
use crate::accept::Opened;

const ROOM: Bounds = Bounds {
    max_bytes: 1 << 30,
    hosts: 1000,
};
/// Bytes of each payload.
const PAYLOAD: usize = 5000;

struct World {
    dir: TempDir,
    store: Store,
    outbox: Arc<Outbox>,
    sequence: u64,
    names: Vec<String>,
    most: u64,
}

impl World {
    fn new(names: &[&str], most: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let mut store = Store::open(&dir.path().join("db"), ROOM).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let outbox = store.keep_for(&names, most).unwrap();
        Self {
            dir,
            store,
            outbox,
            sequence: 0,
            names,
            most,
        }
    }

    /// As after a crash: what was not saved is gone.
    fn reopen(&mut self) {
        self.store = Store::open(&self.dir.path().join("db"), ROOM).unwrap();
        self.outbox = self.store.keep_for(&self.names, self.most).unwrap();
    }

    fn put(&mut self) {
        self.sequence += 1;
        let sequence = self.sequence;
        let batch = Batch {
            header: BatchHeader {
                host: [1; 16],
                boot: [2; 16],
                sequence,
                start_ms: sequence * 10,
                end_ms: sequence * 10 + 10,
            },
            ..Batch::default()
        };
        let opened = Opened {
            batch,
            digest: crate::digest::sha256(&sequence.to_le_bytes()),
            bytes: PAYLOAD,
            credential: None,
            payload: Some(vec![u8::try_from(sequence % 251).unwrap(); PAYLOAD]),
        };
        let outcome = self.store.put(&[&opened, &opened], 1_000_000).remove(0);
        assert!(matches!(outcome, Ok(Outcome::Stored { .. })));
    }

    fn waiting(&self, position: i64) -> Vec<i64> {
        let reader = OutboxReader::open(&self.dir.path().join("db")).unwrap();
        let found = reader.next(position, usize::MAX, usize::MAX).unwrap();
        assert!(found.iter().all(|waiting| waiting.payload.len() == PAYLOAD));
        found.iter().map(|waiting| waiting.position).collect()
    }
}

#[test]
fn a_batch_waits_once_and_goes_when_every_output_is_past_it() {
    let mut world = World::new(&["a", "b"], 1 << 20);
    for _ in 0..3 {
        world.put();
    }
    // The second copy of each was a duplicate.
    assert_eq!(world.waiting(0), [1, 2, 3]);
    world.outbox.outputs[0].done(3, 0);
    world.outbox.outputs[1].done(2, 1);
    world.store.tend_outbox().unwrap();
    assert_eq!(world.waiting(0), [3]);
    let b = world.outbox.outputs[1].at();
    assert_eq!((b.sent, b.refused, b.dropped), (1, 1, 0));
    world.reopen();
    assert_eq!(world.outbox.outputs[0].at().position, 3);
    assert_eq!(world.outbox.outputs[1].at(), b);
}

#[test]
fn when_it_is_full_the_oldest_go_and_are_counted_for_those_that_lacked_them() {
    let room = 4 * PAYLOAD as u64;
    let mut world = World::new(&["fast", "slow"], room);
    for _ in 0..10 {
        world.put();
        let newest = world.outbox.level().last;
        world.outbox.outputs[0].done(newest, 0);
    }
    assert_eq!(world.waiting(0), [7, 8, 9, 10]);
    assert!(world.outbox.level().bytes <= room);
    let [fast, slow] = [0, 1].map(|at: usize| world.outbox.outputs[at].at());
    assert_eq!((fast.sent, fast.dropped), (10, 0));
    assert_eq!((slow.sent, slow.dropped), (0, 6));
    assert_eq!(world.outbox.accepted(&world.outbox.outputs[1]), (10, 4));
    // One that was on its way when it made room is not counted twice.
    world.outbox.outputs[1].done(7, 0);
    let slow = world.outbox.outputs[1].at();
    assert_eq!((slow.sent, slow.dropped), (1, 6));
}

#[test]
fn an_output_begins_with_the_batch_after_it_was_named_and_is_forgotten_with_its_name() {
    let mut world = World::new(&[], 1 << 20);
    world.put();
    assert!(world.waiting(0).is_empty());
    world.names = vec![String::from("late")];
    world.reopen();
    world.put();
    let late = Arc::clone(&world.outbox.outputs[0]);
    assert_eq!(world.outbox.accepted(&late), (1, 1));
    world.names.clear();
    world.reopen();
    assert!(world.waiting(0).is_empty());
    world.names = vec![String::from("late")];
    world.reopen();
    let late = Arc::clone(&world.outbox.outputs[0]);
    assert_eq!(world.outbox.accepted(&late), (0, 0));
    // Positions are never given twice.
    world.put();
    assert_eq!(world.waiting(0), [2]);
}

#[derive(Clone, Debug)]
enum Step {
    Put,
    /// An output sends so many, and some of these are refused.
    Send(usize, i64, u64),
    Tend,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::strategy::Just(Step::Put),
        3 => (0..2_usize, 1..6_i64, 0..3_u64).prop_map(|(at, n, bad)| Step::Send(at, n, bad)),
        1 => prop::strategy::Just(Step::Tend),
        1 => prop::strategy::Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn accepted_is_sent_refused_dropped_or_waiting(steps in steps(), room in 1..8_u64) {
        let mut world = World::new(&["a", "b"], room * PAYLOAD as u64);
        // What each output has had, by position: at least once, or counted as dropped.
        let mut had = [0_i64, 0];
        for step in steps {
            match step {
                Step::Put => world.put(),
                Step::Send(at, n, bad) => {
                    let output = &world.outbox.outputs[at];
                    let next = world.waiting(output.at().position);
                    // Nothing lies between where it is and what it reads.
                    if let Some(first) = next.first() {
                        prop_assert_eq!(*first, output.at().position + 1);
                        let last = next[(usize::try_from(n).unwrap() - 1).min(next.len() - 1)];
                        output.done(last, bad);
                        had[at] = had[at].max(last);
                    }
                }
                Step::Tend => world.store.tend_outbox().unwrap(),
                Step::Crash => world.reopen(),
            }
            for output in &world.outbox.outputs {
                let at = output.at();
                let (accepted, waiting) = world.outbox.accepted(output);
                prop_assert_eq!(accepted, world.sequence);
                prop_assert_eq!(accepted, at.sent + at.refused + at.dropped + waiting);
                prop_assert_eq!(world.waiting(at.position).len() as u64, waiting);
            }
            prop_assert!(world.outbox.level().bytes <= room * PAYLOAD as u64);
        }
    }
}
