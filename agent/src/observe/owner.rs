//! Who has a socket: found by looking through `/proc/<pid>/fd`, which is slow, so it is done rarely
//! and what it showed is remembered.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bpf::abi;
use wire::{Endpoint, Role};

use crate::host::{Numbers, clock};

/// Clock ticks per second in `/proc/<pid>/stat`: USER_HZ, fixed at 100 for programs.
const TICK_NS: u64 = 10_000_000;
/// Field 22 of `/proc/<pid>/stat`, counted after the name in parentheses.
const START_FIELD: usize = 19;
/// Listeners and services that are remembered.
const MAX_KNOWN: usize = 65_536;
/// A look takes at most one part in this of the time.
const SHARE: u64 = 200;
/// Two looks are at least this far apart.
const PAUSE_NS: u64 = 500_000_000;
/// Descriptors that are looked at in one turn.
const TURN: usize = 16_384;
/// Nobody was found for a socket so often: it belongs to the kernel, or to nobody in reach.
const MAX_MISSES: u8 = 3;

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A process in scope.
    Process(abi::wb_process),
    /// A process out of scope, or this agent.
    Foreign,
    /// Nobody knows.
    Unknown,
}

/// Where to look, and which processes count.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `/proc`.
    pub(super) proc: PathBuf,
    /// Mount point of the cgroup2 tree.
    pub(super) cgroups: PathBuf,
    /// The scope's cgroup, `/` for everything.
    pub(super) scope: String,
}

/// A socket that was seen in the list of this number, or since.
#[derive(Clone, Copy, Debug)]
struct Seen<T> {
    list: u64,
    of: T,
}

/// What was learned.
#[derive(Debug)]
pub(super) struct Owners {
    place: Place,
    own: u32,
    /// Sockets that are remembered, and as many that are looked for.
    limit: usize,
    list: u64,
    sockets: HashMap<u32, Seen<Owner>>,
    /// Listening ends and their sockets.
    listeners: HashMap<(u16, Endpoint), u32>,
    /// Who last opened connections to an end.
    clients: HashMap<(u16, Endpoint), Owner>,
    /// How often nobody was found.
    wanted: HashMap<u32, Seen<u8>>,
    walk: Option<Walk>,
    next_look_ns: u64,
    looks: u64,
    forgotten: u64,
}

/// A look through `/proc`, over as many turns as it takes.
#[derive(Debug)]
struct Walk {
    /// Processes that are still to be looked at, the last one next.
    left: Vec<u32>,
    /// The one that is being looked at, and who it is once that was asked.
    process: Option<(u32, fs::ReadDir, Option<Owner>)>,
    took_ns: u64,
}

impl Owners {
    /// `limit` bounds the sockets whose owners are remembered.
    pub(super) fn new(place: Place, limit: usize) -> Self {
        Self {
            place,
            own: std::process::id(),
            limit,
            list: 0,
            sockets: HashMap::new(),
            listeners: HashMap::new(),
            clients: HashMap::new(),
            wanted: HashMap::new(),
            walk: None,
            next_look_ns: 0,
            looks: 0,
            forgotten: 0,
        }
    }

    /// Looks through `/proc` so far.
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    /// Sockets and ends that found no room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets listeners, to be told of all that are there.
    pub(super) fn forget_listeners(&mut self) {
        self.listeners.clear();
    }

    /// A list of all open sockets begins: each is to be wanted.
    pub(super) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// The list was complete: forgets the owners of all sockets that were not in it but listeners.
    pub(super) fn end_list(&mut self) {
        let listening: HashSet<u32> = self.listeners.values().copied().collect();
        let list = self.list;
        let keep = |inode: &u32, seen: u64| seen == list || listening.contains(inode);
        self.sockets.retain(|inode, seen| keep(inode, seen.list));
        self.wanted.retain(|inode, seen| keep(inode, seen.list));
    }

    /// The list was not complete, so nobody knows which sockets are gone: forgets all before they
    /// leave no room for new ones.
    pub(super) fn fail_list(&mut self) {
        if self.sockets.len() > self.limit / 2 {
            self.forgotten += self.sockets.len() as u64;
            self.sockets.clear();
        }
    }

    /// A listening socket; false when there was no room for it.
    pub(super) fn listens(&mut self, space: u16, end: Endpoint, inode: u32) -> bool {
        let known = self.listeners.contains_key(&(space, end));
        if self.listeners.len() >= MAX_KNOWN && !known {
            self.forgotten += 1;
            return false;
        }
        self.listeners.insert((space, end), inode);
        self.want(inode);
        true
    }

    /// The socket that listens for connections to this end.
    pub(super) fn listener(&self, space: u16, local: Endpoint) -> Option<u32> {
        let any_v4 = Endpoint {
            addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
            ..local
        };
        let any = Endpoint {
            addr: [0; 16],
            ..local
        };
        [local, any_v4, any]
            .into_iter()
            .find_map(|end| self.listeners.get(&(space, end)).copied())
    }

    /// Which side of a connection with this local end this host is.
    pub(super) fn role(&self, space: u16, local: Endpoint) -> Role {
        match self.listener(space, local) {
            Some(_) => Role::Server,
            None => Role::Client,
        }
    }

    /// Whether it would be of use to ask who opens connections to this end.
    pub(super) fn is_unknown(&self, space: u16, remote: Endpoint) -> bool {
        !self.clients.contains_key(&(space, remote))
    }

    /// Looks for the owner of a socket with the next look.
    pub(super) fn want(&mut self, inode: u32) {
        let list = self.list;
        if let Some(seen) = self.sockets.get_mut(&inode) {
            seen.list = list;
        } else if let Some(seen) = self.wanted.get_mut(&inode) {
            seen.list = list;
        } else if self.wanted.len() >= self.limit {
            self.forgotten += 1;
        } else if inode != 0 {
            self.wanted.insert(inode, Seen { list, of: 0 });
        }
    }

    /// The owner of a socket that was wanted.
    fn found(&mut self, inode: u32, owner: Owner) {
        let list = self.list;
        if self.sockets.len() < self.limit {
            self.sockets.insert(inode, Seen { list, of: owner });
        } else {
            self.forgotten += 1;
        }
    }

    fn known(&self, inode: u32) -> Option<Owner> {
        Some(self.sockets.get(&inode)?.of)
    }

    /// The owner of a connection: of its own socket, of the listener that accepted it, or of
    /// earlier connections to the same end.
    pub(super) fn of(
        &mut self,
        (space, role): (u16, Role),
        (local, remote): (Endpoint, Endpoint),
        inode: u32,
    ) -> Owner {
        let known = self.known(inode);
        match role {
            Role::Server => {
                let listener = || self.known(self.listener(space, local)?);
                known.or_else(listener).unwrap_or(Owner::Unknown)
            }
            Role::Client => {
                let end = (space, remote);
                if let Some(owner) = known {
                    if self.clients.len() < MAX_KNOWN || self.clients.contains_key(&end) {
                        self.clients.insert(end, owner);
                    } else {
                        self.forgotten += 1;
                    }
                }
                let before = || self.clients.get(&end).copied();
                known.or_else(before).unwrap_or(Owner::Unknown)
            }
        }
    }

    /// Forgets who opened connections, so that a program that took over is found.
    pub(super) fn forget_clients(&mut self) {
        self.clients.clear();
    }

    /// Finds this agent's own sockets, which costs next to nothing.
    pub(super) fn find_own(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let directory = self.place.proc.join(self.own.to_string());
        for inode in sockets(&directory) {
            if self.wanted.remove(&inode).is_some() {
                self.found(inode, Owner::Foreign);
            }
        }
    }

    /// Looks through `/proc` if there is something to look for and it is time, for one turn.
    pub(super) fn look(&mut self) {
        self.find_own();
        let begun_ns = clock::monotonic_ns();
        if self.walk.is_none() {
            if self.wanted.is_empty() || begun_ns < self.next_look_ns {
                return;
            }
            self.begin_walk();
        }
        let ended = self.walk_on(TURN);
        let now_ns = clock::monotonic_ns();
        let turn_ns = now_ns.saturating_sub(begun_ns);
        if let Some(walk) = &mut self.walk {
            walk.took_ns += turn_ns;
            if ended {
                self.next_look_ns = now_ns + (walk.took_ns * SHARE).max(PAUSE_NS);
                self.walk = None;
            }
        }
    }

    /// Looks through all of it at once: for the start, when nobody waits.
    pub(super) fn look_now(&mut self) {
        self.find_own();
        self.begin_walk();
        self.walk_on(usize::MAX);
        self.walk = None;
    }

    fn begin_walk(&mut self) {
        self.looks += 1;
        let mut left = processes(&self.place.proc);
        // A parent comes before its children: it is the one that called listen.
        left.sort_unstable_by(|one, other| other.cmp(one));
        self.walk = Some(Walk {
            left,
            process: None,
            took_ns: 0,
        });
    }

    /// Looks at this many descriptors more; true when there is nothing left to look at.
    fn walk_on(&mut self, descriptors: usize) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let mut ended = false;
        for _ in 0..descriptors {
            if self.wanted.is_empty() || !self.step(&mut walk) {
                ended = true;
                break;
            }
        }
        self.walk = Some(walk);
        if ended {
            self.give_up();
        }
        ended
    }

    /// Looks at the next descriptor, or begins with the next process; false at the end.
    fn step(&mut self, walk: &mut Walk) -> bool {
        let Some((number, entries, owner)) = &mut walk.process else {
            let Some(number) = walk.left.pop() else {
                return false;
            };
            let entries = fs::read_dir(self.place.proc.join(number.to_string()).join("fd"));
            walk.process = entries.ok().map(|entries| (number, entries, None));
            return true;
        };
        match entries.next() {
            None => walk.process = None,
            Some(entry) => {
                let inode = entry.ok().and_then(|entry| socket(&entry));
                if let Some(inode) = inode.filter(|inode| self.wanted.remove(inode).is_some()) {
                    let number = *number;
                    let owner = *owner.get_or_insert_with(|| self.identify(number));
                    self.found(inode, owner);
                }
            }
        }
        true
    }

    /// Counts a look that did not find what is still wanted.
    fn give_up(&mut self) {
        let mut nobody = Vec::new();
        self.wanted.retain(|inode, misses| {
            misses.of += 1;
            let keep = misses.of < MAX_MISSES;
            if !keep {
                nobody.push(*inode);
            }
            keep
        });
        for inode in nobody {
            self.found(inode, Owner::Unknown);
        }
    }

    fn identify(&self, number: u32) -> Owner {
        if number == self.own {
            return Owner::Foreign;
        }
        let directory = self.place.proc.join(number.to_string());
        let cgroups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        if !in_scope(&cgroups, &self.place.scope) {
            return Owner::Foreign;
        }
        let Some(process) = describe(number, &directory, &cgroups, &self.place.cgroups) else {
            return Owner::Unknown;
        };
        Owner::Process(process)
    }
}

/// Numbers of all processes.
pub(super) fn processes(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Inode numbers of a process's sockets.
fn sockets(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory.join("fd")).into_iter().flatten();
    entries.flatten().filter_map(|entry| socket(&entry))
}

/// The inode number of a descriptor that is a socket.
fn socket(descriptor: &fs::DirEntry) -> Option<u32> {
    let target = fs::read_link(descriptor.path()).ok()?;
    let name = target.to_str()?.strip_prefix("socket:[")?;
    name.strip_suffix(']')?.parse().ok()
}

/// Whether the text of `/proc/<pid>/cgroup` names the scope or something below it.
pub(super) fn in_scope(cgroups: &str, scope: &str) -> bool {
    if scope == "/" {
        return true;
    }
    let scope = scope.trim_end_matches('/');
    // number:controllers:path; the path may hold colons.
    let paths = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().any(|path| {
        path.strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What a kernel record would say of a process; `None` when it is gone.
fn describe(number: u32, directory: &Path, cgroups: &str, root: &Path) -> Option<abi::wb_process> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(START_FIELD)?.parse().ok()?;
    let comm = fs::read(directory.join("comm")).unwrap_or_default();
    let exe = fs::read_link(directory.join("exe")).unwrap_or_default();
    let exe = exe.file_name().map(|name| name.as_bytes());
    let exe = exe.map(|name| name.strip_suffix(b" (deleted)").unwrap_or(name));
    // The line of cgroup2 is "0::/path".
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let cgroup_id = path
        .filter(|path| !path.split('/').any(|part| part == ".."))
        .and_then(|path| Numbers::of(root).number(&root.join(path)))
        .unwrap_or(0);
    let mut process = abi::wb_process {
        start_ns: ticks.saturating_mul(TICK_NS),
        cgroup_id,
        tgid: number,
        ..Default::default()
    };
    copy(&mut process.comm, comm.trim_ascii_end());
    copy(&mut process.exe, exe.unwrap_or_default());
    Some(process)
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
