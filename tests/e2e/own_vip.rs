//! A virtual address that the client's own host translates: the socket names one address, and what
//! leaves names another.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::{Edge, vip};

use crate::case::{Case, case};
use crate::clone;
use crate::observe::sockets;
use crate::scene::{Scene, shop, stock};

pub(crate) const CASES: &[Case] = &[
    case("own_vip::that_leads_to_a_backend_is_seen_through", |lab| {
        translated(lab, &Settings::default(), false)
    }),
    case(
        "own_vip::that_leads_to_a_backend_is_seen_through_where_copies_are_made",
        |lab| translated(lab, &clone::mode(clone::CLONE)?, false),
    ),
    case(
        "own_vip::that_leads_to_a_backend_is_seen_through_by_sockets",
        |lab| translated(lab, &sockets()?, false),
    ),
    case(
        "own_vip::that_leads_back_to_its_host_is_seen_through",
        |lab| translated(lab, &Settings::default(), true),
    ),
    case(
        "own_vip::that_leads_back_to_its_host_is_seen_through_by_sockets",
        |lab| translated(lab, &sockets()?, true),
    ),
];

const COUNT: u64 = 25;
const ADDRESS: &str = "10.9.0.100:80";

fn translated(lab: &Lab, settings: &Settings, to_itself: bool) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let [client, backend] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    let address: SocketAddr = ADDRESS.parse()?;
    let (at, host, server) = match to_itself {
        true => (scene.site.client_ip(0, Family::V4), &client, shop(&client)),
        false => (
            scene.site.backend_ip(0, Family::V4),
            &backend,
            stock(&backend),
        ),
    };
    client.nft(&format!(
        "table ip own {{ chain out {{ type nat hook output priority -100; policy accept;\n\
         ip daddr {} tcp dport {} dnat to {at}:{SERVICE_PORT}\n }}\n}}\n",
        address.ip(),
        address.port()
    ))?;
    scene.start_with(settings, settings)?;
    let _server = programs::serve(host, SERVICE_PORT, &[])?;
    let options = ["--count", &COUNT.to_string(), "--parallel", "5"];
    let seen = client.connect(address, &options)?;
    ensure!(seen.iter().all(|one| one.error.is_empty()), "{seen:?}");
    let endpoint = SocketAddr::new(at, SERVICE_PORT).to_string();
    scene.settle_and_stop(|topology| {
        let text = topology.brief();
        let is_known = |edge: &&Edge| edge.client == shop(&client) || edge.server == server;
        ensure!(
            !topology.unjoined.iter().any(|edge| is_known(&edge)),
            "{text}"
        );
        let joined: Vec<&Edge> = topology.edges.iter().filter(is_known).collect();
        ensure!(joined.len() == 1, "{text}");
        let edge = joined[0];
        let ends = (&edge.client, &edge.server, &edge.server_endpoint);
        ensure!(ends == (&shop(&client), &server, &endpoint), "{text}");
        ensure!(edge.via == [vip(address)], "{:?}", edge.via);
        let opened = (edge.client_side()?.opened, edge.server_side()?.opened);
        ensure!(
            (edge.connections, opened) == (COUNT, (COUNT, COUNT)),
            "{opened:?}: {text}"
        );
        Ok(())
    })
}
