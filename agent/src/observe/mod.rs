//! Connections without eBPF: from packet sockets, the kernel's lists of sockets, and `/proc`.
//!
//! ```text
//! packet socket --filter--> frame -> table --reports--> owner (which process) --> event::Connection
//! NETLINK_SOCK_DIAG: lists of open sockets, news of closed ones -^
//! ```
//!
//! Everything is opened before the agent is confined ([`Opened`]) and read on the event loop's tick
//! ([`Observer`]), never packet by packet: what costs is waking up.

mod arrivals;
pub(crate) mod diag;
mod entry;
mod filter;
pub(crate) mod frame;
mod lister;
mod namespace;
mod open;
mod owner;
mod table;
mod waybill;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use log::warn;
use wire::Role;

use crate::aggregate::Now;
use crate::config::Config;
use crate::event::{Connection, What};
use crate::metrics::Metrics;

use diag::Socket;
use entry::Report;
use frame::Beginning;
use namespace::{Buffers, Namespace};
use owner::{Owner, Owners, Place};
use table::{Losses, Table};
use waybill::{Fates, Reader};

pub(crate) use filter::filter;
pub use lister::Lister;
pub(crate) use namespace::list;
pub use open::{Opened, open};

/// How often sockets are read.
pub const TICK: Duration = Duration::from_millis(200);

/// News of each namespace taken in one look, before the packets that explain them.
const NEWS: usize = 1024;
/// Batches of packets of each namespace read in one look.
const BATCHES: usize = 16;
/// Looks after which all packets have been read that waited at the first one: more than fit into the
/// largest buffer.
pub const MAX_LOOKS: u32 = 256;
/// Owners asked for one by one in one turn.
const ASKED: usize = 32;
/// Open connections without an owner that are remembered.
const MAX_NAMELESS: usize = 65_536;
/// Listeners are listed again this often although nobody called for it.
const LISTENERS_EVERY_NS: u64 = 30_000_000_000;
/// ... and at most this often when somebody did.
const LISTENERS_PAUSE_NS: u64 = 1_000_000_000;
/// Whose connections go where is found out anew this often.
const CLIENTS_EVERY_NS: u64 = 60_000_000_000;

/// What the event loop reads connections from.
#[derive(Debug)]
pub struct Observer {
    spaces: Vec<Namespace>,
    missed_spaces: u64,
    beginning: Beginning,
    table: Table,
    owners: Owners,
    buffers: Buffers,
    counted: Counted,
    listeners_ns: u64,
    clients_ns: u64,
    call_for_listeners: bool,
    /// What waits for the packets before it to be read, and for how many looks.
    news: Vec<(u16, Socket)>,
    looks_for_news: u32,
    settled_ns: u64,
    /// Open connections that were reported before it was known whose they are.
    nameless: HashSet<u64>,
}

/// What this module itself counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    packets: u64,
    invalid: u64,
    drops: u64,
    news: u64,
    news_lost: u64,
    lists_failed: u64,
    unknown_owners: u64,
}

impl Observer {
    /// Begins to watch what was opened; `told` when the kernel tells of closed sockets.
    #[must_use]
    pub fn new(opened: Opened, config: &Config, (proc, cgroups): (&Path, &Path)) -> Self {
        let netns = opened.spaces.iter().map(|space| space.inode).collect();
        let limit = config.limits.connections as usize;
        let reader = Reader::new(&config.keys);
        Self {
            table: Table::new(limit, opened.told, netns, reader),
            spaces: opened.spaces,
            missed_spaces: opened.missed,
            beginning: opened.beginning,
            owners: Owners::new(Place {
                proc: proc.to_owned(),
                cgroups: cgroups.to_owned(),
                scope: config.scope.cgroup.clone(),
            }),
            buffers: Buffers::new(),
            counted: Counted::default(),
            listeners_ns: 0,
            clients_ns: 0,
            call_for_listeners: true,
            news: Vec::new(),
            looks_for_news: 0,
            settled_ns: 0,
            nameless: HashSet::new(),
        }
    }

    /// Takes over the connections that were there before.
    pub fn adopt(&mut self, now: Now) -> Vec<Connection> {
        let now_ns = now.monotonic_ns();
        self.list_listeners(now_ns);
        self.list_open(now_ns, true);
        self.owners.look();
        self.finish()
    }

    /// Reads what happened since the last call, as much as one look may take; true when there may be
    /// more.
    ///
    /// # Errors
    /// A socket cannot be read any more.
    pub fn tick(&mut self, now: Now) -> Result<(Vec<Connection>, bool)> {
        let now_ns = now.monotonic_ns();
        // News are younger than the packets that explain them, so these are read after them and
        // folded before them, if it takes several looks.
        let mut more = false;
        if self.news.is_empty() {
            more = self.take_news(now);
            self.looks_for_news = 0;
        }
        let packets = self.read_packets(now)?;
        self.looks_for_news += 1;
        if !packets || self.looks_for_news >= MAX_LOOKS {
            for (space, socket) in std::mem::take(&mut self.news) {
                let role = self.owners.role(space, socket.local);
                self.table.closed(space, &socket, role, now_ns);
            }
        }
        more |= packets;
        let tick_ns = u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX);
        if !more || now_ns.saturating_sub(self.settled_ns) >= tick_ns {
            self.settled_ns = now_ns;
            self.table.settle(now_ns);
            self.find_owners(now_ns);
        }
        Ok((self.finish(), more))
    }

    /// Lists the open connections: their numbers, and what is gone without a word.
    pub fn snapshot(&mut self, now: Now) -> Vec<Connection> {
        self.list_open(now.monotonic_ns(), false);
        self.finish()
    }

    fn take_news(&mut self, now: Now) -> bool {
        let mut more = false;
        for (space, index) in self.spaces.iter_mut().zip(0_u16..) {
            let (counted, news) = (&mut self.counted, &mut self.news);
            let taken = space.take_news(NEWS, |socket| {
                counted.news += 1;
                match socket {
                    Some(socket) => news.push((index, socket)),
                    None => counted.invalid += 1,
                }
            });
            more |= taken.more;
            if taken.lost {
                self.counted.news_lost += 1;
                self.table.mistrust(now.monotonic_ns());
            }
        }
        more
    }

    /// True when there may be more.
    fn read_packets(&mut self, now: Now) -> Result<bool> {
        let zero_ns = now.monotonic_zero_ns;
        let mut more = false;
        for (space, index) in self.spaces.iter().zip(0_u16..) {
            let mut unread = true;
            for _ in 0..BATCHES {
                let table = &mut self.table;
                let looked = space.read(
                    &mut self.buffers,
                    (index, self.beginning, zero_ns),
                    |seen, segment| table.segment(seen, segment),
                )?;
                self.counted.packets += looked.packets;
                self.counted.invalid += looked.invalid;
                if !looked.more {
                    unread = false;
                    break;
                }
            }
            more |= unread;
            let drops = space.drops()?;
            if drops > 0 {
                self.counted.drops += drops;
                self.table.missed_packets(now.monotonic_ns());
            }
        }
        Ok(more)
    }

    /// Finds out who has the sockets of new connections, as long as they are open.
    fn find_owners(&mut self, now_ns: u64) {
        let since = now_ns.saturating_sub(self.listeners_ns);
        let called = self.call_for_listeners && since >= LISTENERS_PAUSE_NS;
        if called || since >= LISTENERS_EVERY_NS {
            self.list_listeners(now_ns);
        }
        if now_ns.saturating_sub(self.clients_ns) >= CLIENTS_EVERY_NS {
            self.clients_ns = now_ns;
            self.owners.forget_clients();
        }
        let mut asked = 0;
        let mut found = HashSet::new();
        // The newest first: they are the likeliest to be still open.
        for key in self.table.take_fresh().into_iter().rev() {
            let end = (key.space, key.remote);
            if asked >= ASKED || !self.owners.is_unknown(end.0, end.1) || found.contains(&end) {
                continue;
            }
            asked += 1;
            let Some(space) = self.spaces.get_mut(usize::from(key.space)) else {
                continue;
            };
            if let Ok(Some(socket)) = space.ask(key.local, key.remote) {
                found.insert(end);
                self.owners.want(socket.inode);
                self.table.own(&key, socket.inode);
            }
        }
        self.owners.look();
    }

    fn list_listeners(&mut self, now_ns: u64) {
        self.listeners_ns = now_ns;
        self.call_for_listeners = false;
        self.owners.forget_listeners();
        for (space, index) in self.spaces.iter_mut().zip(0_u16..) {
            let owners = &mut self.owners;
            let listed = space.list(diag::LISTENING, |socket| {
                if let Some(socket) = socket {
                    owners.listens(index, socket.local, socket.inode);
                }
            });
            if let Err(error) = listed {
                self.counted.lists_failed += 1;
                warn!(error:% = error; "listeners not listed");
            }
            if let Err(error) = space.refresh_addresses() {
                self.counted.lists_failed += 1;
                warn!(error:% = error; "addresses not listed");
            }
        }
    }

    fn list_open(&mut self, now_ns: u64, first: bool) {
        let mut open = HashSet::new();
        let mut whole = true;
        self.table.begin_list();
        for (space, index) in self.spaces.iter_mut().zip(0_u16..) {
            let (table, owners) = (&mut self.table, &mut self.owners);
            let listed = space.list(diag::CONNECTED, |socket| {
                let Some(socket) = socket else { return };
                let role = owners.role(index, socket.local);
                owners.want(socket.inode);
                open.insert(socket.inode);
                table.listed(index, &socket, (role, first), now_ns);
            });
            if let Err(error) = listed {
                whole = false;
                self.counted.lists_failed += 1;
                warn!(error:% = error; "open connections not listed");
            }
        }
        if whole {
            self.owners.keep(&open);
            self.table.end_list(now_ns);
        }
        self.owners.find_own();
    }

    /// Reports with their processes; what is out of scope is left out.
    fn finish(&mut self) -> Vec<Connection> {
        let reports = self.table.take_reports();
        let finished = reports.into_iter().filter_map(|report| self.name(report));
        finished.collect()
    }

    fn name(&mut self, report: Report) -> Option<Connection> {
        let mut connection = report.connection;
        let ends = (connection.local, connection.remote);
        let side = (report.space, connection.role);
        if connection.role == Role::Server && self.owners.listener(report.space, ends.0).is_none() {
            self.call_for_listeners = true;
        }
        match self.owners.of(side, ends, report.inode) {
            // What was said of it before it was known whose it is must not stay open for ever.
            Owner::Foreign if self.nameless.remove(&connection.id) => {
                connection.what = What::Stale;
            }
            Owner::Foreign => return None,
            Owner::Process(process) => connection.process = process,
            Owner::Unknown => {
                let is_end = connection.what == What::Closed;
                self.counted.unknown_owners += u64::from(is_end);
                if !is_end && self.nameless.len() < MAX_NAMELESS {
                    self.nameless.insert(connection.id);
                }
            }
        }
        if matches!(connection.what, What::Closed | What::Stale) {
            self.nameless.remove(&connection.id);
        }
        Some(connection)
    }

    /// Publishes what was counted.
    pub fn publish(&self, metrics: &Metrics) {
        let Losses {
            full,
            unclaimed,
            unseen,
        } = self.table.losses();
        let Fates {
            read,
            bad_mac,
            malformed,
            unknown_epoch,
        } = self.table.reader().fates();
        let counted = &self.counted;
        metrics.observe_packets_total.set(counted.packets);
        metrics.observe_packets_dropped_total.set(counted.drops);
        metrics
            .observe_packets_dropped_invalid_total
            .set(counted.invalid);
        metrics.observe_news_total.set(counted.news);
        metrics.observe_news_dropped_total.set(counted.news_lost);
        metrics.observe_lists_failed_total.set(counted.lists_failed);
        metrics.observe_connections_dropped_full_total.set(full);
        metrics.observe_connections_unclaimed_total.set(unclaimed);
        metrics.observe_connections_unseen_total.set(unseen);
        metrics
            .observe_owners_unknown_total
            .set(counted.unknown_owners);
        metrics
            .observe_owners_dropped_full_total
            .set(self.owners.forgotten());
        metrics.observe_owners_looks_total.set(self.owners.looks());
        metrics
            .observe_arrivals_dropped_total
            .set(self.table.arrivals_dropped());
        metrics.observe_connections.set(self.table.len() as u64);
        metrics.observe_namespaces.set(self.spaces.len() as u64);
        metrics.observe_namespaces_missed.set(self.missed_spaces);
        metrics.option_read_total.set(read);
        metrics.option_bad_mac_total.set(bad_mac);
        metrics.option_malformed_total.set(malformed);
        metrics.option_unknown_epoch_total.set(unknown_epoch);
    }
}
