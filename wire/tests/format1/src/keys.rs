//! What the rows of a batch belong to, each once: networks, and subjects. Rows are sorted by these,
//! so that neighbours are alike.

use std::collections::{BTreeSet, VecDeque};

use wire::{Batch, EdgeRow, Endpoint, EventRow, NatRow, Role, SightingRow};

/// A network and a host in it; 24 and 8 bits of IPv4, 64 and 64 bits of IPv6.
pub(crate) type Address = (u128, u64);

/// Network and host of an address.
pub(crate) fn split(address: [u8; 16]) -> Address {
    let address = u128::from_be_bytes(address);
    let host_bits = if address >> 32 == 0xffff { 8 } else { 64 };
    let network = address >> host_bits << host_bits;
    let host = u64::try_from(address - network).expect("at most 64 bits");
    (network, host)
}

/// A process in a role, and where its service is. Sorted by role first, because servers measure no
/// handshakes and the columns of these are then empty for half of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) role: Role,
    pub(crate) process_id: u32,
    pub(crate) netns: u32,
    pub(crate) local: Address,
    /// The local port of a server, the remote one of a client.
    pub(crate) port: u16,
}

/// The part of a row that says whose connection it is, in the order of rows within a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) subject: Subject,
    pub(crate) remote: Address,
    pub(crate) other_port: u16,
}

impl Ends {
    fn new(process_id: u32, role: Role, netns: u32, (local, remote): (Endpoint, Endpoint)) -> Self {
        let (port, other_port) = match role {
            Role::Client => (remote.port, local.port),
            Role::Server => (local.port, remote.port),
        };
        Self {
            subject: Subject {
                role,
                process_id,
                netns,
                local: split(local.addr),
                port,
            },
            remote: split(remote.addr),
            other_port,
        }
    }
}

macro_rules! ends_of {
    ($($row:ty),*) => { $(
        impl From<&$row> for Ends {
            fn from(row: &$row) -> Self {
                Self::new(row.process_id, row.role, row.netns, (row.local, row.remote))
            }
        }
    )* };
}
ends_of!(EdgeRow, SightingRow, EventRow);

/// The addresses of a translation in the order in which their columns come.
pub(crate) fn addresses(row: &NatRow) -> [[u8; 16]; 4] {
    [row.dialled.addr, row.server.addr, row.source, row.client]
}

/// Networks and subjects of a batch, sorted.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) networks: Vec<u128>,
    pub(crate) subjects: Vec<Subject>,
}

impl Keys {
    pub(crate) fn of(batch: &Batch) -> Self {
        let ends = batch.edges.iter().map(Ends::from);
        let ends = ends.chain(batch.sightings.iter().map(Ends::from));
        let mut networks = BTreeSet::new();
        let mut subjects = BTreeSet::new();
        for ends in ends.chain(batch.events.iter().map(Ends::from)) {
            networks.extend([ends.subject.local.0, ends.remote.0]);
            subjects.insert(ends.subject);
        }
        let translated = batch.nats.iter().flat_map(addresses);
        networks.extend(translated.map(|address| split(address).0));
        Self {
            networks: networks.into_iter().collect(),
            subjects: subjects.into_iter().collect(),
        }
    }

    pub(crate) fn network(&self, network: u128) -> u64 {
        let found = self.networks.binary_search(&network);
        found.expect("every network that rows refer to") as u64
    }

    pub(crate) fn subject(&self, subject: &Subject) -> u64 {
        let found = self.subjects.binary_search(subject);
        found.expect("every subject that rows refer to") as u64
    }
}

/// Values that are remembered for [`recency`].
const RECENT: usize = 64;

/// Replaces each value by its place among the most recent ones, or, where it is not there, by the
/// value itself plus the number of places. For values of at most 32 bits.
pub(crate) fn recency(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut recent = VecDeque::new();
    let code = |value| {
        let place = recent.iter().position(|known| *known == value);
        let code = place.map_or_else(|| value + recent.len() as u64, |place| place as u64);
        match place {
            Some(place) => _ = recent.remove(place),
            None => recent.truncate(RECENT - 1),
        }
        recent.push_front(value);
        code
    };
    values.map(code).collect()
}
