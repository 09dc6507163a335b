//! Address evidence: what tokens left over, joined where both sides name the same addresses.
//!
//! Without NAT in between, the client's remote endpoint is the server's local one and the server's
//! remote address is the client's local one. Private addresses may exist many times in a fleet, so
//! an agreement counts only while exactly one namespace claims each side. A loopback address is
//! one namespace's own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use wire::{Endpoint, Role};

use super::candidates::{Candidates, Most, pairs, share};
use super::cost;
use super::halves::Halves;
use super::input::HostId;
use super::links::{Link, Links};
use super::rows::{Row, Rows};

/// The two addresses both sides must name; for loopback also the namespace.
type Agreement = (Option<(HostId, u32)>, IpAddr, Endpoint);

#[derive(Default)]
struct Claims {
    clients: Vec<usize>,
    servers: Vec<usize>,
}

/// Links rows with connections left over by their addresses.
pub(super) fn link(rows: &mut Rows, links: &mut Links, halves: &Halves) {
    let open = links.open(rows);
    let mut claims: BTreeMap<Agreement, Claims> = BTreeMap::new();
    for (at, row) in rows.all.iter().enumerate() {
        if open[at] && row.named() {
            let claim = claims.entry(agreement(row)).or_default();
            match row.key.role {
                Role::Client => claim.clients.push(at),
                Role::Server => claim.servers.push(at),
            }
        }
    }
    let mut candidates = Candidates::default();
    for Claims { clients, servers } in claims.values() {
        if [clients, servers].map(|side| rows.of_one_namespace(side)) != [true; 2] {
            share(rows, links, clients, servers);
            continue;
        }
        for pair in pairs(clients, servers) {
            if !links.take(cost::CANDIDATE) {
                return;
            }
            let any = Most {
                likely: u64::MAX,
                certain: u64::MAX,
            };
            candidates.add(pair, any, [].into_iter());
        }
    }
    let put = |link: &mut Link, both| link.addresses = link.addresses.saturating_add(both);
    candidates.link((rows, links, halves), put);
}

fn agreement(row: &Row) -> Agreement {
    let (client, server) = match row.key.role {
        Role::Client => (row.key.local.ip(), row.key.remote),
        Role::Server => (row.key.remote.ip(), row.key.local),
    };
    let own = server.ip().is_loopback() || client.is_loopback();
    (own.then_some((row.key.host, row.key.netns)), client, server)
}
