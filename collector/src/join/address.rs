//! Address evidence: what tokens left over, joined where both sides name the same addresses.
//!
//! Without NAT in between, the client's remote endpoint is the server's local one and the server's
//! remote address is the client's local one. Private addresses may exist many times in a fleet, so
//! an agreement counts only while exactly one namespace claims each side. A loopback address is
//! one namespace's own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use wire::{Endpoint, Role};

use super::HostId;
use super::rows::{Links, Row, Rows};

/// The two addresses both sides must name; for loopback also the namespace.
type Agreement = (Option<(HostId, u32)>, IpAddr, Endpoint);

#[derive(Default)]
struct Claims {
    clients: Vec<usize>,
    servers: Vec<usize>,
}

/// Links rows with connections left over by their addresses.
pub(super) fn link(rows: &mut Rows, links: &mut Links) {
    let mut claims: BTreeMap<Agreement, Claims> = BTreeMap::new();
    for (at, row) in rows.all.iter().enumerate() {
        if row.rest > 0 && row.named() {
            let claim = claims.entry(agreement(row)).or_default();
            match row.key.role {
                Role::Client => claim.clients.push(at),
                Role::Server => claim.servers.push(at),
            }
        }
    }
    for claim in claims.values() {
        let unique = |side: &[usize]| rows.of_one_namespace(side);
        // With several services on both sides nothing says which of them talk to each other.
        let decidable = claim.clients.len() == 1 || claim.servers.len() == 1;
        if decidable && unique(&claim.clients) && unique(&claim.servers) {
            share(rows, links, claim);
        } else if !claim.clients.is_empty() && !claim.servers.is_empty() {
            for row in claim.clients.iter().chain(&claim.servers) {
                rows.all[*row].shared = true;
            }
        }
    }
}

fn agreement(row: &Row) -> Agreement {
    let (client, server) = match row.key.role {
        Role::Client => (row.key.local.ip(), row.key.remote),
        Role::Server => (row.key.remote.ip(), row.key.local),
    };
    let own = server.ip().is_loopback() || client.is_loopback();
    (own.then_some((row.key.host, row.key.netns)), client, server)
}

fn share(rows: &mut Rows, links: &mut Links, claim: &Claims) {
    for client in &claim.clients {
        for server in &claim.servers {
            let both = rows.all[*client].rest.min(rows.all[*server].rest);
            if both > 0 {
                rows.all[*client].rest -= both;
                rows.all[*server].rest -= both;
                rows.all[*client].linked = true;
                rows.all[*server].linked = true;
                if let Some(link) = links.entry((*client, *server), []) {
                    link.addresses = link.addresses.saturating_add(both);
                }
            }
        }
    }
}
