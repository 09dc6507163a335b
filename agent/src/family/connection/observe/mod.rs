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
mod entry;
mod lister;
mod namespace;
mod open;
mod reading;
mod role;
mod round;
mod table;
mod waiting;
mod waybill;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bpf::abi;
use log::{info, warn};
use wire::Role;

use crate::clock::Now;
use crate::config::{self, Config};
use crate::family::connection::event::Connection;
use crate::family::process::{Found, Owner, Owners, Past, Place};
use crate::frame::OptionPrefix;
use crate::metrics::Metrics;
use crate::netns::Census;
use crate::sock_diag;

use entry::{Key, Report};
use namespace::Namespace;
use round::Round;
use table::{Losses, Table};
use waiting::{Doubts, Waiting};
use waybill::{Fates, Reader};

pub use lister::Lister;
pub use open::{Opened, open};

/// How often sockets are read.
pub const TICK: Duration = Duration::from_millis(200);

/// Turns after which all that waited at the first one has been read: more than fits into the largest
/// buffers.
pub const MAX_LOOKS: u32 = 256;
/// Sockets asked for one by one in one turn, and those among them of services whose processes are
/// known.
const ASKED: usize = 32;
const ASKED_KNOWN: usize = 8;
/// Listeners are listed again this often although nobody called for it.
const LISTENERS_EVERY_NS: u64 = 30_000_000_000;
/// ... and at most this often when somebody did.
const LISTENERS_PAUSE_NS: u64 = 1_000_000_000;
/// Whose connections go where is found out anew this often.
const ENDS_EVERY_NS: u64 = 60_000_000_000;

/// What the event loop reads connections from.
#[derive(Debug)]
pub struct Observer {
    /// By their order at the start; the first is the agent's own.
    spaces: BTreeMap<u16, Namespace>,
    missed_spaces: u64,
    census: Census,
    round: Option<Round>,
    /// Packets or news wait to be read.
    behind: bool,
    asked_ns: u64,
    prefix: OptionPrefix,
    table: Table,
    owners: Owners,
    counted: Counted,
    listeners_ns: u64,
    ends_ns: u64,
    call_for_listeners: bool,
    waiting: Waiting,
    /// Owners that were known when what waits was last tried.
    tried: u64,
}

/// What this module itself counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    attempted: u64,
    packets: u64,
    invalid: u64,
    drops: u64,
    news: u64,
    news_lost: u64,
    lists_failed: u64,
    spaces_left: u64,
}

impl Observer {
    /// Waybills are judged by these keys from now on.
    pub fn change_keys(&mut self, keys: &[config::Key]) {
        self.table.change_keys(keys);
    }

    /// Begins to watch what was opened; `told` when the kernel tells of closed sockets.
    #[must_use]
    pub fn new(opened: Opened, config: &Config, (proc, cgroups): (&Path, &Path)) -> Self {
        let netns = opened.spaces.iter().map(|space| space.inode).collect();
        let limit = config.limits.connections as usize;
        let reader = Reader::new(&config.keys);
        Self {
            table: Table::new(limit, opened.told, netns, reader),
            spaces: (0..).zip(opened.spaces).collect(),
            missed_spaces: opened.missed,
            census: Census::new(proc.to_owned()),
            round: None,
            behind: false,
            asked_ns: 0,
            prefix: opened.prefix,
            owners: Owners::new(
                Place {
                    proc: proc.to_owned(),
                    cgroups: cgroups.to_owned(),
                    scope: config.scope.cgroup.clone(),
                },
                limit,
            ),
            counted: Counted::default(),
            listeners_ns: 0,
            ends_ns: 0,
            call_for_listeners: true,
            waiting: Waiting::default(),
            tried: 0,
        }
    }

    /// Takes over the connections that were there before.
    pub fn adopt(&mut self, now: Now) -> Vec<Connection> {
        let now_ns = now.monotonic_ns();
        self.list_listeners(now_ns);
        self.list_open(now_ns, true);
        self.owners.look_now();
        self.finish(now_ns)
    }

    /// Lists the open connections: their numbers, and what is gone without a word.
    pub fn snapshot(&mut self, now: Now) -> Vec<Connection> {
        self.leave_empty();
        let now_ns = now.monotonic_ns();
        self.list_open(now_ns, false);
        self.owners.look();
        self.finish(now_ns)
    }

    /// Gives back the namespaces in which no process is left; what was open there ends as what two
    /// lists do not show.
    fn leave_empty(&mut self) {
        let others = self.spaces.iter_mut().skip(1);
        let others = others.map(|(key, space)| (*key, &mut space.tenants));
        for key in self.census.left(others) {
            if let Some(space) = self.spaces.remove(&key) {
                self.counted.spaces_left += 1;
                info!(inode = space.inode; "network namespace left: no process is in it");
            }
        }
    }

    /// Finds out who has the sockets of new connections, as long as they are open.
    fn find_owners(&mut self, now_ns: u64) {
        let since = now_ns.saturating_sub(self.listeners_ns);
        let called = self.call_for_listeners && since >= LISTENERS_PAUSE_NS;
        if called || since >= LISTENERS_EVERY_NS {
            self.list_listeners(now_ns);
        }
        if now_ns.saturating_sub(self.ends_ns) >= ENDS_EVERY_NS {
            self.ends_ns = now_ns;
            self.owners.forget_ends();
        }
        let (mut asked, mut asked_known) = (0, 0);
        // The newest first: they are the likeliest to be still open.
        for (key, role) in self.table.take_fresh().into_iter().rev() {
            let known = self.owners.is_known((key.space, role), key.service(role));
            if asked >= ASKED || (known && asked_known >= ASKED_KNOWN) {
                continue;
            }
            asked += 1;
            asked_known += usize::from(known);
            self.ask(&key, role);
        }
        self.owners.look();
    }

    /// Asks for the socket of a connection, and whether it is somebody's who is known.
    fn ask(&mut self, key: &Key, role: Role) {
        let Some(space) = self.spaces.get_mut(&key.space) else {
            return;
        };
        let Ok(Some(socket)) = space.ask(key.local, key.remote) else {
            return;
        };
        self.table.own(key, &socket);
        let (side, service) = ((key.space, role), key.service(role));
        // Nobody has accepted it yet.
        if socket.inode == 0 || self.owners.ask_known(side, service, socket.inode) {
            return;
        }
        self.owners.want(socket.inode);
        // If it is still open now, it was none of theirs.
        let again = space.ask(key.local, key.remote);
        let is_open = again.is_ok_and(|again| again.is_some_and(|one| one.inode == socket.inode));
        if is_open && role == Role::Client {
            self.owners.is_strange(key.space, service, socket.inode);
        }
    }

    fn list_listeners(&mut self, now_ns: u64) {
        self.listeners_ns = now_ns;
        self.call_for_listeners = false;
        self.owners.forget_listeners();
        for (index, space) in &mut self.spaces {
            let owners = &mut self.owners;
            let listed = space.list(sock_diag::LISTENING, |socket| {
                if let Some(socket) = socket {
                    owners.listens(*index, socket.local, socket.inode);
                }
            });
            if let Err(error) = listed {
                self.counted.lists_failed += 1;
                warn!(error:% = error; "listeners not listed");
            }
            match space.refresh_addresses() {
                Ok(false) => {}
                Ok(true) => self.counted.lists_failed += 1,
                Err(error) => {
                    self.counted.lists_failed += 1;
                    warn!(error:% = error; "addresses not listed");
                }
            }
        }
    }

    fn list_open(&mut self, now_ns: u64, first: bool) {
        let mut whole = true;
        self.table.begin_list();
        self.owners.begin_list();
        for (index, space) in &mut self.spaces {
            let (table, owners) = (&mut self.table, &mut self.owners);
            let listed = space.list(sock_diag::CONNECTED, |socket| {
                let Some(socket) = socket else { return };
                let role = role::of(owners, *index, &socket);
                owners.want(socket.inode);
                table.listed(*index, &socket, (role, first), now_ns);
            });
            if let Err(error) = listed {
                whole = false;
                self.counted.lists_failed += 1;
                warn!(error:% = error; "open connections not listed");
            }
        }
        match whole {
            true => self.owners.end_list(),
            false => self.owners.fail_list(),
        }
        // What the list lacks may be explained by what waits to be read.
        if whole && !self.behind {
            self.table.end_list(now_ns);
        }
        self.owners.find_own();
    }

    /// What was seen since the last call of the owners of connections, which may have ended by now.
    pub fn take_past(&mut self) -> Past {
        self.owners.take_past()
    }

    /// The agent ends: from now on nothing waits until it is known whose it is.
    pub const fn end(&mut self) {
        self.waiting.end();
    }

    /// Reports with their processes, as far as they need not wait; what is out of scope is left out.
    fn finish(&mut self, now_ns: u64) -> Vec<Connection> {
        let found = self.owners.found_total();
        let is_news = std::mem::replace(&mut self.tried, found) != found;
        let waited = self.waiting.take_ended(now_ns, is_news);
        let reports = self.table.take_reports();
        let reports = waited
            .into_iter()
            .chain(reports.into_iter().map(|report| (now_ns, report)));
        let mut finished = Vec::new();
        for (since_ns, report) in reports {
            self.name((since_ns, report), now_ns, &mut finished);
        }
        finished
    }

    fn name(
        &mut self,
        (since_ns, mut report): (u64, Report),
        now_ns: u64,
        out: &mut Vec<Connection>,
    ) {
        let connection = &report.connection;
        let ends = (connection.local, connection.remote);
        let side = (report.space, connection.role);
        let mut found = self.owners.of(side, ends, (report.inode, report.cgroup_id));
        if connection.role == Role::Server && self.owners.listener(report.space, ends.0).is_none() {
            self.call_for_listeners = true;
            // Who accepts comes before who has it, and its listener may be younger than their list.
            if connection.start_ns > self.listeners_ns && matches!(found.owner, Owner::Process(_)) {
                found = Found::NOBODY;
            }
        }
        let hopeless = self.owners.is_hopeless(report.inode);
        if found.owner == Owner::Unknown {
            let birthplace = self.owners.birthplace(side.1, report.cgroup_id);
            report.connection.process.cgroup_id = birthplace;
        }
        self.waiting
            .take((since_ns, report), found, (hopeless, now_ns), out);
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
        let Doubts {
            unknown,
            guessed,
            full: no_room,
        } = self.waiting.doubts();
        let counted = &self.counted;
        metrics
            .observe_packets_attempted_total
            .set(counted.attempted);
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
        metrics.observe_owners_unknown_total.set(unknown);
        metrics.observe_owners_guessed_total.set(guessed);
        metrics
            .observe_owners_dropped_full_total
            .set(self.owners.forgotten() + no_room);
        metrics.observe_owners_looks_total.set(self.owners.looks());
        metrics
            .observe_arrivals_dropped_total
            .set(self.table.arrivals_dropped());
        metrics.observe_connections.set(self.table.len() as u64);
        metrics
            .observe_connections_waiting
            .set(self.waiting.len() as u64);
        metrics.observe_namespaces.set(self.spaces.len() as u64);
        metrics.observe_namespaces_missed.set(self.missed_spaces);
        metrics
            .observe_namespaces_left_total
            .set(counted.spaces_left);
        metrics.kernel(abi::WB_COUNT_OPTION_READ).set(read);
        metrics.kernel(abi::WB_COUNT_OPTION_BAD_MAC).set(bad_mac);
        metrics
            .kernel(abi::WB_COUNT_OPTION_MALFORMED)
            .set(malformed);
        metrics
            .kernel(abi::WB_COUNT_OPTION_UNKNOWN_EPOCH)
            .set(unknown_epoch);
    }
}
