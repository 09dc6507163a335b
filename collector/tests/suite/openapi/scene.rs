//! A small fleet to ask about.

use std::net::SocketAddr;

use wire::{Batch, DynamicTable, Endpoint, EventKind, EventRow, ListenerRow, Role};

use super::ask;
use crate::support::site::Site;
use crate::support::world::{Carry, Talk, World};

/// Three services behind each other on four hosts: `curl` on `one` and `two` to `nginx` on `web`
/// through a VIP and a NAT, and from there to `db`; some connections to `db` broke.
pub(crate) fn fleet(site: &Site, at: SocketAddr) {
    let mut world = World::new();
    let hosts = ["one", "two", "web", "data", "gw"].map(|name| world.host(name));
    let vip = |host, ip| Talk {
        client: (host, "curl", ip),
        server: (hosts[2], "nginx", "10.2.0.2:8080"),
        vip: Some("10.1.0.100:80"),
        nat: Some("10.2.0.1"),
        carry: Carry::Client,
    };
    world.connect(&vip(hosts[0], "10.1.0.2"), 12);
    world.connect(&vip(hosts[1], "10.1.0.3"), 5);
    world.track(hosts[4], &vip(hosts[0], "10.1.0.2"), 12);
    let inner = Talk {
        client: (hosts[2], "nginx", "10.2.0.2"),
        server: (hosts[3], "db", "10.3.0.9:5432"),
        vip: None,
        nat: None,
        carry: Carry::Client,
    };
    world.connect(&inner, 3);
    world.event(hosts[2], 77);
    for mut batch in world.tick() {
        if batch.hosts[0].hostname == "web" {
            batch.events.push(broken());
            batch.listeners.push(listening());
        }
        batch.others.push(probe(&batch));
        assert_eq!(site.send(at, &batch).word(), "stored");
    }
    // A second interval, for steps.
    world.connect(&inner, 4);
    for mut batch in world.tick() {
        batch.others.push(probe(&batch));
        assert_eq!(site.send(at, &batch).word(), "stored");
    }
}

/// The same as edges, as a table that the collector does not know.
fn probe(batch: &Batch) -> DynamicTable {
    let mut probe = DynamicTable::of(&batch.edges);
    "probe".clone_into(&mut probe.table.to_mut().name);
    probe
}

/// Where nginx listens.
fn listening() -> ListenerRow {
    ListenerRow {
        process_id: 1,
        local: Endpoint::from(SocketAddr::from(([10, 2, 0, 2], 8080))),
        since_ms: 1_700_000_000_000,
        sockets: 1,
        backlog: 511,
        queue: 2,
        queue_most: 9,
        ..ListenerRow::default()
    }
}

/// A connection of nginx to the database that was reset.
fn broken() -> EventRow {
    let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("endpoint"));
    EventRow {
        kind: EventKind::ResetRemote,
        time_us: 1_700_000_009_000_000,
        role: Role::Client,
        process_id: 1,
        local: endpoint("10.2.0.2:32786"),
        remote: endpoint("10.3.0.9:5432"),
        errno: 104,
        ..EventRow::default()
    }
}

/// All of the simulated time.
pub(crate) const ALL: &str = "from=2023-11-14T22:00:00Z&to=2023-11-14T23:00:00Z";

pub(super) const ONE: (&str, &str) = ("one/curl", "web/nginx");
pub(super) const TWO: (&str, &str) = ("two/curl", "web/nginx");
pub(super) const DATA: (&str, &str) = ("web/nginx", "data/db");

/// The key of an edge.
pub(super) fn edge(site: &Site, at: SocketAddr, (client, server): (&str, &str)) -> String {
    let all = ask(site, at, &format!("/api/v1/topology?{ALL}")).json();
    let edges = all["edges"].as_array().expect("edges").iter();
    let mut edges = edges.filter(|edge| edge["client"] == client && edge["server"] == server);
    let key = edges.next().expect("the edge")["key"].as_str();
    key.expect("a key").to_owned()
}
