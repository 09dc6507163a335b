//! Open connections for programs on kernels without iterators (before 5.8): the kernel's lists of
//! sockets say what there is and what each has counted, the programs' table whose it is.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use bpf::abi;
use log::warn;
use wire::{Endpoint, Role};

use super::diag::{self, Socket};
use super::namespace;
use super::open::{inside, others};
use super::owner::{Owner, Owners, Place};
use crate::aggregate::Now;
use crate::config::Config;
use crate::event::{self, Connection, What};
use crate::netlink::Route;

/// Network namespaces listed at once; each takes a descriptor.
const MAX_SPACES: usize = 64;

/// The lists of the network namespaces in reach.
#[derive(Debug)]
pub struct Lister {
    spaces: Vec<Space>,
    owners: Owners,
    /// Connections older than the agent, by [`event::tuple_id`].
    adopted: HashSet<u64>,
    /// The same until they are taken.
    first: Vec<Connection>,
    missed: u64,
    failed: u64,
}

#[derive(Debug)]
struct Space {
    inode: u32,
    diag: Route,
}

type Ends = (u32, Endpoint, Endpoint);

impl Lister {
    /// Opens the lists of the own network namespace and of every other one with a process in scope.
    ///
    /// # Errors
    /// The own namespace cannot be listed; others are counted and left out.
    pub fn open(config: &Config, (proc, cgroups): (&Path, &Path)) -> Result<Self> {
        let own = Space::open().context("list the sockets of the own network namespace")?;
        let others = others(proc, &config.scope.cgroup, u64::from(own.inode));
        let (mut spaces, mut missed) = (vec![own], 0);
        for path in others.values() {
            if spaces.len() >= MAX_SPACES {
                missed += 1;
                continue;
            }
            match inside(path, Space::open) {
                Ok(space) => spaces.push(space),
                Err(error) => {
                    missed += 1;
                    let path = path.display().to_string();
                    let error = format!("{error:#}");
                    warn!(path = path.as_str(), error = error.as_str(); "network namespace not listed");
                }
            }
        }
        Ok(Self {
            spaces,
            owners: Owners::new(Place {
                proc: proc.to_owned(),
                cgroups: cgroups.to_owned(),
                scope: config.scope.cgroup.clone(),
            }),
            adopted: HashSet::new(),
            first: Vec::new(),
            missed,
            failed: 0,
        })
    }

    /// Takes over what is open; each listener in scope is told to `listener` with its network
    /// namespace and port. Before the agent is confined: whose a socket is, is not to be told later.
    pub fn adopt(&mut self, now: Now, mut listener: impl FnMut(u32, u16, abi::wb_process)) {
        let mut listening = Vec::new();
        self.list(diag::LISTENING, |owners, index, _, socket| {
            owners.listens(index, socket.local, socket.inode);
            listening.push((index, socket));
        });
        let mut open = Vec::new();
        self.list(diag::CONNECTED, |owners, index, netns, socket| {
            if matches!(socket.state, diag::ESTABLISHED | diag::CLOSE_WAIT) {
                owners.want(socket.inode);
                open.push((index, netns, socket));
            }
        });
        self.owners.look();
        for (index, socket) in listening {
            let Some(space) = self.spaces.get(usize::from(index)) else {
                continue;
            };
            let side = (index, Role::Server);
            let owner = self
                .owners
                .of(side, (socket.local, socket.remote), socket.inode);
            if let Owner::Process(process) = owner {
                listener(space.inode, socket.local.port, process);
            }
        }
        let now_ns = now.monotonic_ns();
        let found = open.into_iter().filter_map(|(index, netns, socket)| {
            let role = self.owners.role(index, socket.local);
            let ends = (socket.local, socket.remote);
            let process = match self.owners.of((index, role), ends, socket.inode) {
                Owner::Process(process) => process,
                Owner::Unknown => abi::wb_process::default(),
                Owner::Foreign => return None,
            };
            let mut connection = event::open(netns, ends, role, now_ns);
            connection.process = process;
            connection.numbers = numbers(&socket, role);
            self.adopted.insert(connection.id);
            Some(connection)
        });
        self.first = found.collect();
    }

    /// What [`Lister::adopt`] found, once.
    pub fn take_adopted(&mut self) -> Vec<Connection> {
        std::mem::take(&mut self.first)
    }

    /// The open connections with what they have counted; `entries` is the programs' table.
    pub fn snapshot(&mut self, entries: &[abi::wb_connection], now: Now) -> Vec<Connection> {
        let mut sockets: HashMap<Ends, Socket> = HashMap::new();
        self.list(diag::CONNECTED, |_, _, netns, socket| {
            sockets.insert((netns, socket.local, socket.remote), socket);
        });
        let now_ns = now.monotonic_ns();
        let mut found = Vec::new();
        for entry in entries {
            let mut live = event::live(entry, now_ns);
            if let Some(socket) = sockets.remove(&(live.netns, live.local, live.remote)) {
                live.numbers = abi::wb_numbers {
                    zero_windows: entry.zero_windows,
                    ..numbers(&socket, live.role)
                };
                found.push(live);
            }
        }
        // What is left is older than the agent, or not in scope.
        self.adopted.retain(|id| {
            sockets
                .keys()
                .any(|(netns, local, remote)| event::tuple_id(*netns, *local, *remote) == *id)
        });
        for ((netns, local, remote), socket) in &sockets {
            let mut live = event::open(*netns, (*local, *remote), Role::Client, now_ns);
            if self.adopted.contains(&live.id) {
                live.what = What::Live;
                live.numbers = numbers(socket, live.role);
                found.push(live);
            }
        }
        found
    }

    /// Lists that the kernel did not give, and namespaces that are not listed.
    #[must_use]
    pub const fn losses(&self) -> (u64, u64) {
        (self.failed, self.missed)
    }

    fn list(&mut self, states: u32, mut each: impl FnMut(&mut Owners, u16, u32, Socket)) {
        for (space, index) in self.spaces.iter_mut().zip(0_u16..) {
            let (owners, netns) = (&mut self.owners, space.inode);
            let listed = namespace::list(&mut space.diag, states, |socket| {
                if let Some(socket) = socket {
                    each(owners, index, netns, socket);
                }
            });
            if let Err(error) = listed {
                self.failed += 1;
                warn!(error:% = error; "sockets not listed");
            }
        }
    }
}

impl Space {
    fn open() -> Result<Self> {
        Ok(Self {
            inode: namespace::own_inode().context("look at the network namespace")?,
            diag: Route::open_diag().context("open a socket for lists of sockets")?,
        })
    }
}

/// What a socket has counted; one whose FIN has come has it among its bytes.
fn numbers(socket: &Socket, role: Role) -> abi::wb_numbers {
    let fin_received = matches!(
        socket.state,
        diag::CLOSE_WAIT | diag::LAST_ACK | diag::CLOSING
    );
    let numbers = |info: diag::Info| info.numbers(role == Role::Client, fin_received);
    socket.info.map(numbers).unwrap_or_default()
}
