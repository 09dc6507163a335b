//! Mode `tc-clone` where connections do not end at the host's own devices: containers, bridges,
//! translation on the host itself, and tunnels.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::lab::agent::Settings;
use tests::lab::host::{Host, TOOL_DEADLINE};
use tests::lab::needs::Need;
use tests::lab::netns;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::{Expected, nat, vip};
use tests::lab::wait::wait_for;
use tests::lab::{End, Lab};
use tests::program::MARKER;
use tests::program::connect::Connected;

use crate::case::{Case, SOON, case};
use crate::clone::{CLONE, mode};
use crate::scene::{Scene, shop, stock};

pub(crate) const CASES: &[Case] = &[
    case(
        "containers::behind_a_bridge_and_masquerade_are_clients_with_their_own_address",
        outward,
    ),
    case(
        "containers::behind_a_published_port_are_servers_with_their_own_address",
        inward,
    ),
    case(
        "containers::of_one_bridge_are_joined_with_each_other",
        neighbours,
    ),
    case("containers::a_host_is_joined_with_itself", |lab| {
        itself(lab, &mode(CLONE)?.with("option.loopback", "true")?, "token")
    }),
    case("containers::at_both_ends_of_a_tunnel_are_joined", |lab| {
        tunnel(lab, &mode(CLONE)?, "token")
    })
    .needing(&[Need::Program("python3")]),
];

/// Connections of each kind.
const COUNT: u64 = 10;

/// A network namespace behind a bridge of `host`, whose programs run in the host's cgroup.
struct Container {
    network: Host,
    host: Host,
}

impl Container {
    /// Adds container `number` at 172.20.0.`number`, fd20::`number`; the bridge is .1.
    fn add(lab: &Lab, host: &Host, number: u8) -> Result<Self> {
        let name = format!("{}-box{number}", host.name());
        let network = lab.host(&name)?;
        lab.link(
            &End {
                host,
                device: &format!("box{number}"),
                addresses: &[],
            },
            &End {
                host: &network,
                device: "eth0",
                addresses: &[
                    &format!("172.20.0.{number}/24"),
                    &format!("fd20::{number}/64"),
                ],
            },
        )?;
        host.ip(&format!("link set box{number} master bridge0\n"))?;
        network.ip("route add default via 172.20.0.1\nroute add ::/0 via fd20::1\n")?;
        Ok(Self {
            network,
            host: host.clone(),
        })
    }

    fn address(number: u8, family: Family, port: u16) -> Result<SocketAddr> {
        Ok(match family {
            Family::V4 => format!("172.20.0.{number}:{port}").parse()?,
            Family::V6 => format!("[fd20::{number}]:{port}").parse()?,
        })
    }

    /// A command for one of the lab's own programs inside.
    fn program(&self, verb: &str) -> Command {
        let mut command = self.host.command("nsenter");
        let netns = netns::path(self.network.netns());
        command.arg(format!("--net={}", netns.display()));
        command.arg(self.host.launcher()).args([MARKER, verb]);
        command
    }

    fn connect(&self, to: SocketAddr) -> Result<()> {
        let mut command = self.program("connect");
        command.args(["--to", &to.to_string(), "--count", &COUNT.to_string()]);
        let said = self
            .host
            .start("connect", command)?
            .succeed(TOOL_DEADLINE)?;
        let seen: Vec<Connected> = tests::lab::host::lines(&said)?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{to}: {seen:?}");
        Ok(())
    }

    /// Starts the lab's server inside and returns it.
    fn serve(&self) -> Result<tests::lab::process::Running> {
        let mut command = self.program("serve");
        let log = self.host.stem("served").with_extension("log");
        command.args(["--listen", &format!("[::]:{SERVICE_PORT}"), "--log"]);
        command.arg(log);
        let mut running = self.host.start("serve", command)?;
        running.wait_for_output("listening", SOON)?;
        Ok(running)
    }
}

/// Makes a host one for containers: a bridge, forwarding, and these rules of nft.
fn make_bridge(host: &Host, rules: &str) -> Result<()> {
    host.ip("link add bridge0 type bridge\nlink set bridge0 up\n\
         address add 172.20.0.1/24 dev bridge0\naddress add fd20::1/64 dev bridge0 nodad\n")?;
    host.sysctl("net.ipv4.ip_forward", "1")?;
    host.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    host.nft(rules)
}

const MASQUERADE: &str = "table inet boxes {\n\
    chain out { type nat hook postrouting priority srcnat; policy accept;\n\
    oifname \"eth0\" masquerade\n }\n}\n";

fn outward(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = scene.site.clients[0].clone();
    make_bridge(&client, MASQUERADE)?;
    let settings = mode(CLONE)?;
    scene.start_with(&settings, &settings)?;
    // Later than the agent, as containers are.
    let container = Container::add(lab, &client, 5)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let mut expected = Vec::new();
    for family in Family::BOTH {
        container.connect(scene.site.backend(0, family))?;
        expected.push(Expected {
            client: shop(&client),
            server: stock(&scene.site.backends[0]),
            endpoint: scene.site.backend(0, family),
            connections: COUNT,
            via: vec![nat(scene.site.client_ip(0, family))],
        });
    }
    scene.settle_and_stop(|topology| topology.check(&expected))
}

/// A container that runs when agents without programs start: its own namespace is followed, and what
/// the host translates for it is no connection of the host.
pub(crate) fn followed(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = scene.site.clients[0].clone();
    make_bridge(&client, MASQUERADE)?;
    let container = Container::add(lab, &client, 5)?;
    let _running = container.serve()?;
    scene.start_with(settings, settings)?;
    let status = scene.agent(&client)?.status()?;
    let watched = status.counter("observe_namespaces")?;
    ensure!(watched == 2, "{watched} namespaces");
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let mut expected = Vec::new();
    for family in Family::BOTH {
        container.connect(scene.site.backend(0, family))?;
        expected.push(Expected {
            client: shop(&client),
            server: stock(&scene.site.backends[0]),
            endpoint: scene.site.backend(0, family),
            connections: COUNT,
            via: vec![nat(scene.site.client_ip(0, family))],
        });
    }
    scene.settle_and_stop(|topology| {
        // The agent's own upload is nobody's.
        topology.check_by("sequence", &expected)?;
        ensure!(topology.unjoined.is_empty(), "{}", topology.brief());
        Ok(())
    })
}

fn inward(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = scene.site.backends[0].clone();
    make_bridge(
        &backend,
        &format!(
            "table inet boxes {{\n\
             chain in {{ type nat hook prerouting priority dstnat; policy accept;\n\
             meta nfproto ipv4 tcp dport 80 dnat ip to 172.20.0.5:{SERVICE_PORT}\n\
             meta nfproto ipv6 tcp dport 80 dnat ip6 to [fd20::5]:{SERVICE_PORT}\n }}\n}}\n"
        ),
    )?;
    let settings = mode(CLONE)?;
    scene.start_with(&settings, &settings)?;
    let container = Container::add(lab, &backend, 5)?;
    let _server = container.serve()?;
    let mut expected = Vec::new();
    for family in Family::BOTH {
        let published = SocketAddr::new(scene.site.backend_ip(0, family), 80);
        let count = COUNT.to_string();
        let seen = scene.site.clients[0].connect(published, &["--count", &count])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
        expected.push(Expected {
            client: shop(&scene.site.clients[0]),
            server: stock(&backend),
            endpoint: Container::address(5, family, SERVICE_PORT)?,
            connections: COUNT,
            via: vec![vip(published)],
        });
    }
    scene.settle_and_stop(|topology| topology.check(&expected))
}

fn neighbours(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = scene.site.clients[0].clone();
    make_bridge(&client, MASQUERADE)?;
    let settings = mode(CLONE)?.with("option.destinations", "['172.16.0.0/12', 'fc00::/7']")?;
    scene.start_with(&settings, &settings)?;
    let (one, two) = (
        Container::add(lab, &client, 5)?,
        Container::add(lab, &client, 6)?,
    );
    wait_for(SOON, "filters of both containers", || {
        let agent = scene.agent(&client)?;
        agent.flush()?;
        let devices = agent.status()?.counter("clone_devices")?;
        ensure!(devices == 5, "{devices} devices");
        Ok(())
    })?;
    let _server = two.serve()?;
    let mut expected = Vec::new();
    for family in Family::BOTH {
        let endpoint = Container::address(6, family, SERVICE_PORT)?;
        one.connect(endpoint)?;
        expected.push(Expected {
            client: shop(&client),
            server: shop(&client),
            endpoint,
            connections: COUNT,
            via: Vec::new(),
        });
    }
    scene.settle_and_stop(|topology| topology.check(&expected))
}

pub(crate) fn itself(lab: &Lab, settings: &Settings, evidence: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = scene.site.clients[0].clone();
    scene.start_with(settings, settings)?;
    let _server = programs::serve(&client, SERVICE_PORT, &[])?;
    let mut expected = Vec::new();
    let own = Family::BOTH.map(|family| scene.site.client_ip(0, family));
    for address in ["127.0.0.1".parse()?, "::1".parse()?]
        .into_iter()
        .chain(own)
    {
        let endpoint = SocketAddr::new(address, SERVICE_PORT);
        let seen = client.connect(endpoint, &["--count", &COUNT.to_string()])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
        expected.push(Expected {
            client: shop(&client),
            server: shop(&client),
            endpoint,
            connections: COUNT,
            via: Vec::new(),
        });
    }
    scene.settle_and_stop(|topology| topology.check_by(evidence, &expected))
}

/// A tunnel whose packets begin with the IP header, carried by a program on each side.
pub(crate) fn tunnel(lab: &Lab, settings: &Settings, evidence: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let (client, backend) = (
        scene.site.clients[0].clone(),
        scene.site.backends[0].clone(),
    );
    let mut ends = Vec::new();
    for (host, own, peer) in [
        (&client, 1, scene.site.backend_ip(0, Family::V4)),
        (&backend, 2, scene.site.client_ip(0, Family::V4)),
    ] {
        host.ip("tuntap add dev tun0 mode tun\n")?;
        let script = host.directory().join("tunnel.py");
        std::fs::write(&script, include_str!("tunnel.py"))?;
        let mut command = host.command_beside(programs::python());
        command.arg(&script).args(["tun0", &peer.to_string()]);
        let mut running = host.start("tunnel", command)?;
        running.wait_for_output("ready", SOON)?;
        ends.push(running);
        host.ip(&format!(
            "address add 172.30.0.{own}/24 dev tun0\n\
             address add fd30::{own}/64 dev tun0 nodad\nlink set tun0 mtu 1400 up\n"
        ))?;
    }
    scene.start_with(settings, settings)?;
    let _server = programs::serve(&backend, SERVICE_PORT, &[])?;
    let mut expected = Vec::new();
    for address in ["172.30.0.2", "fd30::2"] {
        let endpoint = SocketAddr::new(address.parse()?, SERVICE_PORT);
        let seen = client.connect(endpoint, &["--count", &COUNT.to_string()])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
        expected.push(Expected {
            client: shop(&client),
            server: stock(&backend),
            endpoint,
            connections: COUNT,
            via: Vec::new(),
        });
    }
    scene.settle_and_stop(|topology| topology.check_by(evidence, &expected))
}
