//! Family `nat`: what gateways translated.

use super::codec::{Codec, column, narrow, previous};
use super::keys::{Keys, split};
use super::number::Expected;
use crate::error::DecodeError;
use crate::family::nat::NatRow;
use crate::value::Endpoint;

/// Addresses of a row.
pub(crate) const ADDRESSES: usize = 4;

/// The order of a row's addresses in [`NatColumns`], which is that of the rows: clients are the
/// many, so they vary within what stays the same.
const NAMES: [(&str, &str); ADDRESSES] = [
    ("dialled_network", "dialled_host"),
    ("server_network", "server_host"),
    ("source_network", "source_host"),
    ("client_network", "client_host"),
];

/// The addresses of a row in the order of [`NAMES`].
pub(crate) fn addresses(row: &NatRow) -> [[u8; 16]; ADDRESSES] {
    [row.dialled.addr, row.server.addr, row.source, row.client]
}

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct NatColumns {
    netns: Vec<u64>,
    dialled_port: Vec<u64>,
    server_port: Vec<u64>,
    /// Per address of [`NAMES`]: numbers of networks, and hosts in them.
    addresses: [(Vec<u64>, Vec<u64>); ADDRESSES],
    /// Milliseconds from the beginning to the end of the interval, wrapping.
    age: Vec<u64>,
    opened: Vec<u64>,
}

impl NatColumns {
    pub(crate) fn of(rows: &[NatRow], end_ms: u64, keys: &Keys) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| {
            let ports = (row.dialled.port, row.server.port);
            (row.netns, ports, addresses(row), row.since_ms, row.opened)
        });
        let all = |get: &dyn Fn(&NatRow) -> u64| rows.iter().map(|row| get(row)).collect();
        let address = |at: usize| {
            let parts = rows.iter().map(|row| split(addresses(row)[at]));
            parts
                .map(|(network, host)| (keys.network(network), host))
                .unzip()
        };
        Self {
            netns: all(&|row| u64::from(row.netns)),
            dialled_port: all(&|row| u64::from(row.dialled.port)),
            server_port: all(&|row| u64::from(row.server.port)),
            addresses: std::array::from_fn(address),
            age: all(&|row| end_ms.wrapping_sub(row.since_ms)),
            opened: all(&|row| row.opened),
        }
    }

    /// The table `nat`.
    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        let age = "milliseconds before the end of the interval; near the one before";
        let near = |codec: &mut _, name, note, values: &mut Vec<u64>| {
            Codec::numbers(codec, column(name, note), values, &mut |row, before| {
                Expected::near(previous(row, before))
            })
        };
        let note = "near the one before";
        near(codec, "netns", note, &mut self.netns)?;
        near(codec, "dialled_port", note, &mut self.dialled_port)?;
        near(codec, "server_port", note, &mut self.server_port)?;
        for ((network, host), (networks, hosts)) in NAMES.iter().zip(&mut self.addresses) {
            near(codec, network, note, networks)?;
            near(codec, host, note, hosts)?;
            for (network, host) in networks.iter().zip(hosts) {
                keys.address(*network, *host)?;
            }
        }
        near(codec, "since_ms", age, &mut self.age)?;
        codec.numbers(column("opened", ""), &mut self.opened, &mut |_, _| {
            Expected::ANY
        })
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(&self, end_ms: u64, keys: &Keys) -> Result<Vec<NatRow>, DecodeError> {
        let row = |row: usize| {
            let address = |at: usize| {
                let (networks, hosts) = &self.addresses[at];
                keys.address(networks[row], hosts[row])
            };
            Ok(NatRow {
                total: true,
                netns: narrow(self.netns[row], "netns")?,
                client: address(3)?,
                dialled: Endpoint {
                    addr: address(0)?,
                    port: narrow(self.dialled_port[row], "port")?,
                },
                source: address(2)?,
                server: Endpoint {
                    addr: address(1)?,
                    port: narrow(self.server_port[row], "port")?,
                },
                since_ms: end_ms.wrapping_sub(self.age[row]),
                opened: self.opened[row],
            })
        };
        (0..self.opened.len()).map(row).collect()
    }
}
