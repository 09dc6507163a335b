//! Which side is the client where nobody listens: SYNs that crossed, and listeners that are gone.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::session::{Connection, Session};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;
use tests::program::pattern::Header;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::{Scene, shop, stock};
use crate::{clone, lists};

pub(crate) const CASES: &[Case] = &[
    case(
        "direction::who_called_connect_is_a_client_though_the_other_did_as_well",
        |lab| crossed(lab, &Settings::default()),
    ),
    case(
        "direction::copies_and_who_called_connect_though_the_other_did_as_well",
        |lab| crossed(lab, &clone::mode(clone::CLONE)?),
    ),
    case(
        "direction::sockets_show_who_called_connect_though_the_other_did_as_well",
        |lab| crossed(lab, &sockets()?),
    ),
    case(
        "direction::a_listener_that_is_gone_turns_nothing_round",
        |lab| unheard(lab, &Settings::default()),
    ),
    case(
        "direction::a_listener_that_is_gone_turns_nothing_round_in_lists",
        |lab| unheard(lab, &lists::settings()?),
    ),
    case(
        "direction::a_listener_that_is_gone_turns_nothing_round_for_sockets",
        |lab| unheard(lab, &sockets()?),
    ),
];

/// Connections whose SYNs cross.
const CROSSED: usize = 3;
/// Ports that are tried for them: on a busy machine one may call too late.
const FIRST_PORT: u16 = 7000;
const TRIED_PORTS: u16 = 20;
/// The port whose first SYN does not arrive.
const HELD_PORT: u16 = 7100;
/// Pattern bytes from the one to the other, and back.
const BYTES: (u64, u64) = (100, 70);

/// Both ends of connections that both have called.
struct Both<'s> {
    hosts: [&'s Host; 2],
    ends: [SocketAddr; 2],
    sessions: [Session; 2],
}

impl Both<'_> {
    fn at(&self, port: u16) -> [SocketAddr; 2] {
        self.ends.map(|end| SocketAddr::new(end.ip(), port))
    }

    /// Both call at once; none where one was too late for the other.
    fn cross(&mut self, port: u16) -> Result<Option<[Connection; 2]>> {
        let [own, other] = self.at(port);
        self.sessions[0].call(own, other)?;
        self.sessions[1].call(other, own)?;
        let met = [self.sessions[0].met(), self.sessions[1].met()];
        match met {
            [Ok(one), Ok(two)] => Ok(Some([one, two])),
            _ => Ok(None),
        }
    }

    /// The SYN of the first one is lost, and the other's meets who waits for an answer to its own.
    fn hold(&mut self) -> Result<[Connection; 2]> {
        let [own, other] = self.at(HELD_PORT);
        self.sessions[0].call(own, other)?;
        wait_for(SOON, "a SYN that is lost", || {
            let lost = counted(self.hosts[1], "held")?;
            ensure!(lost > 0, "none");
            Ok(())
        })?;
        self.sessions[1].call(other, own)?;
        Ok([self.sessions[0].met()?, self.sessions[1].met()?])
    }

    /// Exact bytes both ways, and an orderly end.
    fn talk(&mut self, on: [Connection; 2]) -> Result<()> {
        let [one, two] = &mut self.sessions;
        one.send(&on[0], BYTES.0)?;
        two.greeting(&on[1], BYTES.0)?;
        two.send(&on[1], BYTES.1)?;
        one.greeting(&on[0], BYTES.1)?;
        one.close(on[0])?;
        two.close(on[1])
    }
}

/// Segments that a host's table counted.
fn counted(host: &Host, counter: &str) -> Result<u64> {
    let mut list = host.command_beside("nft");
    list.args(["-j", "list", "counter", "ip", "meeting", counter]);
    let listed: serde_json::Value = serde_json::from_str(&command::run(&mut list)?)?;
    let entries = listed["nftables"].as_array().into_iter().flatten();
    let mut packets = entries.filter_map(|entry| entry["counter"]["packets"].as_u64());
    packets
        .next()
        .with_context(|| format!("no counter in {listed}"))
}

/// Answers to a SYN are counted; where they come to both ends, both have called.
const RULES: &str = "table ip meeting {\n counter answers { }\n counter held { }\n\
    chain in { type filter hook input priority 0; policy accept;\n\
    tcp flags & (syn | ack) == syn | ack tcp dport 7000-7099 counter name answers\n";

fn crossed(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    // Long enough for the other to call before it is called.
    let _bridge = scene.site.bridge(lab, 0, &["--delay-ms", "250"])?;
    let [one, two] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    one.nft(&format!("{RULES} }}\n}}\n"))?;
    two.nft(&format!(
        "{RULES} tcp flags & (syn | ack) == syn tcp dport {HELD_PORT} counter name held drop\n }}\n}}\n"
    ))?;
    scene.start_with(settings, settings)?;
    let ips = [
        scene.site.client_ip(0, Family::V4),
        scene.site.backend_ip(0, Family::V4),
    ];
    let mut both = Both {
        hosts: [&one, &two],
        ends: ips.map(|ip| SocketAddr::new(ip, 0)),
        sessions: [Session::start(&one, SOON)?, Session::start(&two, SOON)?],
    };
    let mut ports = vec![HELD_PORT];
    let met = both.hold()?;
    both.talk(met)?;
    for port in FIRST_PORT..FIRST_PORT + TRIED_PORTS {
        if ports.len() > CROSSED {
            break;
        }
        let answers = [counted(&one, "answers")?, counted(&two, "answers")?];
        let Some(met) = both.cross(port)? else {
            continue;
        };
        let now = [counted(&one, "answers")?, counted(&two, "answers")?];
        both.talk(met)?;
        // Else one was not called until it had been answered, which is no crossing, and right as well.
        if now[0] > answers[0] && now[1] > answers[1] {
            ports.push(port);
        }
    }
    ensure!(ports.len() > CROSSED, "only these crossed: {ports:?}");
    let ends: Vec<[SocketAddr; 2]> = ports.iter().map(|port| both.at(*port)).collect();
    scene.settle_and_stop(|topology| {
        for [near, far] in &ends {
            are_clients(topology, (&shop(&one), *far), BYTES)?;
            are_clients(topology, (&stock(&two), *near), (BYTES.1, BYTES.0))?;
        }
        Ok(())
    })
}

/// One connection of a service to an end, as its client, and nobody's as a server.
fn are_clients(
    topology: &Topology,
    (client, to): (&str, SocketAddr),
    (sent, received): (u64, u64),
) -> Result<()> {
    let edge = topology.outward(client, to)?;
    ensure!(edge.server_counters.is_none(), "{}", topology.brief());
    let near = edge.client_side()?;
    let seen = (near.opened, near.adopted, near.closed);
    ensure!(seen == (1, 0, 1), "{seen:?} of {client} to {to}");
    let bytes = (near.bytes_sent, near.bytes_received);
    ensure!(
        bytes == (sent, received),
        "{bytes:?} of {client} to {to} instead of {:?}",
        (sent, received)
    );
    let mut joined = topology.edges.iter();
    let wrong = joined.any(|edge| edge.server_endpoint == to.to_string());
    ensure!(!wrong, "joined: {}", topology.brief());
    Ok(())
}

/// Nobody listens any more when the agents come, and both ends are known all the same.
fn unheard(lab: &Lab, settings: &Settings) -> Result<()> {
    const COUNT: u64 = 3;
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let [client, backend] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    let _server = programs::serve(&backend, SERVICE_PORT, &["--only", &COUNT.to_string()])?;
    let endpoint = scene.site.backend(0, Family::V4);
    let mut session = Session::start(&client, SOON)?;
    let mut open = Vec::new();
    for _ in 0..COUNT {
        let connection = session.open(endpoint)?;
        session.exchange(&connection, 1000, 500)?;
        open.push(connection);
    }
    wait_for(SOON, "the end of the listener", || {
        ensure!(!programs::listens(&backend, SERVICE_PORT)?, "it listens");
        Ok(())
    })?;
    scene.start_with(settings, settings)?;
    for connection in &open {
        session.exchange(connection, 7000, 9000)?;
    }
    let sent = COUNT * (7000 + Header::LENGTH as u64);
    let check = |topology: &Topology, closed: u64| {
        let edge = topology.edge(&shop(&client), endpoint)?;
        ensure!(edge.server == stock(&backend), "{}", topology.brief());
        ensure!(edge.connections == COUNT, "{}", topology.brief());
        ensure!(topology.unjoined.is_empty(), "{}", topology.brief());
        let (near, far) = (edge.client_side()?, edge.server_side()?);
        for (side, own, other) in [(near, sent, 9000 * COUNT), (far, 9000 * COUNT, sent)] {
            let seen = (side.opened, side.adopted, side.closed);
            ensure!(seen == (0, COUNT, closed), "{seen:?}");
            let bytes = (side.bytes_sent, side.bytes_received);
            ensure!(bytes == (own, other), "{bytes:?}");
        }
        Ok(())
    };
    scene.settle(|topology| check(topology, 0))?;
    for connection in open {
        session.close(connection)?;
    }
    scene.settle_and_stop(|topology| check(topology, COUNT))
}
