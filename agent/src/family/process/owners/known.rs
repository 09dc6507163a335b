//! What connections whose own owner was found tell of those that were gone too soon. Pure.

use std::collections::HashMap;

use bpf::abi;
use wire::Endpoint;

/// Ends of each kind that are remembered.
const MAX_ENDS: usize = 65_536;
/// Different owners of connections to one end, and sockets of strangers, that are remembered.
const MAX_OWNERS: usize = 8;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A process in scope.
    Process(abi::wb_process),
    /// A process out of scope, or this agent.
    Foreign,
    /// Nobody knows.
    Unknown,
}

/// An end in one network namespace.
type End = (u16, Endpoint);

/// Who accepted and opened connections, by the service's end.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By a listener's end: the listener, and who was last found with a connection of it.
    servers: HashMap<End, (u32, Owner)>,
    clients: HashMap<End, Clients>,
    forgotten: u64,
}

/// Who opens connections to an end.
#[derive(Debug, Default)]
struct Clients {
    /// Different ones, each with a process of it.
    owners: Vec<Owner>,
    /// Sockets that belonged to none of those when they were looked at.
    strangers: Vec<u32>,
}

impl Known {
    /// Ends that found no room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The owner of a connection that `listener` made was found.
    pub(super) fn accepted(&mut self, end: End, listener: u32, owner: Owner) {
        if has_room(&mut self.forgotten, &self.servers, &end) {
            self.servers.insert(end, (listener, owner));
        }
    }

    /// Who accepts what comes to an end; nobody once another listener is there.
    pub(super) fn acceptor(&self, end: End, listener: Option<u32>) -> Option<Owner> {
        let (of, owner) = self.servers.get(&end)?;
        listener.is_none_or(|now| now == *of).then_some(*owner)
    }

    /// The owner of a connection to an end was found.
    pub(super) fn connected(&mut self, end: End, inode: u32, owner: Owner) {
        if !has_room(&mut self.forgotten, &self.clients, &end) {
            return;
        }
        let clients = self.clients.entry(end).or_default();
        clients.strangers.retain(|stranger| *stranger != inode);
        if clients.owners.iter().any(|known| is_same(known, &owner)) {
            return;
        }
        match clients.owners.len() < MAX_OWNERS {
            true => clients.owners.push(owner),
            // With so many nobody can be told by the end anyway.
            false => self.forgotten += 1,
        }
    }

    /// An open connection to an end belongs to nobody who is known there.
    pub(super) fn is_strange(&mut self, end: End, inode: u32) {
        let Some(clients) = self.clients.get_mut(&end) else {
            return;
        };
        if clients.strangers.len() < MAX_OWNERS && !clients.strangers.contains(&inode) {
            clients.strangers.push(inode);
        }
    }

    /// Who is known to open connections to an end.
    pub(super) fn clients(&self, end: End) -> &[Owner] {
        self.clients.get(&end).map_or(&[], |known| &known.owners)
    }

    /// Who alone can have opened a connection to an end, whose socket was made in a cgroup (0 where
    /// the kernel does not say).
    pub(super) fn opener(&self, end: End, cgroup_id: u64) -> Option<Owner> {
        let known = self.clients.get(&end)?;
        let is_there = |owner: &&Owner| match owner {
            Owner::Process(process) if cgroup_id != 0 && process.cgroup_id != 0 => {
                process.cgroup_id == cgroup_id
            }
            _ => true,
        };
        let mut fitting = known.owners.iter().filter(is_there);
        let only = *fitting.next()?;
        let alone = fitting.next().is_none() && known.strangers.is_empty();
        alone.then_some(only)
    }

    /// Forgets who opened connections, so that a program that took over is found.
    pub(super) fn forget_clients(&mut self) {
        self.clients.clear();
    }

    /// Forgets who accepted at ends for which `keep` is false.
    pub(super) fn forget_servers(&mut self, keep: impl Fn(&End) -> bool) {
        self.servers.retain(|end, _| keep(end));
    }
}

fn has_room<T>(forgotten: &mut u64, ends: &HashMap<End, T>, end: &End) -> bool {
    let room = ends.len() < MAX_ENDS || ends.contains_key(end);
    *forgotten += u64::from(!room);
    room
}

/// Whether two are one identity: processes of one program.
pub(super) fn is_same(one: &Owner, other: &Owner) -> bool {
    let identity = |process: &abi::wb_process| (process.comm, process.exe, process.cgroup_id);
    match (one, other) {
        (Owner::Process(one), Owner::Process(other)) => identity(one) == identity(other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn end(text: &str) -> End {
        (0, text.parse::<SocketAddr>().unwrap().into())
    }

    fn owner(tgid: u32, name: u8, cgroup_id: u64) -> Owner {
        let mut process = abi::wb_process {
            tgid,
            cgroup_id,
            ..Default::default()
        };
        process.comm[0] = name;
        Owner::Process(process)
    }

    #[test]
    fn what_several_programs_open_belongs_to_none_of_them_by_its_end() {
        let mut known = Known::default();
        let to = end("10.0.0.2:80");
        let (pool, web) = (owner(7, b'p', 1), owner(8, b'w', 1));
        known.connected(to, 70, pool);
        assert_eq!(known.opener(to, 1), Some(pool));
        known.connected(to, 71, owner(9, b'p', 1));
        assert_eq!(known.opener(to, 1), Some(pool), "another process of it");
        known.connected(to, 80, web);
        assert_eq!(known.opener(to, 1), None);
        known.forget_clients();
        assert_eq!(known.opener(to, 1), None);
    }

    #[test]
    fn the_cgroup_of_a_socket_tells_programs_apart() {
        let mut known = Known::default();
        let to = end("10.0.0.2:80");
        let (pool, web) = (owner(7, b'p', 1), owner(8, b'w', 2));
        known.connected(to, 70, pool);
        assert_eq!(known.opener(to, 2), None, "it is somebody else's");
        known.connected(to, 80, web);
        assert_eq!(
            (known.opener(to, 1), known.opener(to, 2)),
            (Some(pool), Some(web))
        );
        assert_eq!(known.opener(to, 0), None, "the kernel does not say");
    }

    #[test]
    fn a_stranger_forbids_to_guess_until_it_is_known() {
        let mut known = Known::default();
        let to = end("10.0.0.2:80");
        let pool = owner(7, b'p', 1);
        known.connected(to, 70, pool);
        known.is_strange(to, 80);
        assert_eq!(known.opener(to, 1), None);
        known.connected(to, 80, owner(9, b'p', 1));
        assert_eq!(known.opener(to, 1), Some(pool));
    }

    #[test]
    fn who_accepts_is_forgotten_with_the_listener() {
        let mut known = Known::default();
        let (at, worker) = (end("10.0.0.1:80"), owner(7, b'w', 1));
        known.accepted(at, 5, worker);
        assert_eq!(known.acceptor(at, Some(5)), Some(worker));
        assert_eq!(known.acceptor(at, None), Some(worker), "it has closed it");
        assert_eq!(known.acceptor(at, Some(6)), None);
        known.forget_servers(|_| false);
        assert_eq!(known.acceptor(at, Some(5)), None);
    }
}
