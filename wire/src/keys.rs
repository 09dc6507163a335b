//! What the rows of a batch belong to, each once: addresses, and subjects.
//!
//! A subject is a process in a role at a service port; the families refer to it and to addresses by
//! number. Rows are sorted by these numbers, so that neighbours are alike.

use std::collections::BTreeSet;

use crate::DecodeError;
use crate::codec::{Codec, column, narrow, previous};
use crate::number::Expected;
use crate::rows::{Batch, EdgeRow, Endpoint, EventRow, Role, SightingRow};

/// The part of a row that says whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) process_id: u32,
    pub(crate) role: Role,
    pub(crate) netns: u32,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
}

/// Process, role, network namespace, local address, service port.
type Subject = (u32, Role, u32, [u8; 16], u16);

impl Ends {
    fn subject(&self) -> Subject {
        let port = match self.role {
            Role::Client => self.remote.port,
            Role::Server => self.local.port,
        };
        (
            self.process_id,
            self.role,
            self.netns,
            self.local.addr,
            port,
        )
    }

    fn other_port(&self) -> u16 {
        match self.role {
            Role::Client => self.local.port,
            Role::Server => self.remote.port,
        }
    }

    /// The order of rows within a family.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        (self.subject(), self.remote.addr, self.other_port())
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

/// Addresses and subjects of a batch.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    addresses: Vec<u128>,
    /// Number of the network of each address.
    networks: Vec<usize>,
    subjects: Vec<Subject>,
}

impl Keys {
    pub(crate) fn of(batch: &Batch) -> Self {
        let ends = batch.edges.iter().map(Ends::from);
        let ends = ends.chain(batch.sightings.iter().map(Ends::from));
        let mut addresses = BTreeSet::new();
        let mut subjects = BTreeSet::new();
        for ends in ends.chain(batch.events.iter().map(Ends::from)) {
            addresses.insert(u128::from_be_bytes(ends.local.addr));
            addresses.insert(u128::from_be_bytes(ends.remote.addr));
            subjects.insert(ends.subject());
        }
        Self {
            addresses: addresses.into_iter().collect(),
            networks: Vec::new(),
            subjects: subjects.into_iter().collect(),
        }
    }

    /// The tables `address` and `subject`.
    pub(crate) fn code(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        self.code_addresses(codec)?;
        self.networks = networks(&self.addresses);
        self.code_subjects(codec)
    }

    fn code_addresses(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let mut rows = self.addresses.len();
        codec.table("address", &mut rows)?;
        if rows == 0 {
            return Ok(());
        }
        let (mut high, mut low): (Vec<_>, Vec<_>) = self
            .addresses
            .iter()
            .map(|address| halves(*address))
            .unzip();
        let sorted = column("high", "at least the one before");
        codec.numbers(sorted, &mut high, &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        let sorted = column("low", "at least the one before");
        codec.numbers(sorted, &mut low, &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        let pairs = high.into_iter().zip(low);
        self.addresses = pairs
            .map(|(high, low)| u128::from(high) << 64 | u128::from(low))
            .collect();
        Ok(())
    }

    fn code_subjects(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let mut rows = self.subjects.len();
        codec.table("subject", &mut rows)?;
        if rows == 0 {
            return Ok(());
        }
        let list = std::mem::take(&mut self.subjects);
        let mut processes = list.iter().map(|subject| u64::from(subject.0)).collect();
        let mut roles = list.iter().map(|subject| subject.1 as u64).collect();
        let mut netns = list.iter().map(|subject| u64::from(subject.2)).collect();
        let mut locals = list.iter().map(|subject| self.address(subject.3)).collect();
        let mut ports = list.iter().map(|subject| u64::from(subject.4)).collect();
        codec.numbers(
            column("process_id", "at least the one before"),
            &mut processes,
            &mut { |row, before| Expected::AtLeast(previous(row, before)) },
        )?;
        codec.numbers(
            column("role", "0 client, 1 server"),
            &mut roles,
            &mut |_, _| Expected::ANY,
        )?;
        for (name, values) in [
            ("netns", &mut netns),
            ("local", &mut locals),
            ("port", &mut ports),
        ] {
            codec.numbers(
                column(name, "near the one before"),
                values,
                &mut |row, before| Expected::near(previous(row, before)),
            )?;
        }
        for row in 0..rows {
            self.subjects.push((
                narrow(processes[row], "process_id")?,
                role(roles[row])?,
                narrow(netns[row], "netns")?,
                self.get(locals[row])?,
                narrow(ports[row], "port")?,
            ));
        }
        Ok(())
    }

    /// The number of an address that [`Self::of`] saw.
    fn address(&self, address: [u8; 16]) -> u64 {
        let found = self.addresses.binary_search(&u128::from_be_bytes(address));
        found.expect("the writer collected every address it refers to") as u64
    }

    fn get(&self, number: u64) -> Result<[u8; 16], DecodeError> {
        let index = usize::try_from(number).ok();
        let address = index.and_then(|index| self.addresses.get(index));
        address
            .map(|address| address.to_be_bytes())
            .ok_or_else(|| missing("address", number))
    }
}

fn missing(what: &str, number: u64) -> DecodeError {
    DecodeError::Malformed(format!("no {what} has the number {number}"))
}

fn halves(address: u128) -> (u64, u64) {
    let bytes = address.to_be_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    (u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
}

/// Numbers the networks of sorted addresses: 24 bits of IPv4, 64 bits of IPv6.
fn networks(addresses: &[u128]) -> Vec<usize> {
    let network = |address: u128| {
        if address >> 32 == 0xffff {
            address >> 8
        } else {
            address >> 64
        }
    };
    let mut number = 0;
    let mut last = None;
    let mut list = Vec::with_capacity(addresses.len());
    for address in addresses {
        let found = network(*address);
        number += usize::from(last.replace(found).is_some_and(|last| last != found));
        list.push(number);
    }
    list
}

fn role(code: u64) -> Result<Role, DecodeError> {
    match code {
        0 => Ok(Role::Client),
        1 => Ok(Role::Server),
        _ => Err(DecodeError::Malformed(format!("no role {code}"))),
    }
}

/// The columns by which the rows of a family refer to their ends.
#[derive(Debug, Default)]
pub(crate) struct EndColumns {
    subject: Vec<u64>,
    remote: Vec<u64>,
    other_port: Vec<u64>,
    /// Number of the subject per row.
    pub(crate) subjects: Vec<usize>,
    /// Number of the remote address's network per row.
    pub(crate) networks: Vec<usize>,
}

impl EndColumns {
    /// From rows in the order of [`Ends::order`].
    pub(crate) fn of(rows: impl Iterator<Item = Ends>, keys: &Keys) -> Self {
        let mut columns = Self::default();
        for ends in rows {
            let subject = keys.subjects.binary_search(&ends.subject());
            let subject = subject.expect("the writer collected every subject it refers to");
            columns.subject.push(subject as u64);
            columns.remote.push(keys.address(ends.remote.addr));
            columns.other_port.push(u64::from(ends.other_port()));
        }
        columns
    }

    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        let sorted = column("subject", "at least the one before");
        codec.numbers(sorted, &mut self.subject, &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        let subject = &self.subject;
        let sorted = column("remote", "at least the one before of the same subject");
        codec.numbers(sorted, &mut self.remote, &mut |row, before| {
            let same = row > 0 && subject[row] == subject[row - 1];
            Expected::AtLeast(if same { before[row - 1] } else { 0 })
        })?;
        let other = column(
            "other_port",
            "remote port of a server, local port of a client",
        );
        codec.numbers(other, &mut self.other_port, &mut |_, _| Expected::ANY)?;
        self.check(keys)
    }

    /// Finds what the numbers refer to, so that they can be indexes from here on.
    fn check(&mut self, keys: &Keys) -> Result<(), DecodeError> {
        let found = |number: &u64, count: usize, what| {
            let index = usize::try_from(*number).ok().filter(|index| *index < count);
            index.ok_or_else(|| missing(what, *number))
        };
        let subjects = self.subject.iter();
        self.subjects = subjects
            .map(|n| found(n, keys.subjects.len(), "subject"))
            .collect::<Result<_, _>>()?;
        let remotes = self
            .remote
            .iter()
            .map(|n| found(n, keys.networks.len(), "address"));
        self.networks = remotes
            .map(|index| Ok(keys.networks[index?]))
            .collect::<Result<_, DecodeError>>()?;
        Ok(())
    }

    /// Role of one row, after [`Self::code`].
    pub(crate) fn role(&self, row: usize, keys: &Keys) -> Role {
        keys.subjects[self.subjects[row]].1
    }

    /// Both ends of one row, after [`Self::code`].
    pub(crate) fn row(&self, row: usize, keys: &Keys) -> Result<Ends, DecodeError> {
        let (process_id, role, netns, local, service) = keys.subjects[self.subjects[row]];
        let remote = keys.get(self.remote[row])?;
        let other = narrow(self.other_port[row], "port")?;
        let (local_port, remote_port) = match role {
            Role::Client => (other, service),
            Role::Server => (service, other),
        };
        Ok(Ends {
            process_id,
            role,
            netns,
            local: Endpoint {
                addr: local,
                port: local_port,
            },
            remote: Endpoint {
                addr: remote,
                port: remote_port,
            },
        })
    }
}
