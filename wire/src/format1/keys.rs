//! What the rows of a batch belong to, each once: networks, and subjects.
//!
//! A subject is a process in a role at a service port; the families refer to subjects and networks
//! by number. Rows are sorted by these numbers, so that neighbours are alike.

use std::collections::{BTreeSet, VecDeque};

use super::codec::{Codec, column, first, narrow, previous, second};
use super::number::Expected;
use super::rate::Groups;
use crate::batch::Batch;
use crate::error::DecodeError;
use crate::family::connection::{EdgeRow, EventRow, Role, SightingRow};
use crate::value::Endpoint;

/// The part of a row that says whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) process_id: u32,
    pub(crate) role: Role,
    pub(crate) netns: u32,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
}

/// A network and a host in it; 24 and 8 bits of IPv4, 64 and 64 bits of IPv6.
type Address = (u128, u64);

/// A process in a role, and where its service is. Sorted by role first, because servers measure no
/// handshakes and the columns of these are then empty for half of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    role: Role,
    process_id: u32,
    netns: u32,
    local: Address,
    /// The local port of a server, the remote one of a client.
    port: u16,
}

/// Network and host of an address.
pub(crate) fn split(address: [u8; 16]) -> Address {
    let address = u128::from_be_bytes(address);
    let host_bits = if address >> 32 == 0xffff { 8 } else { 64 };
    let network = address >> host_bits << host_bits;
    (
        network,
        u64::try_from(address - network).expect("at most 64 bits"),
    )
}

/// The inverse of [`split`].
fn join(network: u128, host: u64) -> Result<[u8; 16], DecodeError> {
    let address = (network | u128::from(host)).to_be_bytes();
    if split(address) != (network, host) {
        return Err(DecodeError::Malformed(format!(
            "network {network:x} has no host {host:x}"
        )));
    }
    Ok(address)
}

impl Ends {
    fn subject(&self) -> Subject {
        let port = match self.role {
            Role::Client => self.remote.port,
            Role::Server => self.local.port,
        };
        let local = split(self.local.addr);
        Subject {
            process_id: self.process_id,
            role: self.role,
            netns: self.netns,
            local,
            port,
        }
    }

    fn other_port(&self) -> u16 {
        match self.role {
            Role::Client => self.local.port,
            Role::Server => self.remote.port,
        }
    }

    /// The order of rows within a family.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        (self.subject(), split(self.remote.addr), self.other_port())
    }
}

macro_rules! ends_of {
    ($($row:ty),*) => { $(
        impl From<&$row> for Ends {
            fn from(row: &$row) -> Self {
                let (local, remote) = (row.local, row.remote);
                Self { process_id: row.process_id, role: row.role, netns: row.netns, local, remote }
            }
        }
    )* };
}
ends_of!(EdgeRow, SightingRow, EventRow);

/// Networks and subjects of a batch, sorted.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    networks: Vec<u128>,
    subjects: Vec<Subject>,
    /// Number of the process in its role per subject.
    processes: Vec<usize>,
}

impl Keys {
    /// Of all ends in a batch, and of further addresses that its rows have.
    pub(crate) fn of(batch: &Batch, addresses: impl Iterator<Item = [u8; 16]>) -> Self {
        let ends = batch.edges.iter().map(Ends::from);
        let ends = ends.chain(batch.sightings.iter().map(Ends::from));
        let mut networks = BTreeSet::new();
        let mut subjects = BTreeSet::new();
        for ends in ends.chain(batch.events.iter().map(Ends::from)) {
            networks.extend([split(ends.local.addr).0, split(ends.remote.addr).0]);
            subjects.insert(ends.subject());
        }
        networks.extend(addresses.map(|address| split(address).0));
        Self {
            networks: networks.into_iter().collect(),
            subjects: subjects.into_iter().collect(),
            processes: Vec::new(),
        }
    }

    /// The tables `network` and `subject`, for that many rows that refer to both, and so many
    /// addresses beside those of their ends.
    pub(crate) fn code(
        &mut self,
        codec: &mut impl Codec,
        rows: usize,
        addresses: usize,
    ) -> Result<(), DecodeError> {
        self.code_networks(codec, (2 * rows).saturating_add(addresses))?;
        self.code_subjects(codec, rows)?;
        let mut number = 0;
        let mut last = None;
        for subject in &self.subjects {
            let process = (subject.role, subject.process_id);
            number += usize::from(last.replace(process).is_some_and(|last| last != process));
            self.processes.push(number);
        }
        Ok(())
    }

    fn code_networks(&mut self, codec: &mut impl Codec, most: usize) -> Result<(), DecodeError> {
        let mut rows = self.networks.len();
        codec.table("network", &mut rows)?;
        check_used("network", rows, most)?;
        if rows == 0 {
            return Ok(());
        }
        let (mut high, mut low): (Vec<_>, Vec<_>) =
            self.networks.iter().map(|network| halves(*network)).unzip();
        for (name, values) in [("high", &mut high), ("low", &mut low)] {
            let sorted = column(name, "at least the one before");
            codec.numbers(sorted, values, &mut |row, before| {
                Expected::AtLeast(previous(row, before))
            })?;
        }
        let whole = |(high, low)| u128::from(high) << 64 | u128::from(low);
        self.networks = high.into_iter().zip(low).map(whole).collect();
        Ok(())
    }

    fn code_subjects(&mut self, codec: &mut impl Codec, most: usize) -> Result<(), DecodeError> {
        let mut rows = self.subjects.len();
        codec.table("subject", &mut rows)?;
        check_used("subject", rows, most)?;
        if rows == 0 {
            return Ok(());
        }
        let list = std::mem::take(&mut self.subjects);
        let mut process = list
            .iter()
            .map(|subject| u64::from(subject.process_id))
            .collect();
        let mut roles = list.iter().map(|subject| subject.role as u64).collect();
        let mut network = list
            .iter()
            .map(|subject| self.network(subject.local.0))
            .collect();
        let mut host = list.iter().map(|subject| subject.local.1).collect();
        let mut netns = recency(list.iter().map(|subject| u64::from(subject.netns)));
        let mut port = recency(list.iter().map(|subject| u64::from(subject.port)));
        codec.numbers(
            column("role", "0 client, 1 server"),
            &mut roles,
            &mut |_, _| Expected::ANY,
        )?;
        let ids = column("process_id", "at least the one before of the same role");
        codec.numbers(ids, &mut process, &mut |row, before| {
            let same = row > 0 && roles[row] == roles[row - 1];
            Expected::AtLeast(if same { before[row - 1] } else { 0 })
        })?;
        for (name, values) in [("local_network", &mut network), ("local_host", &mut host)] {
            codec.numbers(
                column(name, "near the one before"),
                values,
                &mut |row, before| Expected::near(previous(row, before)),
            )?;
        }
        for (name, values) in [("netns", &mut netns), ("port", &mut port)] {
            codec.numbers(column(name, "recency"), values, &mut |_, _| Expected::ANY)?;
        }
        let (netns, port) = (from_recency(&netns), from_recency(&port));
        for row in 0..rows {
            let network = self.find_network(network[row])?;
            join(self.networks[network], host[row])?;
            self.subjects.push(Subject {
                process_id: narrow(process[row], "process_id")?,
                role: role(roles[row])?,
                netns: narrow(netns[row], "netns")?,
                local: (self.networks[network], host[row]),
                port: narrow(port[row], "port")?,
            });
        }
        Ok(())
    }

    /// The number of a network that [`Self::of`] saw.
    pub(crate) fn network(&self, network: u128) -> u64 {
        let found = self.networks.binary_search(&network);
        found.expect("the writer collected every network it refers to") as u64
    }

    /// The address of a host in the network of that number.
    pub(crate) fn address(&self, network: u64, host: u64) -> Result<[u8; 16], DecodeError> {
        join(self.networks[self.find_network(network)?], host)
    }

    fn find_network(&self, number: u64) -> Result<usize, DecodeError> {
        find("network", number, self.networks.len())
    }
}

/// Every row of a table of keys is referred to by a row of a family.
fn check_used(what: &str, rows: usize, most: usize) -> Result<(), DecodeError> {
    if rows > most {
        return Err(DecodeError::Malformed(format!(
            "{rows} rows of {what} for at most {most}"
        )));
    }
    Ok(())
}

/// An index into a list of that length.
fn find(what: &str, number: u64, length: usize) -> Result<usize, DecodeError> {
    let index = usize::try_from(number).ok().filter(|index| *index < length);
    index.ok_or_else(|| DecodeError::Malformed(format!("no {what} has the number {number}")))
}

fn halves(number: u128) -> (u64, u64) {
    let bytes = number.to_be_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    (u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
}

fn role(code: u64) -> Result<Role, DecodeError> {
    match code {
        0 => Ok(Role::Client),
        1 => Ok(Role::Server),
        _ => Err(DecodeError::Malformed(format!("no role {code}"))),
    }
}

/// Values that are remembered for [`recency`].
const RECENT: usize = 64;

/// Replaces each value by its place among the most recent ones, or, where it is not there, by the
/// value itself plus the number of places. For values of at most 32 bits.
fn recency(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut recent = VecDeque::new();
    let code = |value| {
        let place = recent.iter().position(|known| *known == value);
        let code = place.map_or_else(|| value + recent.len() as u64, |place| place as u64);
        remember(&mut recent, place, value);
        code
    };
    values.map(code).collect()
}

fn from_recency(codes: &[u64]) -> Vec<u64> {
    let mut recent = VecDeque::new();
    let value = |code: &u64| {
        let place = usize::try_from(*code)
            .ok()
            .filter(|place| *place < recent.len());
        let value = place.map_or_else(|| *code - recent.len() as u64, |place| recent[place]);
        remember(&mut recent, place, value);
        value
    };
    codes.iter().map(value).collect()
}

fn remember(recent: &mut VecDeque<u64>, place: Option<usize>, value: u64) {
    match place {
        Some(place) => _ = recent.remove(place),
        None => recent.truncate(RECENT - 1),
    }
    recent.push_front(value);
}

/// The columns by which the rows of a family refer to their ends.
#[derive(Debug, Default)]
pub(crate) struct EndColumns {
    subject: Vec<u64>,
    network: Vec<u64>,
    host: Vec<u64>,
    other_port: Vec<u64>,
    /// Number of the subject per row.
    pub(crate) subjects: Vec<usize>,
    /// Number of the remote address's network per row.
    pub(crate) networks: Vec<usize>,
    /// Number of the process in its role per row.
    pub(crate) processes: Vec<usize>,
}

impl EndColumns {
    /// From rows in the order of [`Ends::order`].
    pub(crate) fn of(rows: impl Iterator<Item = Ends>, keys: &Keys) -> Self {
        let mut columns = Self::default();
        for ends in rows {
            let subject = keys.subjects.binary_search(&ends.subject());
            let subject = subject.expect("the writer collected every subject it refers to");
            let (network, host) = split(ends.remote.addr);
            columns.subject.push(subject as u64);
            columns.network.push(keys.network(network));
            columns.host.push(host);
            columns.other_port.push(u64::from(ends.other_port()));
        }
        columns
    }

    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        let note = "high: subject, at least the one before; low: network, at least the one before of \
            the same subject";
        let sorted = first("subject_network", note);
        codec.numbers(sorted, &mut self.subject, &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        let subject = &self.subject;
        let same = |row: usize| row > 0 && subject[row] == subject[row - 1];
        let sorted = second("subject_network");
        codec.numbers(sorted, &mut self.network, &mut |row, before| {
            Expected::AtLeast(if same(row) { before[row - 1] } else { 0 })
        })?;
        let number = |(numbers, count, what): (&[u64], usize, &str)| {
            numbers
                .iter()
                .map(|number| find(what, *number, count))
                .collect::<Result<_, _>>()
        };
        self.subjects = number((&self.subject, keys.subjects.len(), "subject"))?;
        self.networks = number((&self.network, keys.networks.len(), "network"))?;
        self.processes = self
            .subjects
            .iter()
            .map(|subject| keys.processes[*subject])
            .collect();
        let other = column(
            "other_port",
            "remote port of a server, local port of a client",
        );
        codec.numbers(other, &mut self.other_port, &mut |_, _| Expected::ANY)?;
        self.code_hosts(codec, keys)
    }

    fn code_hosts(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        let (subjects, networks) = (&self.subjects, &self.networks);
        let mut last_host = vec![0; keys.networks.len()];
        let host = column(
            "host",
            "at least the one before of the same subject and network; else \
            of IPv6 near the network's last, of IPv4 anything",
        );
        codec.numbers(host, &mut self.host, &mut |row, before| {
            let network = networks[row];
            if row > 0 {
                last_host[networks[row - 1]] = before[row - 1];
                if subjects[row - 1] == subjects[row] && networks[row - 1] == network {
                    return Expected::AtLeast(before[row - 1]);
                }
            }
            let ipv4 = keys.networks[network] >> 32 == 0xffff;
            if ipv4 {
                Expected::ANY
            } else {
                Expected::near(last_host[network])
            }
        })
    }

    /// Rows of one subject behave alike, and those of one process still somewhat.
    pub(crate) fn services(&self) -> Groups<'_> {
        Groups {
            fine: &self.subjects,
            coarse: Some(&self.processes),
        }
    }

    /// Rows of one network share its losses.
    pub(crate) fn all_networks(&self) -> Groups<'_> {
        Groups {
            fine: &self.networks,
            coarse: None,
        }
    }

    /// Role of one row, after [`Self::code`].
    pub(crate) fn role(&self, row: usize, keys: &Keys) -> Role {
        keys.subjects[self.subjects[row]].role
    }

    /// Both ends of one row, after [`Self::code`].
    pub(crate) fn row(&self, row: usize, keys: &Keys) -> Result<Ends, DecodeError> {
        let Subject {
            process_id,
            role,
            netns,
            local,
            port,
        } = keys.subjects[self.subjects[row]];
        let remote = join(keys.networks[self.networks[row]], self.host[row])?;
        let other = narrow(self.other_port[row], "port")?;
        let (local_port, remote_port) = match role {
            Role::Client => (other, port),
            Role::Server => (port, other),
        };
        Ok(Ends {
            process_id,
            role,
            netns,
            local: Endpoint {
                addr: join(local.0, local.1)?,
                port: local_port,
            },
            remote: Endpoint {
                addr: remote,
                port: remote_port,
            },
        })
    }
}
