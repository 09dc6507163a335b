//! Open connections: a bounded number, and who goes when another one comes.
//!
//! A full table closes nobody who is of more use than the newcomer may be. In this order: what
//! has shown no credential for a while; strangers, once they fill a quarter of the table; a peer
//! that is known and idle, which will come back; any stranger. Among these, of the party that has
//! most of them the one that has been so longest. What is at work goes only where its party has
//! more than one at work. So neither a flood nor a fleet larger than the table keeps anybody out.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::fair::Party;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::time;

/// Time in which a newcomer should have shown a credential.
const NEWCOMER: Duration = Duration::from_secs(2);

/// How much a connection is worth keeping, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Standing {
    /// No valid credential so far.
    Stranger,
    /// Known, between two requests.
    Idle,
    /// Known, with a request or its answer under way.
    Working,
}

/// One place in the table, as of the moment when it got its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Since {
    at: Instant,
    id: u64,
}

#[derive(Debug)]
struct Open {
    standing: Standing,
    party: Party,
    since: Since,
    switch: Arc<Switch>,
}

/// Tells the task of a connection to end.
#[derive(Debug, Default)]
pub(super) struct Switch {
    off: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Switch {
    /// Whether the connection has to end; if not, `waker` is woken when it has to.
    pub(super) fn poll(&self, waker: &Waker) -> bool {
        if self.off.load(Ordering::Acquire) {
            return true;
        }
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        drop(known);
        self.off.load(Ordering::Acquire)
    }

    /// Whether it was told to end.
    pub(super) fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    fn turn_off(&self) {
        self.off.store(true, Ordering::Release);
        let known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = known.as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Connections of one standing and party, longest first.
type Line = BTreeSet<Since>;

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Open>,
    lines: HashMap<(Standing, Party), Line>,
    /// Parties of each standing by the length of their lines.
    lengths: [BTreeSet<(usize, Party)>; 3],
    strangers: usize,
}

impl Table {
    fn enter(&mut self, standing: Standing, party: Party, since: Since) {
        let line = self.lines.entry((standing, party)).or_default();
        let lengths = &mut self.lengths[standing as usize];
        lengths.remove(&(line.len(), party));
        line.insert(since);
        lengths.insert((line.len(), party));
        self.strangers += usize::from(standing == Standing::Stranger);
    }

    fn leave(&mut self, standing: Standing, party: Party, since: Since) {
        let Some(line) = self.lines.get_mut(&(standing, party)) else {
            return;
        };
        let lengths = &mut self.lengths[standing as usize];
        lengths.remove(&(line.len(), party));
        line.remove(&since);
        if line.is_empty() {
            self.lines.remove(&(standing, party));
        } else {
            lengths.insert((line.len(), party));
        }
        self.strangers -= usize::from(standing == Standing::Stranger);
    }

    fn remove(&mut self, id: u64) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.leave(open.standing, open.party, open.since);
        Some(open)
    }

    /// The longest line of a standing, and who stands first in it.
    fn longest(&self, standing: Standing) -> Option<(usize, Since)> {
        let (length, party) = self.lengths[standing as usize].last()?;
        let line = self.lines.get(&(standing, *party))?;
        Some((*length, *line.first()?))
    }

    /// Who has to go for a newcomer, in a table of `most`.
    fn victim(&self, most: usize, now: Instant) -> Option<u64> {
        let stranger = self.longest(Standing::Stranger);
        let late = |since: &Since| now.duration_since(since.at) >= NEWCOMER;
        let crowd = self.strangers > most / 4;
        let overdue = stranger.filter(|(_, since)| crowd || late(since));
        let (_, since) = overdue
            .or_else(|| self.longest(Standing::Idle))
            .or(stranger)
            .or_else(|| {
                self.longest(Standing::Working)
                    .filter(|(length, _)| *length > 1)
            })?;
        Some(since.id)
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    next: AtomicU64,
    table: Mutex<Table>,
    metrics: Arc<Metrics>,
    lines: Limiter,
}

impl Connections {
    pub(super) fn new(most: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            most,
            next: AtomicU64::new(0),
            table: Mutex::default(),
            metrics,
            lines: Limiter::new(),
        })
    }

    /// A place for a new connection; `None` when all others are of more use.
    pub(super) fn admit(self: &Arc<Self>, party: Party, now: Instant) -> Option<Connection> {
        let mut table = self.table();
        if table.open.len() >= self.most {
            let victim = table.victim(self.most, now)?;
            if let Some(open) = table.remove(victim) {
                open.switch.turn_off();
                self.metrics.connections_open.leave();
                self.metrics.connections_closed_for_others_total.add(1);
                if let Some(suppressed) = self.lines.admit(time::now_ms()) {
                    let most = self.most;
                    log::warn!(most, suppressed; "connections full, one closed for another");
                }
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let since = Since { at: now, id };
        let switch = Arc::<Switch>::default();
        let open = Open {
            standing: Standing::Stranger,
            party,
            since,
            switch: Arc::clone(&switch),
        };
        table.enter(open.standing, party, since);
        table.open.insert(id, open);
        self.metrics.connections_open.add(1);
        Some(Connection {
            all: Arc::clone(self),
            id,
            switch,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing for one that was told to end.
    fn set(&self, id: u64, standing: Standing, party: Option<Party>) {
        let mut table = self.table();
        let Some(open) = table.open.get(&id) else {
            return;
        };
        let (old, was, since) = (open.standing, open.party, open.since);
        table.leave(old, was, since);
        let party = party.unwrap_or(was);
        let since = Since {
            at: time::monotonic(),
            id,
        };
        table.enter(standing, party, since);
        if let Some(open) = table.open.get_mut(&id) {
            (open.standing, open.party, open.since) = (standing, party, since);
        }
    }
}

/// A place in the table, given back when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    id: u64,
    switch: Arc<Switch>,
}

impl Connection {
    /// What tells its task to end.
    pub(super) fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }

    /// A request of a party with a valid credential begins.
    pub(super) fn work(self: &Arc<Self>, party: Party) -> Working {
        self.all.set(self.id, Standing::Working, Some(party));
        Working(Arc::clone(self))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.all.table().remove(self.id).is_some() {
            self.all.metrics.connections_open.leave();
        }
    }
}

/// A request and its answer; the connection is idle when it is dropped.
#[derive(Debug)]
pub(super) struct Working(Arc<Connection>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.all.set(self.0.id, Standing::Idle, None);
    }
}

#[cfg(test)]
mod tests {
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
}
