//! Family `nat`: what gateways translated.

use super::keys::Keys;
use super::source::{Source, any, narrow, near};
use crate::error::DecodeError;
use crate::family::nat::NatRow;
use crate::value::Endpoint;

/// Addresses of a row.
pub(crate) const ADDRESSES: usize = 4;

/// The order of a row's addresses, which is that of the rows: clients are the many, so they vary
/// within what stays the same.
const NAMES: [(&str, &str); ADDRESSES] = [
    ("dialled_network", "dialled_host"),
    ("server_network", "server_host"),
    ("source_network", "source_host"),
    ("client_network", "client_host"),
];

/// The rows, from the table `nat`.
pub(crate) fn read(
    source: &mut impl Source,
    end_ms: u64,
    keys: &Keys,
) -> Result<Vec<NatRow>, DecodeError> {
    let note = "near the one before";
    let netns = near(source, "netns", note)?;
    let dialled_ports = near(source, "dialled_port", note)?;
    let server_ports = near(source, "server_port", note)?;
    let mut addresses = Vec::with_capacity(ADDRESSES);
    for (network, host) in NAMES {
        let networks = near(source, network, note)?;
        let hosts = near(source, host, note)?;
        let whole = networks.into_iter().zip(hosts);
        let whole = whole.map(|(network, host)| keys.address(network, host));
        addresses.push(whole.collect::<Result<Vec<_>, _>>()?);
    }
    let age = "milliseconds before the end of the interval; near the one before";
    let ages = near(source, "since_ms", age)?;
    let opened = any(source, "opened", "")?;
    let row = |row: usize| {
        Ok(NatRow {
            total: true,
            netns: narrow(netns[row], "netns")?,
            client: addresses[3][row],
            dialled: Endpoint {
                addr: addresses[0][row],
                port: narrow(dialled_ports[row], "port")?,
            },
            source: addresses[2][row],
            server: Endpoint {
                addr: addresses[1][row],
                port: narrow(server_ports[row], "port")?,
            },
            since_ms: end_ms.wrapping_sub(ages[row]),
            opened: opened[row],
        })
    };
    (0..opened.len()).map(row).collect()
}
