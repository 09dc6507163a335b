//! Loss, delay, reordering and unusual handshakes are not taken for a box that drops the option;
//! such a box is, and for nobody but whose way leads through it.
//!
//! `WAYBILL_ROUGH=300 cargo test -p tests --test e2e -- rough::loss` has traffic for so many
//! seconds instead of few.

mod counted;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::write_secret;
use tests::lab::host::{Host, lines};
use tests::lab::needs::Need;
use tests::lab::programs::{self, Server};
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::wait::wait_for;
use tests::program::connect::Connected;

use crate::case::{Case, SOON, case};
use crate::clone::{CLONE, mode};
use crate::scene::{SETTLE, SHOP, Scene, rule, shop};
use counted::{enough, enough_deferred, exact, no_path_is_off, sum};

pub(crate) const CASES: &[Case] = &[
    case("rough::loss_and_reordering_switch_no_path_off", |lab| {
        rough(lab, &mode("sockops")?, &[SPEAKS_SECOND, SPEAKS_FIRST])
    })
    .alone(),
    case(
        "rough::loss_and_reordering_switch_no_path_off_where_filters_copy",
        |lab| rough(lab, &mode(CLONE)?, &[SPEAKS_SECOND, SPEAKS_FIRST]),
    )
    .alone(),
    case(
        "rough::loss_switches_no_path_off_where_first_data_carries_the_option",
        |lab| {
            let on_data = mode("sockops")?.with("option.on_data", "true")?;
            rough(lab, &on_data, &[SPEAKS_SECOND])
        },
    )
    .alone(),
    case("rough::loss_with_syncookies_switches_no_path_off", |lab| {
        rough(lab, &mode("sockops")?, &[BY_COOKIE])
    })
    .alone(),
    case(
        "rough::loss_with_deferred_accept_switches_no_path_off",
        deferred,
    )
    .needing(&[Need::Program("nginx"), Need::Program("curl")])
    .alone(),
    case(
        "rough::idle_clients_of_a_listener_that_defers_switch_no_path_off",
        idle,
    )
    .needing(&[Need::Program("nginx"), Need::Program("python3")]),
    case(
        "rough::a_client_whose_path_drops_silences_nobody_behind_its_gateway",
        |lab| mixed(lab, "drop"),
    ),
    case(
        "rough::a_client_whose_path_strips_silences_nobody_behind_its_gateway",
        |lab| mixed(lab, "reset tcp option 253"),
    ),
    case(
        "rough::a_path_that_strips_goes_off_for_its_port_alone",
        stripped,
    ),
    case(
        "rough::a_key_that_the_server_does_not_have_switches_no_path_off",
        rotating,
    ),
];

/// The wire: 20 ms each way, one segment in 50 lost and one in 50 overtaken, each way.
const WIRE: [&str; 8] = [
    "--delay-ms",
    "20",
    "--lost",
    "20",
    "--late",
    "20",
    "--seed",
    "20",
];

/// How a service behaves on its port.
#[derive(Clone, Copy)]
struct Service {
    port: u16,
    /// Bytes of greeting.
    greet: u64,
    cookies: bool,
}

const SPEAKS_SECOND: Service = Service {
    port: SERVICE_PORT,
    greet: 0,
    cookies: false,
};
const SPEAKS_FIRST: Service = Service {
    port: SERVICE_PORT + 1,
    greet: 60,
    cookies: false,
};
const BY_COOKIE: Service = Service {
    cookies: true,
    ..SPEAKS_SECOND
};

/// Connections per second to one service over one IP version.
const RATE: u64 = 20;

/// Seconds of traffic.
fn seconds() -> Result<u64> {
    match std::env::var("WAYBILL_ROUGH") {
        Ok(number) => number.parse().context("WAYBILL_ROUGH"),
        Err(_) => Ok(15),
    }
}

fn rough(lab: &Lab, settings: &Settings, services: &[Service]) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Snat, Middlebox::Plain)?;
    let bridge = scene.site.bridge(lab, 0, &WIRE)?;
    scene.start_with(settings, settings)?;
    let (client, backend) = (
        scene.site.clients[0].clone(),
        scene.site.backends[0].clone(),
    );
    let seconds = seconds()?;
    let count = RATE * seconds;
    let (mut servers, mut running, mut ends) = (Vec::<Server>::new(), Vec::new(), Vec::new());
    for service in services {
        if service.cookies {
            backend.sysctl("net.ipv4.tcp_syncookies", "2")?;
        }
        let greet = service.greet.to_string();
        servers.push(programs::serve(
            &backend,
            service.port,
            &["--greet", &greet],
        )?);
        for family in Family::BOTH {
            let end = SocketAddr::new(scene.site.backend_ip(0, family), service.port);
            let (count, rate) = (count.to_string(), RATE.to_string());
            let options = ["--count", &count, "--per-second", &rate, "--parallel", "64"];
            let patient = ["--timeout-ms", "100000", "--greet", &greet];
            running.push(client.start_connect(end, &[&options[..], &patient].concat())?);
            ends.push(end);
        }
    }
    for one in running {
        let said = one.succeed(Duration::from_secs(seconds + 200))?;
        let seen: Vec<Connected> = lines(&said)?;
        let bad: Vec<_> = seen.iter().filter(|one| !one.error.is_empty()).collect();
        ensure!(bad.is_empty(), "{} of {count} failed: {bad:?}", bad.len());
    }
    for server in &servers {
        server.wait_served(usize::try_from(2 * count)?, SOON)?;
    }
    let at = shop(&client);
    scene.settle(|topology| exact(topology, &at, &ends, count).map(drop))?;
    no_path_is_off(&scene)?;
    let signs = sum(&scene, "option_path_failures_total")?;
    let read = sum(&scene, "option_read_total")?;
    let tally = bridge.stop()?;
    writeln!(std::io::stderr(), "rough: {signs} signs of loss").ok();
    enough("read", read, &tally)?;
    // Counts of both ends can be there before the last tokens are.
    scene.settle(|topology| enough("joined", exact(topology, &at, &ends, count)?, &tally))
}

/// A page, and nginx that waits for data before it accepts.
fn deferring(lab: &Lab, host: &Host) -> Result<Server> {
    let files = lab.directory().join("files");
    std::fs::create_dir(&files)?;
    std::fs::write(files.join("page"), "a page")?;
    programs::nginx(host, SERVICE_PORT, &files, "deferred")
}

fn deferred(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Snat, Middlebox::Plain)?;
    let bridge = scene.site.bridge(lab, 0, &WIRE)?;
    scene.start_agents()?;
    let _server = deferring(lab, &scene.site.backends[0])?;
    let client = scene.site.clients[0].clone();
    const COUNT: u64 = 100;
    let mut ends = Vec::new();
    for family in Family::BOTH {
        let end = scene.site.backend(0, family);
        let fetched = programs::curl(&client, end, "page", COUNT)?;
        ensure!(fetched.succeeded == COUNT, "{} fetched", fetched.succeeded);
        ends.push(end);
    }
    let at = shop(&client);
    scene.settle(|topology| exact(topology, &at, &ends, COUNT).map(drop))?;
    no_path_is_off(&scene)?;
    let tally = bridge.stop()?;
    scene.settle(|topology| {
        let tokens = exact(topology, &at, &ends, COUNT)?;
        enough_deferred("joined", tokens, &tally)
    })
}

fn idle(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    scene.start_agents()?;
    let _server = deferring(lab, &scene.site.backends[0])?;
    let client = scene.site.clients[0].clone();
    let end = scene.site.backend(0, Family::V4);
    let script = client.directory().join("idle.py");
    std::fs::write(&script, include_str!("idle.py"))?;
    let mut command = client.command(programs::python());
    command.arg(&script).arg(end.ip().to_string());
    command.args([&end.port().to_string(), "40", "0.4", "1.6", "page"]);
    let said = client
        .start("idle", command)?
        .succeed(Duration::from_secs(60))?;
    ensure!(said.trim() == "40", "{said} of 40 answered");
    for agent in &scene.agents {
        agent.flush()?;
    }
    wait_for(SETTLE, "signs that are no proof", || {
        // The listener asks once more although it has the ACK.
        let signs = sum(&scene, "option_path_failures_total")?;
        ensure!(signs >= 2, "{signs} signs, so nothing was tried");
        Ok(())
    })?;
    no_path_is_off(&scene)
}

/// One connection to a server that speaks first.
fn speak(session: &mut Session, end: SocketAddr) -> Result<()> {
    let connection = session.open(end)?;
    session.greeting(&connection, 60)?;
    session.exchange(&connection, 100, 100)?;
    session.close(connection)
}

/// What the gateway does to the first client's options alone.
fn only_first(fate: &str) -> String {
    format!(
        "table inet first {{\n chain pass {{ type filter hook forward priority 10; policy accept;\n\
         iifname \"client1\" tcp option 253 exists {fate}\n\
         oifname \"client1\" tcp option 253 exists {fate}\n }}\n}}\n"
    )
}

fn mixed(lab: &Lab, fate: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 3, 1, Nat::Snat, Middlebox::Plain)?;
    scene.site.gateway.nft(&only_first(fate))?;
    // The last one only reads, so what joins it is the answer.
    let named = Settings::default().with("service", &rule(SHOP))?;
    let silent = named.clone().with("option.destinations", "[]")?;
    for (client, settings) in scene.site.clients.iter().zip([&named, &named, &silent]) {
        let agent = Agent::start_on(lab, client, Some(&scene.collector), settings)?;
        scene.agents.push(agent);
    }
    scene.start_on_backends(&Settings::default())?;
    let backend = scene.site.backends[0].clone();
    let end = scene.site.backend(0, Family::V4);
    let greeting = SocketAddr::new(end.ip(), SPEAKS_FIRST.port);
    let _servers = [
        programs::serve(&backend, SERVICE_PORT, &[])?,
        programs::serve(&backend, SPEAKS_FIRST.port, &["--greet", "60"])?,
    ];
    const COUNT: u64 = 20;
    // First the one whose options never arrive, then the others behind the same address.
    for client in &scene.site.clients {
        client.connect(end, &["--count", &COUNT.to_string()])?;
    }
    for client in &scene.site.clients {
        let mut session = Session::start(client, Duration::from_secs(20))?;
        for _ in 0..COUNT {
            speak(&mut session, greeting)?;
        }
    }
    let others = [shop(&scene.site.clients[1]), shop(&scene.site.clients[2])];
    scene.settle(|topology| {
        for other in &others {
            for end in [end, greeting] {
                let edge = topology.edge(other, end)?;
                let joined = edge.evidence.iter().filter(|one| one.kind == "token");
                let tokens: u64 = joined.map(|one| one.connections).sum();
                ensure!(
                    [edge.connections, tokens] == [COUNT; 2],
                    "{other} to {end}: {tokens} tokens: {}",
                    topology.brief()
                );
            }
        }
        Ok(())
    })?;
    for agent in &scene.agents {
        let status = agent.status()?;
        let (off, name) = (&status.paths_off, agent.host.name());
        if name != "client1" {
            ensure!(off.is_empty(), "{name}: {off:?}");
        } else if fate == "drop" {
            // What it pays for: 1 s for each connection that a server speaks on first.
            ensure!(off.len() == 1, "{name}: {off:?}");
        }
    }
    Ok(())
}

fn stripped(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    scene.site.gateway.nft(&format!(
        "table inet strips {{\n chain pass {{ type filter hook forward priority 10; policy accept;\n\
         tcp dport {SERVICE_PORT} reset tcp option 253\n }}\n}}\n"
    ))?;
    scene.start_agents()?;
    let client = scene.site.clients[0].clone();
    let backend = scene.site.backends[0].clone();
    let end = scene.site.backend(0, Family::V4);
    let other = SocketAddr::new(end.ip(), SPEAKS_FIRST.port);
    let _servers = [
        programs::serve(&backend, end.port(), &[])?,
        programs::serve(&backend, other.port(), &[])?,
    ];
    for end in [end, other] {
        client.connect(end, &["--count", "20"])?;
    }
    let agent = scene.agent(&client)?;
    agent.flush()?;
    wait_for(SETTLE, "the stripping port off, and no other", || {
        let status = agent.status()?;
        let off = serde_json::to_string(&status.paths_off)?;
        ensure!(status.paths_off.len() == 1, "{off}");
        ensure!(off.contains(&end.to_string()), "{off}");
        let without = status.counter("option_path_off_total")?;
        ensure!((10..20).contains(&without), "{without} of 20 without");
        Ok(())
    })?;
    let (at, both) = (shop(&client), [end, other]);
    scene.settle(|topology| exact(topology, &at, &both, 20).map(drop))
}

fn rotating(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let next = scene.site.clients[0].directory().join("next.key");
    write_secret(&next, "0f0e0d0c0b0a09080706050403020100\n")?;
    let key = format!("{{ epoch = 2, secret_file = {next:?} }}");
    let ahead = Settings::default().with("key", &key)?;
    scene.start_with(&ahead, &Settings::default())?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    client.connect(scene.site.backend(0, Family::V4), &["--count", "20"])?;
    for agent in &scene.agents {
        agent.flush()?;
    }
    wait_for(SETTLE, "options refused, and answered", || {
        let counted = [
            sum(&scene, "option_unknown_epoch_total")?,
            sum(&scene, "option_read_total")?,
            sum(&scene, "option_path_failures_total")?,
        ];
        ensure!(counted == [20, 20, 0], "refused, read, signs: {counted:?}");
        Ok(())
    })?;
    no_path_is_off(&scene)
}
