//! Edges through NAT: exactly the connections that were made, joined by tokens, with the addresses
//! in between.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::needs::Need;
use tests::lab::programs::{self, Server};
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::topology::{Expected, nat, vip};
use tests::program::pattern::Header;

use crate::case::{Case, SOON, case};
use crate::scene::{Both, Scene, shop, stock};

pub(crate) const CASES: &[Case] = &[
    case("nat::routed_connections_become_edges_without_via", |lab| {
        shape(lab, Nat::Direct)
    }),
    case("nat::snat_is_seen_through", |lab| shape(lab, Nat::Snat)),
    case("nat::dnat_is_seen_through", |lab| shape(lab, Nat::Dnat)),
    case("nat::fullnat_is_seen_through", |lab| {
        shape(lab, Nat::FullNat)
    }),
    case("nat::listeners_older_than_the_agent_are_joined", |lab| {
        older_listeners(lab, &Settings::default())
    }),
    case("nat::forced_syncookies_do_not_hide_an_edge", |lab| {
        syncookies(lab, &Settings::default())
    }),
    case("nat::deferred_accept_does_not_hide_an_edge", |lab| {
        deferred_accept(lab, &Settings::default())
    })
    .needing(&[Need::Program("nginx"), Need::Program("curl")]),
    Case {
        name: "nat::first_data_carries_the_waybill_where_the_operator_asks",
        needs: &[Need::Program("nginx"), Need::Program("curl")],
        alone: false,
        // A listener that defers drops the handshake ACK, so only the data can bring it; and a
        // server that may not answer cannot repair that.
        run: |lab| {
            let first_data = Settings::default().with("option.on_data", "true")?;
            deferred_accept(lab, &first_data.with("option.answer", "false")?)
        },
    },
    case("nat::under_load_every_connection_is_counted", |lab| {
        under_load(lab, &Settings::default())
    })
    .needing(&[Need::Program("iperf3")]),
    case(
        "nat::perf_buffers_carry_what_the_ring_buffer_does",
        perf_buffers,
    ),
    case("nat::servers_that_speak_first_are_joined", |lab| {
        speaks_first(lab, &Settings::default())
    }),
    case(
        "nat::five_thousand_short_connections_are_all_counted",
        |lab| short_ones(lab, &Settings::default()),
    ),
    case(
        "nat::long_connections_are_joined_while_they_are_open",
        |lab| long_ones(lab, &Settings::default()),
    ),
    case("nat::the_answer_joins_when_only_the_server_writes", |lab| {
        let default = Settings::default();
        one_writer(lab, &default, &default, Written::ByServer)
    }),
    case(
        "nat::the_waybill_joins_when_only_the_client_writes",
        |lab| {
            let default = Settings::default();
            one_writer(lab, &default, &default, Written::ByClient)
        },
    ),
];

/// Who sent what to whom: connections per client and backend, both counted from 0.
pub(crate) type Sent = BTreeMap<(usize, usize), u64>;

/// Pattern bytes by which the backends' logs tell one client from another.
pub(crate) fn mark(client: usize) -> u64 {
    100 + client as u64
}

/// Opens `count` connections from every client to every target of the shape.
pub(crate) fn send(site: &Site, family: Family, count: u64, more: &[&str]) -> Result<u64> {
    let mut opened = 0;
    for (index, client) in site.clients.iter().enumerate() {
        let (count, up) = (count.to_string(), mark(index).to_string());
        let options = [&["--count", &count, "--up", &up], more].concat();
        for seen in client.connect(site.target(family), &options)? {
            ensure!(seen.error.is_empty(), "{family:?}: {seen:?}");
            opened += 1;
        }
    }
    Ok(opened)
}

/// What the backends logged, after `total` connections, by family.
pub(crate) fn logged(servers: &[Server], total: u64) -> Result<[Sent; 2]> {
    let all = || -> Result<Vec<_>> { servers.iter().map(Server::served).collect() };
    let served = tests::lab::wait::wait_until(SOON, "log of every connection", || {
        let served = all()?;
        let count: usize = served.iter().map(Vec::len).sum();
        Ok((count as u64 >= total).then_some(served))
    })?;
    let mut sent = [Sent::new(), Sent::new()];
    for (backend, entries) in served.iter().enumerate() {
        for entry in entries {
            let up = entry.received.checked_sub(Header::LENGTH as u64 + mark(0));
            let client = usize::try_from(up.context("a stranger's connection")?)?;
            let family = usize::from(entry.peer.is_ipv6());
            *sent[family].entry((client, backend)).or_default() += 1;
        }
    }
    let count: u64 = sent.iter().flat_map(BTreeMap::values).sum();
    ensure!(count == total, "{count} logged of {total}");
    Ok(sent)
}

/// The edges that must be there for what was sent through a shape.
pub(crate) fn expected(site: &Site, shape: Nat, sent: &[Sent; 2]) -> Vec<Expected> {
    let mut edges = Vec::new();
    for (family, sent) in Family::BOTH.into_iter().zip(sent) {
        for (&(client, backend), &connections) in sent {
            let mut via = Vec::new();
            if shape.virtual_address() {
                via.push(vip(site.target(family)));
            }
            if shape.hides_client() {
                via.push(nat(site.gateway_ip(backend, family)));
            }
            edges.push(Expected {
                client: shop(&site.clients[client]),
                server: stock(&site.backends[backend]),
                endpoint: site.backend(backend, family),
                connections,
                via,
            });
        }
    }
    edges
}

pub(crate) fn start_servers(site: &Site, options: &[&str]) -> Result<Vec<Server>> {
    site.backends
        .iter()
        .map(|host| programs::serve(host, SERVICE_PORT, options))
        .collect()
}

/// Sends both families through a shape and demands exactly the right edges.
pub(crate) fn prove(
    scene: &mut Scene<'_>,
    shape: Nat,
    servers: &[Server],
    more: &[&str],
) -> Result<()> {
    let mut total = 0;
    for family in Family::BOTH {
        total += send(&scene.site, family, 20, more)?;
    }
    let expected = expected(&scene.site, shape, &logged(servers, total)?);
    scene.settle_and_stop(|topology| topology.check(&expected))
}

fn shape(lab: &Lab, shape: Nat) -> Result<()> {
    let mut scene = Scene::full(lab, 2, 2, shape, Middlebox::Plain)?;
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, shape, &servers, &[])?;
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    Ok(())
}

pub(crate) fn older_listeners<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let Both([near, far]) = settings.into();
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    let servers = start_servers(&scene.site, &[])?;
    scene.start_with(near, far)?;
    prove(&mut scene, Nat::FullNat, &servers, &[])
}

pub(crate) fn syncookies<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 1), Nat::FullNat, Middlebox::Plain, settings)?;
    // 2 sends cookies even when the queue has room; per namespace.
    scene.site.backends[0].sysctl("net.ipv4.tcp_syncookies", "2")?;
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, Nat::FullNat, &servers, &[])?;
    let counters = tests::lab::counters::Counters::of(&scene.site.backends[0])?;
    let received = counters.value("TcpExt.SyncookiesRecv");
    ensure!(received >= 40, "only {received} connections came by cookie");
    Ok(())
}

fn perf_buffers(lab: &Lab) -> Result<()> {
    let perf = Settings::default().with("agent.transport", "\"perf\"")?;
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    scene.start_with(&perf, &perf)?;
    let plan = scene.agent(&scene.site.clients[0])?.status()?.plan;
    ensure!(
        plan.iter()
            .any(|(_, chosen)| chosen.contains("perf buffer")),
        "the plan is {plan:?}"
    );
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, Nat::FullNat, &servers, &[])
}

pub(crate) fn speaks_first<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 2), Nat::FullNat, Middlebox::Plain, settings)?;
    let servers = start_servers(&scene.site, &["--greet", "70"])?;
    prove(&mut scene, Nat::FullNat, &servers, &["--greet", "70"])
}

pub(crate) fn short_ones<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 2), Nat::FullNat, Middlebox::Plain, settings)?;
    let servers = start_servers(&scene.site, &[])?;
    let total = send(&scene.site, Family::V4, 5000, &["--down", "20"])?;
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    scene.settle_and_stop(|topology| topology.check(&expected))
}

pub(crate) fn long_ones<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 2), Nat::FullNat, Middlebox::Plain, settings)?;
    let servers = start_servers(&scene.site, &[])?;
    let mut session = Session::start(&scene.site.clients[0], SOON)?;
    let mut open = Vec::new();
    for family in [Family::V4, Family::V4, Family::V6, Family::V6] {
        let connection = session.open(scene.site.target(family))?;
        session.exchange(&connection, mark(0), 10)?;
        open.push(connection);
    }
    // The gateway takes the backends in turn, for each family on its own.
    let one_each = || Sent::from([((0, 0), 1), ((0, 1), 1)]);
    let expected = expected(&scene.site, Nat::FullNat, &[one_each(), one_each()]);
    scene
        .settle(|topology| topology.check(&expected))
        .context("while open")?;
    for connection in open {
        session.close(connection)?;
    }
    logged(&servers, 4)?;
    scene.settle_and_stop(|topology| {
        topology.check(&expected)?;
        let closed = |edge: &tests::lab::topology::Edge| -> Result<bool> {
            Ok(edge.client_side()?.closed == 1 && edge.server_side()?.closed == 1)
        };
        for edge in &topology.edges {
            ensure!(closed(edge)?, "still open: {}", topology.brief());
        }
        Ok(())
    })
}

pub(crate) fn under_load<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (2, 2), Nat::FullNat, Middlebox::Plain, settings)?;
    let servers = start_servers(&scene.site, &[])?;
    // A bulk transfer per backend keeps processors and queues busy all the time.
    let mut bulk = Vec::new();
    for (index, backend) in scene.site.backends.iter().enumerate() {
        bulk.push(programs::iperf_server(backend, 5201)?);
        let mut client = scene.site.clients[index].command("iperf3");
        client.args([
            "--client",
            &scene.site.backend_ip(index, Family::V4).to_string(),
        ]);
        client.args(["--port", "5201", "--time", "60"]);
        bulk.push(scene.site.clients[index].start("iperf3", client)?);
    }
    let mut total = 0;
    for family in Family::BOTH {
        total += send(&scene.site, family, 1000, &["--parallel", "8"])?;
    }
    for program in bulk.iter_mut().skip(1).step_by(2) {
        ensure!(
            program.ended()?.is_none(),
            "the load ended before the connections"
        );
    }
    drop(bulk);
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    let port = format!(":{SERVICE_PORT}");
    scene.settle_and_stop(|topology| {
        // The bulk transfers are edges, too; they were cut off, so nobody knows their numbers.
        let mut topology = topology.clone();
        topology
            .edges
            .retain(|edge| edge.server_endpoint.ends_with(&port));
        topology.check(&expected)
    })
}

pub(crate) fn deferred_accept<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let Both([near, far]) = settings.into();
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, Middlebox::Plain)?;
    scene.start_with(near, far)?;
    let files = lab.directory().join("files");
    std::fs::create_dir(&files)?;
    std::fs::write(files.join("page"), "a page")?;
    let server = programs::nginx(&scene.site.backends[0], SERVICE_PORT, &files, "deferred")?;
    let mut sent = [Sent::new(), Sent::new()];
    for (family, sent) in Family::BOTH.into_iter().zip(&mut sent) {
        let fetched = programs::curl(
            &scene.site.clients[0],
            scene.site.target(family),
            "page",
            20,
        )?;
        sent.insert((0, 0), fetched.succeeded);
    }
    let requests = server
        .text()?
        .lines()
        .filter(|line| line.contains(" 200 "))
        .count();
    ensure!(requests == 40, "nginx served {requests}");
    let expected = expected(&scene.site, Nat::FullNat, &sent);
    scene.settle_and_stop(|topology| topology.check(&expected))
}

/// Which end has an agent that may write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    ByClient,
    ByServer,
}

pub(crate) fn one_writer(
    lab: &Lab,
    client: &Settings,
    backend: &Settings,
    writer: Written,
) -> Result<()> {
    // An agent without destinations reads but never writes.
    let silent = |settings: &Settings| settings.clone().with("option.destinations", "[]");
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    match writer {
        Written::ByClient => scene.start_with(client, &silent(backend)?)?,
        Written::ByServer => scene.start_with(&silent(client)?, backend)?,
    }
    let servers = start_servers(&scene.site, &[])?;
    let mut total = 0;
    for family in Family::BOTH {
        total += send(&scene.site, family, 20, &[])?;
    }
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    scene.settle(|topology| topology.check(&expected))?;
    for (hosts, writes) in [
        (&scene.site.clients, writer == Written::ByClient),
        (&scene.site.backends, writer == Written::ByServer),
    ] {
        for host in hosts {
            let written = scene
                .agent(host)?
                .report()?
                .counter("option_written_total")?;
            ensure!(
                (written > 0) == writes,
                "{} wrote {written} options",
                host.name()
            );
        }
    }
    scene.settle_and_stop(|topology| topology.check(&expected))
}
