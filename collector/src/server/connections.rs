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

    /// Connections that are open, and those of them that are at work or have just come.
    pub(super) fn under_way(&self, now: Instant) -> (usize, usize) {
        let table = self.table();
        let busy = table.open.values().filter(|open| match open.standing {
            Standing::Stranger => now.duration_since(open.since.at) < NEWCOMER,
            Standing::Idle => false,
            Standing::Working => true,
        });
        (table.open.len(), busy.count())
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
mod tests;
