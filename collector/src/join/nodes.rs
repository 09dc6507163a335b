//! Nodes of a topology: what stands for a service on a host, or for an address.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use wire::ProcessRow;

use super::input::{HostId, Input};
use super::rows::{NodeKey, UNKNOWN_SERVICE};
use super::side::Side;
use crate::digest::{hex, unhex};
use crate::topology::{Node, NodeKind, ProcessNode};

/// All nodes that edges name.
pub(super) struct Nodes {
    /// Sorted.
    sides: Vec<Side>,
    /// The id of each: readable where names are unique, still unique where they are not.
    ids: Vec<String>,
    /// The places of both in the order of the ids.
    order: Vec<u32>,
    /// The inverse: of each its place in that order.
    ranks: Vec<u32>,
    /// By their numbers.
    keys: Vec<NodeKey>,
    hostnames: BTreeMap<HostId, String>,
    copies: BTreeSet<HostId>,
    /// The process that describes each.
    processes: Vec<Option<ProcessRow>>,
}

impl Nodes {
    /// Those of `sides`, which are sorted.
    pub(super) fn of(
        keys: Vec<NodeKey>,
        processes: Vec<Option<ProcessRow>>,
        (hosts, copies): (Vec<(HostId, String)>, BTreeSet<HostId>),
        sides: Vec<Side>,
    ) -> Self {
        let hostnames = hosts.into_iter().collect();
        let ids = ids(&sides, &keys, &hostnames);
        let mut order: Vec<u32> = (0..).take(ids.len()).collect();
        order.sort_unstable_by(|a, b| ids[*a as usize].cmp(&ids[*b as usize]));
        let mut ranks = vec![0; order.len()];
        for (rank, at) in (0..).zip(&order) {
            ranks[*at as usize] = rank;
        }
        Self {
            sides,
            ids,
            order,
            ranks,
            keys,
            hostnames,
            copies,
            processes,
        }
    }

    /// The name of the host of this id, 32 hexadecimal digits.
    pub(super) fn hostname(&self, id: &str) -> Option<&str> {
        let name = self.hostnames.get(&HostId(unhex(id)?))?;
        Some(name.as_str())
    }

    /// The id of a side that an edge names.
    pub(super) fn id(&self, side: &Side) -> &str {
        &self.ids[self.place(side)]
    }

    /// Whether the node at a place in the order of the ids is a host's, but of a process that is not
    /// known.
    pub(super) fn is_unknown_at(&self, rank: usize) -> bool {
        match self.sides[self.order[rank] as usize] {
            Side::Process(node) => self.keys[node as usize].service == UNKNOWN_SERVICE,
            Side::Address(_) | Side::Network(..) => false,
        }
    }

    /// The place of a side in the order of the ids.
    pub(super) fn rank(&self, side: &Side) -> u32 {
        self.ranks[self.place(side)]
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let ids = self
            .ids
            .iter()
            .map(|id| size_of::<String>() + id.len() + 24);
        let keys = self
            .keys
            .iter()
            .map(|key| size_of::<NodeKey>() + key.service.len() + 24);
        let rows = self.processes.iter().flatten();
        let rows = rows.map(|row| {
            let texts = [
                &row.comm,
                &row.exe,
                &row.cgroup,
                &row.container,
                &row.unit,
                &row.service,
            ];
            let tags = row
                .tags
                .iter()
                .map(|(key, value)| key.len() + value.len() + 96);
            texts.map(|text| text.len() + 24).iter().sum::<usize>() + tags.sum::<usize>()
        });
        let each = size_of::<Side>() + 2 * size_of::<u32>();
        let names = self.hostnames.values().map(|name| name.len() + 96);
        self.sides.len() * each
            + self.processes.len() * size_of::<Option<ProcessRow>>()
            + ids.sum::<usize>()
            + keys.sum::<usize>()
            + rows.sum::<usize>()
            + names.sum::<usize>()
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The id of the node at a place in the order of the ids.
    pub(super) fn id_at(&self, rank: usize) -> &str {
        &self.ids[self.order[rank] as usize]
    }

    /// Kind, host id and service of the node there; of an address its id for a service.
    pub(super) fn name_at(&self, rank: usize) -> (NodeKind, String, &str) {
        match self.sides[self.order[rank] as usize] {
            Side::Address(_) => (NodeKind::Address, String::new(), self.id_at(rank)),
            Side::Network(..) => (NodeKind::Network, String::new(), self.id_at(rank)),
            Side::Process(node) => {
                let key = &self.keys[node as usize];
                (NodeKind::Process, hex(&key.host.0), key.service.as_str())
            }
        }
    }

    /// The node there.
    pub(super) fn at(&self, rank: usize) -> Node {
        self.document(self.order[rank] as usize)
    }

    /// The place of a side among all.
    fn place(&self, side: &Side) -> usize {
        // Most often every process has an edge.
        if let Side::Process(node) = side
            && self.sides.get(*node as usize) == Some(side)
        {
            return *node as usize;
        }
        let found = self.sides.binary_search(side);
        found.expect("the sides of all edges")
    }

    /// Sorted by id.
    pub(super) fn documents(&self) -> impl Iterator<Item = Node> {
        self.order.iter().map(|at| self.document(*at as usize))
    }

    fn document(&self, at: usize) -> Node {
        let id = self.ids[at].clone();
        let other = |id, kind| Node {
            id,
            kind,
            process: None,
        };
        let node = match self.sides[at] {
            Side::Process(node) => node as usize,
            Side::Address(_) => return other(id, NodeKind::Address),
            Side::Network(..) => return other(id, NodeKind::Network),
        };
        let key = &self.keys[node];
        let row = self.processes[node].clone().unwrap_or_default();
        Node {
            id,
            kind: NodeKind::Process,
            process: Some(ProcessNode {
                host: hex(&key.host.0),
                host_copied: self.copies.contains(&key.host),
                hostname: self.hostnames.get(&key.host).cloned().unwrap_or_default(),
                service: key.service.clone(),
                exe: row.exe,
                comm: row.comm,
                cgroup: row.cgroup,
                container: row.container,
                unit: row.unit,
                tags: row.tags.into_iter().collect(),
            }),
        }
    }
}

fn ids(sides: &[Side], keys: &[NodeKey], hostnames: &BTreeMap<HostId, String>) -> Vec<String> {
    let mut sharers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in hostnames.values() {
        *sharers.entry(name).or_default() += 1;
    }
    // An address cannot be the same, for it has no slash.
    let mut taken: HashSet<String> = HashSet::with_capacity(sides.len());
    let mut id = |side: &Side| {
        let key = match side {
            Side::Address(ip) => return ip.to_string(),
            Side::Network(ip, bits) => {
                let mut id = format!("{ip}/{bits}");
                while !taken.insert(id.clone()) {
                    id.push('#');
                }
                return id;
            }
            Side::Process(node) => &keys[*node as usize],
        };
        let full = hex(&key.host.0);
        let host = match hostnames.get(&key.host).filter(|name| !name.is_empty()) {
            None => full.clone(),
            Some(name) if sharers[name.as_str()] == 1 => name.clone(),
            Some(name) => format!("{name}#{}", &full[..8]),
        };
        let mut id = format!("{host}/{}", key.service);
        // Names are the hosts' own words: two may still have chosen the same id.
        while taken.contains(&id) {
            id = format!("{id}#{full}");
        }
        taken.insert(id.clone());
        id
    };
    sides.iter().map(&mut id).collect()
}

/// The process that describes each node.
pub(super) fn processes(input: &Input, keys: &[NodeKey]) -> Vec<Option<ProcessRow>> {
    let mut owners: Vec<(HostId, usize)> = input
        .flows
        .iter()
        .filter_map(|flow| Some((flow.host, flow.process?)))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    let mut best: BTreeMap<(HostId, &str), &ProcessRow> = BTreeMap::new();
    for (host, process) in owners {
        let process = &input.processes[process];
        best.entry((host, super::rows::service(Some(process))))
            .and_modify(|known| *known = describing(known, &process.row))
            .or_insert(&process.row);
    }
    let of_node = |key: &NodeKey| best.get(&(key.host, key.service.as_str())).copied();
    keys.iter().map(|key| of_node(key).cloned()).collect()
}

/// Of two processes of one service, the one that describes it: which started last, whenever it was
/// told of.
pub(super) fn describing<'a>(a: &'a ProcessRow, b: &'a ProcessRow) -> &'a ProcessRow {
    fn rank(row: &ProcessRow) -> impl Ord {
        (
            (row.started_ms, Reverse(row.process_id)),
            [&row.exe, &row.cgroup, &row.comm, &row.container, &row.unit],
            (&row.tags, row.tgid),
        )
    }
    if rank(b) > rank(a) { b } else { a }
}
