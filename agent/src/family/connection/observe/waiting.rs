//! Reports wait until it is known whose they are, within bounds: what was once told as nobody's stays
//! nobody's. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use super::entry::Report;
use crate::family::connection::event::{Connection, ReportReason};
use crate::family::process::{Found, Owner};

/// Connections that wait, and that were told without an owner; each is remembered by its number.
const MAX_OPEN: usize = 65_536;
/// Ended connections that wait, each with all that is known of it.
const MAX_ENDED: usize = 8192;
/// Lists of open sockets after which what other connections tell is believed of an open one.
const MAX_LISTS: u8 = 2;
/// An open connection is told after this long, whatever is known.
const OPEN_NS: u64 = 60_000_000_000;
/// ... and one that ended after this long: in the first seconds of a service its listener is found,
/// and what waits is lost with an agent that is killed.
const ENDED_NS: u64 = 5_000_000_000;

/// What is told without being sure whose it is; each is a counter of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Connections of nobody who is known.
    pub(super) unknown: u64,
    /// Connections whose owner other connections of the service told.
    pub(super) guessed: u64,
    /// Connections that found no room to wait, or to be remembered.
    pub(super) full: u64,
}

/// A connection that is open.
#[derive(Debug)]
struct Open {
    since_ns: u64,
    lists: u8,
    /// What the list of those that are older than the agent said of it.
    adopted: Option<Connection>,
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    open: HashMap<u64, Open>,
    ended: VecDeque<(u64, Report)>,
    /// Open connections that were told without an owner, or with one that was guessed.
    told: HashSet<u64>,
    is_over: bool,
    doubts: Doubts,
}

impl Waiting {
    /// What was told in doubt so far.
    pub(super) const fn doubts(&self) -> Doubts {
        self.doubts
    }

    /// Connections that wait now.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.ended.len()
    }

    /// The agent ends: nothing waits any more.
    pub(super) const fn end(&mut self) {
        self.is_over = true;
    }

    /// Ended connections whose time is over, or all of them; they are to be taken in again.
    pub(super) fn take_ended(&mut self, now_ns: u64, all: bool) -> Vec<(u64, Report)> {
        let is_due = |since_ns: u64| now_ns.saturating_sub(since_ns) >= ENDED_NS;
        let due = match all || self.is_over {
            true => self.ended.len(),
            // They came in the order of their times.
            false => self
                .ended
                .partition_point(|(since_ns, _)| is_due(*since_ns)),
        };
        self.ended.drain(..due).collect()
    }

    /// Takes in a report that came, or waits since `since_ns`, with what is known of its owner;
    /// `hopeless` when nobody will be found for an open one. What is to be told goes to `out`.
    pub(super) fn take(
        &mut self,
        (since_ns, report): (u64, Report),
        found: Found,
        (hopeless, now_ns): (bool, u64),
        out: &mut Vec<Connection>,
    ) {
        let id = report.connection.id;
        match found.owner {
            Owner::Foreign => self.leave_out(report, out),
            Owner::Process(_) | Owner::Unknown if self.told.contains(&id) => {
                self.tell(report.connection, found.owner, out);
            }
            Owner::Process(_) if found.direct => self.tell(report.connection, found.owner, out),
            Owner::Process(_) | Owner::Unknown => {
                let wait = match report.connection.reason {
                    ReportReason::Adopted | ReportReason::Live => {
                        self.holds_open(&report, found, hopeless, now_ns)
                    }
                    ReportReason::Closed | ReportReason::Stale => {
                        self.holds_ended(since_ns, found, now_ns)
                    }
                };
                match (wait, report.connection.reason) {
                    (false, _) => self.doubt(report.connection, found.owner, out),
                    (true, ReportReason::Closed | ReportReason::Stale) => {
                        self.ended.push_back((since_ns, report))
                    }
                    (true, ReportReason::Adopted | ReportReason::Live) => {}
                }
            }
        }
    }

    /// Whether an open connection is to wait; then it is remembered.
    fn holds_open(&mut self, report: &Report, found: Found, hopeless: bool, now_ns: u64) -> bool {
        let connection = &report.connection;
        let is_full = self.open.len() >= MAX_OPEN && !self.open.contains_key(&connection.id);
        if is_full || self.is_over || hopeless {
            self.doubts.full += u64::from(is_full);
            return false;
        }
        let open = self.open.entry(connection.id).or_insert(Open {
            since_ns: now_ns,
            lists: 0,
            adopted: None,
        });
        if connection.reason == ReportReason::Adopted {
            open.adopted = Some(connection.clone());
            return true;
        }
        open.lists = open.lists.saturating_add(1);
        let is_guessed = found.owner != Owner::Unknown && open.lists > MAX_LISTS;
        !is_guessed && now_ns.saturating_sub(open.since_ns) < OPEN_NS
    }

    fn holds_ended(&mut self, since_ns: u64, found: Found, now_ns: u64) -> bool {
        if found.owner != Owner::Unknown || self.is_over {
            return false;
        }
        let is_full = self.ended.len() >= MAX_ENDED;
        self.doubts.full += u64::from(is_full);
        !is_full && now_ns.saturating_sub(since_ns) < ENDED_NS
    }

    /// Tells of a connection of which nobody is sure whose it is.
    fn doubt(&mut self, connection: Connection, owner: Owner, out: &mut Vec<Connection>) {
        match owner {
            Owner::Unknown => self.doubts.unknown += 1,
            Owner::Process(_) | Owner::Foreign => self.doubts.guessed += 1,
        }
        let is_open = matches!(
            connection.reason,
            ReportReason::Adopted | ReportReason::Live
        );
        if is_open && self.told.len() < MAX_OPEN {
            self.told.insert(connection.id);
        } else if is_open {
            self.doubts.full += 1;
        }
        self.tell(connection, owner, out);
    }

    fn tell(&mut self, mut connection: Connection, owner: Owner, out: &mut Vec<Connection>) {
        if let Owner::Process(process) = owner {
            connection.process = process;
        }
        if let Some(open) = self.open.remove(&connection.id)
            && let Some(mut adopted) = open.adopted
            && connection.reason != ReportReason::Adopted
        {
            adopted.process = connection.process;
            out.push(adopted);
        }
        self.forget_if_ended(&connection);
        out.push(connection);
    }

    /// It is none of this agent's business; what was said of it before that was known must not stay
    /// open for ever.
    fn leave_out(&mut self, report: Report, out: &mut Vec<Connection>) {
        let mut connection = report.connection;
        self.open.remove(&connection.id);
        if self.told.remove(&connection.id) {
            connection.reason = ReportReason::Stale;
            out.push(connection);
        }
    }

    fn forget_if_ended(&mut self, connection: &Connection) {
        if matches!(
            connection.reason,
            ReportReason::Closed | ReportReason::Stale
        ) {
            self.told.remove(&connection.id);
        }
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
