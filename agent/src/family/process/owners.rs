//! Who has a socket: found by looking through `/proc/<pid>/fd`, which is slow, so it is done rarely
//! and what it showed is remembered.
//!
//! A connection belongs to who has its socket, a listener to who accepts on it; only where a
//! connection was gone before that was looked at, other connections of the service tell.

mod known;
mod look;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use wire::{Endpoint, Role};

use super::snapshot::{Past, SnapshotReader};
use crate::clock;
use crate::tasks::Attention;
pub(crate) use known::Owner;
use known::{Known, is_same};
use walk::Walk;

/// Listeners that are remembered.
const MAX_LISTENERS: usize = 65_536;
/// ... which may be saved up to this, so that what happens after a quiet time is looked at at once.
const MAX_CREDIT_NS: u64 = 100_000_000;
/// A socket for which so many looks in a row found nobody is looked for now and then only.
const MAX_MISSES: u8 = 3;
/// A listener may be handed on: it is looked at again after this long, and ever more seldom.
const AGAIN_NS: u64 = 10_000_000_000;
const MAX_AGAIN_NS: u64 = 3_600_000_000_000;

/// Where to look, and which processes count.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `/proc`.
    pub(crate) proc: PathBuf,
    /// Mount point of the cgroup2 tree.
    pub(crate) cgroups: PathBuf,
    /// The scope's cgroup, `/` for everything.
    pub(crate) scope: String,
}

/// A socket that was seen in the list of this number, or since.
#[derive(Clone, Copy, Debug)]
struct Listed<T> {
    list: u64,
    of: T,
}

/// Whose a connection is, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) owner: Owner,
    /// Its own socket was found with that process; else it is told by the other connections of the
    /// service's end.
    pub(crate) direct: bool,
}

impl Found {
    /// It is not known so far.
    pub(crate) const NOBODY: Self = Self {
        owner: Owner::Unknown,
        direct: false,
    };
}

/// A socket that is looked for.
#[derive(Debug, Default)]
struct Want {
    misses: u8,
    /// Looks that had begun when it was first wanted: one that was under way tells nothing.
    looks: u64,
    /// Of a listener: who has it, in the order of their numbers.
    holders: Option<Vec<Holder>>,
}

impl Want {
    /// Worth a look of its own.
    const fn is_fresh(&self) -> bool {
        self.misses < MAX_MISSES
    }
}

/// A process that has a listener.
#[derive(Clone, Copy, Debug)]
struct Holder {
    owner: Owner,
    attention: Attention,
}

/// Who has a listener, as the last whole look showed it.
#[derive(Debug, Default)]
struct Held {
    /// Looks that had begun by then.
    looks: u64,
    all: Vec<Holder>,
    /// Looks that had begun when somebody had a connection of it who was not among them.
    doubted: Option<u64>,
}

/// When a listener is looked at again.
#[derive(Clone, Copy, Debug)]
struct Again {
    at_ns: u64,
    wait_ns: u64,
}

/// What was learned.
#[derive(Debug)]
pub(crate) struct Owners {
    place: Place,
    reader: SnapshotReader,
    /// What was seen of the processes that were named since it was taken.
    past: Past,
    own: u32,
    /// Sockets that are remembered, and as many that are looked for.
    limit: usize,
    list: u64,
    sockets: HashMap<u32, Listed<Owner>>,
    /// Listening ends and their sockets.
    listeners: HashMap<(u16, Endpoint), u32>,
    again: HashMap<u32, Again>,
    held: HashMap<u32, Held>,
    known: Known,
    wanted: HashMap<u32, Listed<Want>>,
    walk: Option<Walk>,
    credit_ns: u64,
    credited_ns: u64,
    next_look_ns: u64,
    next_retry_ns: u64,
    looks: u64,
    found: u64,
    forgotten: u64,
}

impl Owners {
    /// `limit` bounds the sockets whose owners are remembered.
    pub(crate) fn new(place: Place, limit: usize) -> Self {
        Self {
            reader: SnapshotReader::new(&place.proc),
            past: Past::default(),
            place,
            own: std::process::id(),
            limit,
            list: 0,
            sockets: HashMap::new(),
            listeners: HashMap::new(),
            again: HashMap::new(),
            held: HashMap::new(),
            known: Known::default(),
            wanted: HashMap::new(),
            walk: None,
            credit_ns: MAX_CREDIT_NS,
            credited_ns: 0,
            next_look_ns: 0,
            next_retry_ns: 0,
            looks: 0,
            found: 0,
            forgotten: 0,
        }
    }

    /// Looks through `/proc` so far.
    pub(crate) const fn looks(&self) -> u64 {
        self.looks
    }

    /// Owners found so far: what nobody could be named for may be tried again when it grows.
    pub(crate) const fn found_total(&self) -> u64 {
        self.found
    }

    /// Sockets and ends that found no room.
    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten + self.known.forgotten()
    }

    /// Forgets listeners, to be told of all that are there.
    pub(crate) fn forget_listeners(&mut self) {
        self.listeners.clear();
    }

    /// A list of all open sockets begins: each is to be wanted.
    pub(crate) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// The list was complete: forgets the owners of all sockets that were not in it but listeners.
    pub(crate) fn end_list(&mut self) {
        let listening: HashSet<u32> = self.listeners.values().copied().collect();
        let list = self.list;
        let keep = |inode: &u32, seen: u64| seen == list || listening.contains(inode);
        self.sockets.retain(|inode, seen| keep(inode, seen.list));
        self.wanted.retain(|inode, seen| keep(inode, seen.list));
        self.again.retain(|inode, _| listening.contains(inode));
        self.held.retain(|inode, _| listening.contains(inode));
    }

    /// The list was not complete, so nobody knows which sockets are gone: forgets all before they
    /// leave no room for new ones.
    pub(crate) fn fail_list(&mut self) {
        if self.sockets.len() > self.limit / 2 {
            self.forgotten += self.sockets.len() as u64;
            self.sockets.clear();
        }
    }

    /// A listening socket; false when there was no room for it.
    pub(crate) fn listens(&mut self, space: u16, end: Endpoint, inode: u32) -> bool {
        let known = self.listeners.contains_key(&(space, end));
        if self.listeners.len() >= MAX_LISTENERS && !known {
            self.forgotten += 1;
            return false;
        }
        self.listeners.insert((space, end), inode);
        let now_ns = clock::monotonic_ns();
        let is_due = match self.again.get_mut(&inode) {
            Some(again) if now_ns < again.at_ns => false,
            Some(again) => {
                again.wait_ns = (again.wait_ns * 2).min(MAX_AGAIN_NS);
                again.at_ns = now_ns + again.wait_ns;
                true
            }
            None => {
                let again = Again {
                    at_ns: now_ns + AGAIN_NS,
                    wait_ns: AGAIN_NS,
                };
                self.again.insert(inode, again);
                true
            }
        };
        if is_due {
            self.seek(inode, true);
        }
        self.want(inode);
        true
    }

    /// The socket that listens for connections to this end.
    pub(crate) fn listener(&self, space: u16, local: Endpoint) -> Option<u32> {
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

    /// Whether somebody is known who has connections of this service's end.
    pub(crate) fn is_known(&self, (space, role): (u16, Role), service: Endpoint) -> bool {
        match role {
            Role::Client => !self.known.clients((space, service)).is_empty(),
            Role::Server => {
                let listener = self.listener(space, service);
                self.known.acceptor((space, service), listener).is_some()
            }
        }
    }

    /// Looks for the owner of a socket with the next look, and with others until it is found.
    pub(crate) fn want(&mut self, inode: u32) {
        let list = self.list;
        let known = self.sockets.get_mut(&inode).map(|seen| seen.list = list);
        match self.wanted.get_mut(&inode) {
            Some(seen) => seen.list = list,
            None if known.is_none() => self.seek(inode, false),
            None => {}
        }
    }

    fn seek(&mut self, inode: u32, is_listener: bool) {
        if inode == 0 || self.wanted.contains_key(&inode) {
            return;
        }
        if self.wanted.len() >= self.limit {
            self.forgotten += 1;
            return;
        }
        if let Some(walk) = &mut self.walk {
            walk.open += usize::from(!is_listener);
        }
        let want = Want {
            misses: 0,
            looks: self.looks,
            holders: is_listener.then(Vec::new),
        };
        let list = self.list;
        self.wanted.insert(inode, Listed { list, of: want });
    }

    /// The owner of a socket that was wanted.
    fn found(&mut self, inode: u32, owner: Owner) {
        let list = self.list;
        self.found += 1;
        if self.sockets.len() < self.limit || self.sockets.contains_key(&inode) {
            self.sockets.insert(inode, Listed { list, of: owner });
        } else {
            self.forgotten += 1;
        }
    }

    fn known(&self, inode: u32) -> Option<Owner> {
        Some(self.sockets.get(&inode)?.of)
    }

    /// Whether looks at all processes found nobody who has this socket.
    pub(crate) fn is_hopeless(&self, inode: u32) -> bool {
        let wanted = self.wanted.get(&inode);
        wanted.is_some_and(|seen| !seen.of.is_fresh())
    }

    /// The owner of a connection: of its own socket, or as other connections of the service's end
    /// and its listener tell. `cgroup_id` is that in which its socket was made, 0 where not known.
    pub(crate) fn of(
        &mut self,
        (space, role): (u16, Role),
        (local, remote): (Endpoint, Endpoint),
        (inode, cgroup_id): (u32, u64),
    ) -> Found {
        let listener = self
            .listener(space, local)
            .filter(|listener| *listener != inode);
        if let Some(mut owner) = self.known(inode).filter(|owner| *owner != Owner::Unknown) {
            match (role, listener) {
                (Role::Client, _) => self.known.connected((space, remote), inode, owner),
                (Role::Server, Some(listener)) => {
                    owner = self.accepter(listener, owner);
                    if owner != Owner::Unknown {
                        self.known.accepted((space, local), listener, owner);
                    }
                }
                (Role::Server, None) => {}
            }
            let direct = owner != Owner::Unknown;
            return Found { owner, direct };
        }
        let guess = match role {
            Role::Client => self.known.opener((space, remote), cgroup_id),
            Role::Server => {
                let acceptor = self.known.acceptor((space, local), listener);
                acceptor.or_else(|| self.known(listener?))
            }
        };
        Found {
            owner: guess.unwrap_or(Owner::Unknown),
            direct: false,
        }
    }

    /// Who accepted a connection that `holder` has: itself if it has the listener, else who accepts on
    /// that one, for it was handed on since. Unknown until that was looked at once more: who accepts
    /// may have been started since the last look.
    fn accepter(&mut self, listener: u32, holder: Owner) -> Owner {
        let Some(held) = self.held.get_mut(&listener) else {
            let is_sought = self.wanted.contains_key(&listener) && !self.is_hopeless(listener);
            return if is_sought { Owner::Unknown } else { holder };
        };
        if held.all.iter().any(|one| is_same(&one.owner, &holder)) {
            return holder;
        }
        let looks = self.looks;
        if held.looks <= *held.doubted.get_or_insert(looks) {
            // Who accepted is gone, and its listener with it.
            if self.is_hopeless(listener) {
                return holder;
            }
            self.seek(listener, true);
            return Owner::Unknown;
        }
        match likeliest(&held.all) {
            Some(best) if best.attention == Attention::Accepts => best.owner,
            _ => holder,
        }
    }

    /// Forgets who opened connections, and who accepted where nobody listens any more, so that a
    /// program that took over is found.
    pub(crate) fn forget_ends(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        known.forget_clients();
        known.forget_servers(|(space, end)| self.listener(*space, *end).is_some());
        self.known = known;
    }

    /// An open connection to an end belongs to nobody who is known there.
    pub(crate) fn is_strange(&mut self, space: u16, remote: Endpoint, inode: u32) {
        self.known.is_strange((space, remote), inode);
    }
}

/// Who accepts, among those that have a listener: who is seen to do so, else the eldest.
fn likeliest(holders: &[Holder]) -> Option<Holder> {
    // Of equals the last one is taken.
    let eldest_last = holders.iter().rev();
    eldest_last.max_by_key(|holder| holder.attention).copied()
}

#[cfg(test)]
mod tests;
