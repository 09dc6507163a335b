//! Open connections for programs on kernels without iterators (before 5.8): the kernel's lists of
//! sockets say what there is and what each has counted, the programs' table whose it is.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result};
use bpf::abi;
use log::{info, warn};
use wire::{Endpoint, Role};

use super::role;
use crate::clock::Now;
use crate::config::Config;
use crate::family::connection::event::{self, Connection, ReportReason};
use crate::family::process::{Owner, Owners, Place};
use crate::metrics::Metrics;
use crate::netlink::Route;
use crate::netns::{self, Census, Reached, Tenants};
use crate::sock_diag::{self, Socket};

/// The lists of the network namespaces in reach.
#[derive(Debug)]
pub struct Lister {
    /// By their order at the start; the first is the agent's own.
    spaces: BTreeMap<u16, Space>,
    census: Census,
    owners: Owners,
    older: Older,
    /// The connections older than the agent until they are taken.
    first: Vec<Connection>,
    whole: bool,
    missed: u64,
    left: u64,
    failed: u64,
}

#[derive(Debug)]
struct Space {
    inode: u32,
    diag: Route,
    tenants: Tenants,
}

impl Lister {
    /// Opens the lists of the own network namespace and of every other one with a process in scope.
    ///
    /// # Errors
    /// The own namespace cannot be listed; others are counted and left out.
    pub fn open(config: &Config, (proc, cgroups): (&Path, &Path)) -> Result<Self> {
        let place = (proc, config.scope.cgroup.as_str());
        let reached = netns::open_all(place, |_| Space::open());
        let own = "list the sockets of the own network namespace";
        let Reached { all, missed } = reached.context(own)?;
        Ok(Self {
            spaces: (0..).zip(all).collect(),
            census: Census::new(proc.to_owned()),
            owners: Owners::new(
                Place {
                    proc: proc.to_owned(),
                    cgroups: cgroups.to_owned(),
                    scope: config.scope.cgroup.clone(),
                },
                config.limits.connections as usize,
            ),
            older: Older::new(config.limits.connections as usize),
            first: Vec::new(),
            whole: true,
            missed,
            left: 0,
            failed: 0,
        })
    }

    /// Takes over what is open; each listener in scope is told to `listener` with its network
    /// namespace and port. Before the agent is confined: whose a socket is, is not to be told later.
    pub fn adopt(&mut self, now: Now, mut listener: impl FnMut(u32, u16, abi::wb_process)) {
        let mut listening = Vec::new();
        self.list(sock_diag::LISTENING, |owners, index, netns, socket| {
            if owners.listens(index, socket.local, socket.inode) {
                listening.push((index, netns, socket));
            }
        });
        let (mut open, limit, mut full) = (Vec::new(), self.older.limit, 0);
        self.list(sock_diag::CONNECTED, |owners, index, netns, socket| {
            if !matches!(socket.state, sock_diag::ESTABLISHED | sock_diag::CLOSE_WAIT) {
                return;
            }
            if open.len() < limit {
                owners.want(socket.inode);
                open.push((index, netns, socket));
            } else {
                full += 1;
            }
        });
        self.older.dropped += full;
        self.owners.look_now();
        for (index, netns, socket) in listening {
            let side = (index, Role::Server);
            let owner = self
                .owners
                .of(side, (socket.local, socket.remote), (socket.inode, 0))
                .owner;
            if let Owner::Process(process) = owner {
                listener(netns, socket.local.port, process);
            }
        }
        let now_ns = now.monotonic_ns();
        let found = open.into_iter().filter_map(|(index, netns, socket)| {
            let role = role::of(&self.owners, index, &socket);
            let ends = (socket.local, socket.remote);
            let side = (index, role.unwrap_or(Role::Client));
            let socket_of = (socket.inode, socket.cgroup_id);
            let process = match self.owners.of(side, ends, socket_of).owner {
                Owner::Process(process) => process,
                Owner::Unknown => abi::wb_process::default(),
                Owner::Foreign => return None,
            };
            let mut connection = event::open(netns, ends, role, now_ns);
            connection.process = process;
            connection.numbers = numbers(&socket, connection.role);
            self.older.insert(&connection);
            Some(connection)
        });
        self.first = found.collect();
        // Whom the programs name from now on is looked at when he is named.
        drop(self.owners.take_past());
    }

    /// What [`Lister::adopt`] found, once.
    pub fn take_adopted(&mut self) -> Vec<Connection> {
        std::mem::take(&mut self.first)
    }

    /// The open connections with what they have counted; `entries` is the programs' table.
    pub fn snapshot(&mut self, entries: &[abi::wb_connection], now: Now) -> Vec<Connection> {
        self.leave_empty();
        let older = std::mem::take(&mut self.older);
        let mut matching = Matching::new(entries, older, now.monotonic_ns());
        self.whole = self.list(sock_diag::CONNECTED, |_, _, netns, socket| {
            matching.take(netns, &socket);
        });
        let (found, older) = matching.end(self.whole);
        self.older = older;
        found
    }

    /// Whether the last snapshot showed all there is: else what it lacks may still be open.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Publishes what was counted.
    pub fn publish(&self, metrics: &Metrics) {
        metrics.observe_lists_failed_total.set(self.failed);
        metrics.observe_namespaces.set(self.spaces.len() as u64);
        metrics.observe_namespaces_missed.set(self.missed);
        metrics.observe_namespaces_left_total.set(self.left);
        metrics
            .observe_connections_dropped_full_total
            .set(self.older.dropped);
        metrics
            .observe_owners_dropped_full_total
            .set(self.owners.forgotten());
    }

    /// Gives back the namespaces in which no process is left.
    fn leave_empty(&mut self) {
        let others = self.spaces.iter_mut().skip(1);
        let others = others.map(|(key, space)| (*key, &mut space.tenants));
        for key in self.census.left(others) {
            if let Some(space) = self.spaces.remove(&key) {
                self.left += 1;
                info!(inode = space.inode; "network namespace left: no process is in it");
            }
        }
    }

    /// False when the kernel did not give all.
    fn list(&mut self, states: u32, mut each: impl FnMut(&mut Owners, u16, u32, Socket)) -> bool {
        let mut whole = true;
        for (index, space) in &mut self.spaces {
            let (owners, netns) = (&mut self.owners, space.inode);
            let listed = sock_diag::list(&mut space.diag, states, |socket| {
                if let Some(socket) = socket {
                    each(owners, *index, netns, socket);
                }
            });
            if let Err(error) = listed {
                whole = false;
                self.failed += 1;
                warn!(error:% = error; "sockets not listed");
            }
        }
        whole
    }
}

impl Space {
    fn open() -> Result<Self> {
        Ok(Self {
            inode: netns::own_inode().context("look at the network namespace")?,
            diag: Route::open_diag().context("open a socket for lists of sockets")?,
            tenants: Tenants::here(),
        })
    }
}

/// Network namespace and both ends.
type Ends = (u32, Endpoint, Endpoint);

/// Connections older than the agent, by [`event::tuple_id`], and which side of them this host is.
#[derive(Debug, Default)]
struct Older {
    roles: HashMap<u64, Role>,
    limit: usize,
    /// Those that found no room.
    dropped: u64,
}

impl Older {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    fn insert(&mut self, connection: &Connection) {
        if self.roles.len() < self.limit {
            self.roles.insert(connection.id, connection.role);
        } else {
            self.dropped += 1;
        }
    }
}

/// A list of sockets is matched, socket by socket, with what is known; what is not is passed over,
/// so that it takes no more room than the tables that are bounded.
struct Matching<'e> {
    entries: HashMap<Ends, &'e abi::wb_connection>,
    older: Older,
    /// Those of `older` that were in the list.
    still: HashMap<u64, Role>,
    found: Vec<Connection>,
    now_ns: u64,
}

impl<'e> Matching<'e> {
    fn new(entries: &'e [abi::wb_connection], older: Older, now_ns: u64) -> Self {
        let mut by_ends: HashMap<Ends, &abi::wb_connection> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let live = event::live(entry, now_ns);
            by_ends
                .entry((live.netns, live.local, live.remote))
                // The end of the older one is still to come.
                .and_modify(|other| {
                    if other.start_ns < entry.start_ns {
                        *other = entry;
                    }
                })
                .or_insert(entry);
        }
        Self {
            entries: by_ends,
            older,
            still: HashMap::new(),
            found: Vec::new(),
            now_ns,
        }
    }

    fn take(&mut self, netns: u32, socket: &Socket) {
        let (local, remote) = (socket.local, socket.remote);
        if let Some(entry) = self.entries.remove(&(netns, local, remote)) {
            let mut live = event::live(entry, self.now_ns);
            live.numbers = abi::wb_numbers {
                zero_windows: entry.zero_windows,
                ..numbers(socket, live.role)
            };
            self.found.push(live);
            return;
        }
        // What is left is older than the agent, or not in scope, or listed twice.
        let id = event::tuple_id(netns, local, remote);
        if let Some(role) = self.older.roles.remove(&id) {
            self.still.insert(id, role);
            let mut live = event::open(netns, (local, remote), role, self.now_ns);
            live.reason = ReportReason::Live;
            live.numbers = numbers(socket, role);
            self.found.push(live);
        }
    }

    /// What was found; after a `whole` list, what was not in it is gone.
    fn end(mut self, whole: bool) -> (Vec<Connection>, Older) {
        if whole {
            self.older.roles = self.still;
        } else {
            self.older.roles.extend(self.still);
        }
        (self.found, self.older)
    }
}

/// What a socket has counted; one whose FIN has come has it among its bytes.
fn numbers(socket: &Socket, role: Role) -> abi::wb_numbers {
    let fin_received = matches!(
        socket.state,
        sock_diag::CLOSE_WAIT | sock_diag::LAST_ACK | sock_diag::CLOSING
    );
    let numbers = |info: sock_diag::Info| info.numbers(role == Role::Client, fin_received);
    socket.info.map(numbers).unwrap_or_default()
}

#[cfg(test)]
#[path = "lister_tests.rs"]
mod tests;
