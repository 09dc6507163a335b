//! What the rows of a batch belong to, each once: networks, and subjects.
//!
//! A subject is a process in a role at a service port; the families refer to subjects and networks
//! by number. Rows are sorted by these numbers, so that neighbours are alike.

use std::collections::VecDeque;

use super::number::Expected;
use super::rate::Groups;
use super::source::{Source, any, column, first, narrow, near, previous, second, sorted};
use crate::error::DecodeError;
use crate::family::connection::Role;
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

/// A process in a role, and where its service is.
#[derive(Clone, Copy, Debug)]
struct Subject {
    role: Role,
    process_id: u32,
    netns: u32,
    local: [u8; 16],
    /// The local port of a server, the remote one of a client.
    port: u16,
}

/// The address of a host in a network: 8 bits of IPv4, 64 bits of IPv6.
fn join(network: u128, host: u64) -> Result<[u8; 16], DecodeError> {
    let address = network | u128::from(host);
    let host_bits = if address >> 32 == 0xffff { 8 } else { 64 };
    if address >> host_bits << host_bits != network || u128::from(host) >> host_bits != 0 {
        return Err(DecodeError::Malformed(format!(
            "network {network:x} has no host {host:x}"
        )));
    }
    Ok(address.to_be_bytes())
}

/// Networks and subjects of a batch, sorted.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    networks: Vec<u128>,
    subjects: Vec<Subject>,
    /// Number of the process in its role per subject.
    processes: Vec<usize>,
}

impl Keys {
    /// The tables `network` and `subject`, for that many rows that refer to both, and so many
    /// addresses beside those of their ends.
    pub(crate) fn read(
        source: &mut impl Source,
        rows: usize,
        addresses: usize,
    ) -> Result<Self, DecodeError> {
        let mut keys = Self {
            networks: networks(source, (2 * rows).saturating_add(addresses))?,
            ..Self::default()
        };
        keys.subjects = keys.subjects(source, rows)?;
        let mut number = 0;
        let mut last = None;
        for subject in &keys.subjects {
            let process = (subject.role, subject.process_id);
            number += usize::from(last.replace(process).is_some_and(|last| last != process));
            keys.processes.push(number);
        }
        Ok(keys)
    }

    fn subjects(&self, source: &mut impl Source, most: usize) -> Result<Vec<Subject>, DecodeError> {
        let rows = source.table("subject");
        check_used("subject", rows, most)?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let roles = any(source, "role", "0 client, 1 server")?;
        let ids = column("process_id", "at least the one before of the same role");
        let processes = source.numbers(ids, &mut |row, before| {
            let same = row > 0 && roles[row] == roles[row - 1];
            Expected::AtLeast(if same { before[row - 1] } else { 0 })
        })?;
        let networks = near(source, "local_network", "near the one before")?;
        let hosts = near(source, "local_host", "near the one before")?;
        let netns = from_recency(&any(source, "netns", "recency")?);
        let ports = from_recency(&any(source, "port", "recency")?);
        let subject = |row: usize| {
            Ok(Subject {
                process_id: narrow(processes[row], "process_id")?,
                role: role(roles[row])?,
                netns: narrow(netns[row], "netns")?,
                local: self.address(networks[row], hosts[row])?,
                port: narrow(ports[row], "port")?,
            })
        };
        (0..rows).map(subject).collect()
    }

    /// The address of a host in the network of that number.
    pub(crate) fn address(&self, network: u64, host: u64) -> Result<[u8; 16], DecodeError> {
        join(
            self.networks[find("network", network, self.networks.len())?],
            host,
        )
    }
}

fn networks(source: &mut impl Source, most: usize) -> Result<Vec<u128>, DecodeError> {
    let rows = source.table("network");
    check_used("network", rows, most)?;
    if rows == 0 {
        return Ok(Vec::new());
    }
    let high = sorted(source, "high", "at least the one before")?;
    let low = sorted(source, "low", "at least the one before")?;
    let whole = |(high, low)| u128::from(high) << 64 | u128::from(low);
    Ok(high.into_iter().zip(low).map(whole).collect())
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

fn role(code: u64) -> Result<Role, DecodeError> {
    match code {
        0 => Ok(Role::Client),
        1 => Ok(Role::Server),
        _ => Err(DecodeError::Malformed(format!("no role {code}"))),
    }
}

/// Values that are remembered for [`from_recency`].
const RECENT: usize = 64;

/// Values from their places among the most recent ones, or, where one was not there, from itself plus
/// the number of places.
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
    pub(crate) fn read(source: &mut impl Source, keys: &Keys) -> Result<Self, DecodeError> {
        let note = "high: subject, at least the one before; low: network, at least the one before of \
            the same subject";
        let subject = source.numbers(first("subject_network", note), &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        let same = |row: usize| row > 0 && subject[row] == subject[row - 1];
        let network = source.numbers(second("subject_network"), &mut |row, before| {
            Expected::AtLeast(if same(row) { before[row - 1] } else { 0 })
        })?;
        let number = |(numbers, count, what): (&[u64], usize, &str)| {
            let numbers = numbers.iter().map(|number| find(what, *number, count));
            numbers.collect::<Result<Vec<_>, _>>()
        };
        let subjects = number((&subject, keys.subjects.len(), "subject"))?;
        let networks = number((&network, keys.networks.len(), "network"))?;
        let processes = subjects.iter().map(|subject| keys.processes[*subject]);
        let processes = processes.collect();
        let note = "remote port of a server, local port of a client";
        let other_port = any(source, "other_port", note)?;
        Ok(Self {
            host: hosts(source, keys, &subjects, &networks)?,
            other_port,
            subjects,
            networks,
            processes,
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

    /// Role of one row.
    pub(crate) fn role(&self, row: usize, keys: &Keys) -> Role {
        keys.subjects[self.subjects[row]].role
    }

    /// Both ends of one row.
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

fn hosts(
    source: &mut impl Source,
    keys: &Keys,
    subjects: &[usize],
    networks: &[usize],
) -> Result<Vec<u64>, DecodeError> {
    let mut last_host = vec![0; keys.networks.len()];
    let host = column(
        "host",
        "at least the one before of the same subject and network; else \
        of IPv6 near the network's last, of IPv4 anything",
    );
    source.numbers(host, &mut |row, before| {
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
