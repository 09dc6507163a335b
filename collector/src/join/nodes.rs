//! Nodes of a topology: what stands for a service on a host, or for an address.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::edges::Side;
use super::{HostId, Input, Process};
use crate::accept::hex;
use crate::topology::{Node, NodeKind, ProcessNode};

/// A unique id for each node: readable where names are unique, still unique where they are not.
pub(super) fn ids<'a>(
    sides: &BTreeSet<&'a Side>,
    hostnames: &BTreeMap<HostId, &str>,
) -> BTreeMap<&'a Side, String> {
    let mut sharers: BTreeMap<&str, BTreeSet<HostId>> = BTreeMap::new();
    for (host, name) in hostnames {
        sharers.entry(name).or_default().insert(*host);
    }
    let mut ids = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for side in sides {
        let id = match side {
            Side::Address(ip) => ip.to_string(),
            Side::Process(key) => {
                let full = hex(&key.host.0);
                let host = match hostnames.get(&key.host).filter(|name| !name.is_empty()) {
                    None => full.clone(),
                    Some(name) if sharers[*name].len() == 1 => (*name).to_owned(),
                    Some(name) => format!("{name}#{}", &full[..8]),
                };
                let mut id = format!("{host}/{}", key.service);
                // Names are the hosts' own words: two may still have chosen the same id.
                while taken.contains(&id) {
                    id = format!("{id}#{full}");
                }
                id
            }
        };
        taken.insert(id.clone());
        ids.insert(*side, id);
    }
    ids
}

/// The process that describes each node: the one last reported.
pub(super) fn processes(input: &Input) -> BTreeMap<(HostId, &str), &Process> {
    let mut best: BTreeMap<(HostId, &str), &Process> = BTreeMap::new();
    for flow in &input.flows {
        let Some(process) = flow.process.map(|at| &input.processes[at]) else {
            continue;
        };
        let rank = |p: &Process| {
            let row = &p.row;
            (
                p.last_ms,
                Reverse(row.process_id),
                row.exe.clone(),
                row.cgroup.clone(),
                row.comm.clone(),
                row.tags.clone(),
            )
        };
        best.entry((flow.host, super::rows::service(Some(process))))
            .and_modify(|known| {
                if rank(process) > rank(known) {
                    *known = process;
                }
            })
            .or_insert(process);
    }
    best
}

/// The node of a side.
pub(super) fn node(
    side: &Side,
    id: &str,
    hostnames: &BTreeMap<HostId, &str>,
    processes: &BTreeMap<(HostId, &str), &Process>,
) -> Node {
    let Side::Process(key) = side else {
        return Node {
            id: id.to_owned(),
            kind: NodeKind::Address,
            process: None,
        };
    };
    let row = processes
        .get(&(key.host, key.service.as_str()))
        .map(|process| process.row.clone())
        .unwrap_or_default();
    Node {
        id: id.to_owned(),
        kind: NodeKind::Process,
        process: Some(ProcessNode {
            host: hex(&key.host.0),
            hostname: hostnames
                .get(&key.host)
                .map_or(String::new(), ToString::to_string),
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
