//! Family `nat`: what gateways translated.

use crate::table::table;
use crate::value::Endpoint;

table! {
    /// Connections that a gateway translated, all with the same addresses before and after.
    ///
    /// What the two tuples of conntrack say, without ephemeral ports: `client` dialled `dialled`,
    /// and `source` reached `server`. Where a gateway rewrites one direction only, that pair is
    /// equal.
    NatRow is Links "nat" of "nat" version 1,
    sorted by |row| (
        (row.total, row.netns, row.dialled.port, row.server.port),
        (row.dialled.addr, row.server.addr, row.source, row.client),
        (row.since_ms, row.opened),
    );

    /// Set: the numbers are totals since the series began, as of the end of the interval; not set:
    /// what the interval added.
    total: bool = Dimension "",
    /// Network namespace inode number of the gateway.
    netns: u32 = Dimension "",
    /// Address that dialled, as the gateway saw it arrive.
    client: [u8; 16] = Address "",
    /// Address and port it dialled: a VIP, or the server itself.
    dialled: Endpoint = Dimension "",
    /// Address with which the connections left the gateway.
    source: [u8; 16] = Address "",
    /// Address and port they went to.
    server: Endpoint = Dimension "",
    /// Time at which the series began, and counted from zero.
    since_ms: u64 = Time "ms",
    /// Connections.
    opened: u64 = Counter "{connection}",
}
