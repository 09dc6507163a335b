//! Who stays, and who goes.

use super::*;
use std::net::IpAddr;

struct World {
    all: Arc<Connections>,
    start: Instant,
}

fn party(n: u8) -> Party {
    Party::of(IpAddr::from([10, 0, 0, n]))
}

fn world(most: usize) -> World {
    World {
        all: Connections::new(most, Arc::default()),
        start: Instant::now(),
    }
}

impl World {
    fn admit(&self, n: u8, seconds: u64) -> Option<Arc<Connection>> {
        let now = self.start + Duration::from_secs(seconds);
        self.all.admit(party(n), now).map(Arc::new)
    }

    fn fill(&self, n: u8, count: usize, seconds: u64) -> Vec<Arc<Connection>> {
        let admit = |_| self.admit(n, seconds).expect("room");
        (0..count).map(admit).collect()
    }
}

fn closed(held: &[Arc<Connection>]) -> Vec<usize> {
    let off = |at: &usize| held[*at].switch.poll(Waker::noop());
    (0..held.len()).filter(off).collect()
}

#[test]
fn a_full_table_of_strangers_lets_newcomers_in() {
    let world = world(4);
    let held = world.fill(1, 4, 0);
    let newcomer = world.admit(2, 5);
    assert!(newcomer.is_some());
    assert_eq!(closed(&held), [0]);
    assert_eq!(world.all.metrics.connections_open.get(), 4);
}

#[test]
fn a_flood_of_strangers_closes_its_own_and_not_those_who_just_came() {
    let world = world(8);
    let agents = world.fill(1, 4, 0);
    drop(
        agents
            .iter()
            .map(|one| one.work(party(1)))
            .collect::<Vec<_>>(),
    );
    let flood = world.fill(2, 3, 10);
    let newcomer = world.fill(3, 1, 10);
    let more = world.fill(2, 20, 10);
    assert!(closed(&newcomer).is_empty());
    assert!(closed(&agents).is_empty());
    assert_eq!(closed(&flood), [0, 1, 2]);
    assert_eq!(closed(&more).len(), 17);
}

#[test]
fn the_agent_that_was_idle_longest_goes_for_one_more_than_fit() {
    let world = world(3);
    let agents = world.fill(1, 3, 0);
    for one in [1, 0, 2] {
        drop(agents[one].work(party(1)));
    }
    assert!(world.admit(1, 0).is_some());
    assert_eq!(closed(&agents), [1]);
}

#[test]
fn who_works_stays_unless_its_party_has_most_of_the_table() {
    let world = world(3);
    let agents: Vec<_> = (1..=3).map(|n| world.admit(n, 0).expect("room")).collect();
    let mut works: Vec<_> = (1..=3)
        .zip(&agents)
        .map(|(n, agent)| agent.work(party(n)))
        .collect();
    assert!(world.admit(4, 60).is_none());
    assert!(closed(&agents).is_empty());
    // One party has two at work: the one that began first goes.
    works.push(agents[1].work(party(3)));
    assert!(world.admit(4, 60).is_some());
    assert_eq!(closed(&agents), [2]);
}

#[test]
fn what_is_under_way_is_at_work_or_has_just_come() {
    let world = world(9);
    let now = |seconds| world.start + Duration::from_secs(seconds);
    let held = world.fill(1, 3, 0);
    assert_eq!(world.all.under_way(now(1)), (3, 3));
    let work = held[0].work(party(1));
    drop(held[1].work(party(1)));
    assert_eq!(world.all.under_way(now(60)), (3, 1));
    drop((work, held));
    assert_eq!(world.all.under_way(now(60)), (0, 0));
}

#[test]
fn what_ends_leaves_its_place() {
    let world = world(2);
    let held = world.fill(1, 2, 0);
    let work = held[0].work(party(1));
    drop((work, held));
    let table = world.all.table();
    assert!(table.open.is_empty() && table.lines.is_empty());
    assert!(table.lengths.iter().all(BTreeSet::is_empty));
    assert_eq!(table.strangers, 0);
    assert_eq!(world.all.metrics.connections_open.get(), 0);
}

#[test]
fn whoever_waits_is_woken_to_end() {
    struct Flag(AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let world = world(1);
    let held = world.fill(1, 1, 0);
    assert!(!held[0].switch.poll(&waker));
    assert!(world.admit(2, 0).is_some());
    assert!(flag.0.load(Ordering::Relaxed));
    assert!(held[0].switch.poll(&waker));
}
