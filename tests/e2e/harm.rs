//! Business traffic with and without agents, behind gateways of every kind.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::counters::{Counters, HARM};
use tests::lab::frames::{Capture, Frames};
use tests::lab::needs::Need;
use tests::lab::programs::{self, Server};
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::case::{Case, case};
use crate::scene::{SETTLE, Scene};

pub(crate) const NEEDS: &[Need] = &[
    Need::Program("tcpdump"),
    Need::Program("nginx"),
    Need::Program("curl"),
    Need::Program("md5sum"),
];

pub(crate) const CASES: &[Case] = &[
    case("harm::two_rounds_without_agents_are_equal", control)
        .needing(NEEDS)
        .alone(),
    case("harm::plain_gateway_traffic_is_unchanged", |lab| {
        usual(lab, Middlebox::Plain, Agents::Both)
    })
    .needing(NEEDS)
    .alone(),
    case(
        "harm::traffic_through_a_gateway_that_drops_the_option_is_unchanged",
        |lab| usual(lab, Middlebox::DropsOption, Agents::Both),
    )
    .needing(NEEDS)
    .alone(),
    case(
        "harm::traffic_through_a_gateway_that_strips_the_option_is_unchanged",
        |lab| usual(lab, Middlebox::StripsOption, Agents::Both),
    )
    .needing(NEEDS)
    .alone(),
    case(
        "harm::answers_of_servers_alone_leave_traffic_unchanged",
        |lab| usual(lab, Middlebox::Plain, Agents::OnBackends),
    )
    .needing(NEEDS)
    .alone(),
    case(
        "harm::answers_that_a_gateway_drops_leave_traffic_unchanged",
        |lab| usual(lab, Middlebox::DropsOption, Agents::OnBackends),
    )
    .needing(NEEDS)
    .alone(),
    case(
        "harm::the_option_goes_off_for_a_path_that_drops_it_and_operators_see_that",
        negative_cache,
    ),
];

/// Short exchanges per family: small enough to be one segment each way.
const SHORT: u64 = 40;

/// Bytes of the long transfer, each way.
const LONG: &str = "3000000";

/// What one round of transfers did to the network.
struct Round {
    frames: Frames,
    client: Counters,
    backend: Counters,
    digest: String,
}

/// Runs the same transfers each time and measures them.
fn round(site: &Site, server: &Server) -> Result<Round> {
    let (client, backend) = (&site.clients[0], &site.backends[0]);
    let logged = server.served()?.len();
    let before = (Counters::of(client)?, Counters::of(backend)?);
    let capture = Capture::start(client, "eth0")?;
    let mut expected = logged;
    for family in Family::BOTH {
        let count = SHORT.to_string();
        for options in [
            &["--count", &count, "--up", "400", "--down", "900"],
            &["--count", "1", "--up", LONG, "--down", LONG],
        ] {
            let seen = client.connect(site.target(family), options)?;
            ensure!(
                seen.iter().all(|c| c.error.is_empty()),
                "{family:?} failed: {seen:?}"
            );
            expected += seen.len();
        }
    }
    server.wait_served(expected, SETTLE)?;
    let frames = capture.stop()?;
    // Not captured: nginx writes in pieces whose ends depend on the time.
    let url = format!("http://{}:8090/file", site.backend_ip(0, Family::V4));
    let fetched = site.clients[0].directory().join("fetched");
    client.run("curl", &["-sS", "-o", &fetched.display().to_string(), &url])?;
    let digest = client.run("md5sum", &[&fetched])?;
    let after = (Counters::of(client)?, Counters::of(backend)?);
    Ok(Round {
        frames,
        client: after.0.since(&before.0),
        backend: after.1.since(&before.1),
        digest,
    })
}

/// A site whose frames are those of a wire, with its servers.
fn prepare(lab: &Lab, site: &Site) -> Result<(Server, Server)> {
    for host in [&site.clients[0], &site.backends[0]] {
        // One segment per frame: with segmentation offload the frames would be those of the host.
        host.ip("link set eth0 gso_max_segs 1\n")?;
        host.use_one_cpu();
        // A tail-loss probe fires when a busy machine is late by two ticks: noise of the lab.
        host.sysctl("net.ipv4.tcp_early_retrans", "0")?;
        // A window that no device queue of the lab can overflow: loss would be noise, too.
        host.sysctl("net.ipv4.tcp_rmem", "4096 131072 262144")?;
        // A writer that never waits for memory: each wait would send a short segment.
        host.sysctl("net.ipv4.tcp_wmem", "4096 16777216 16777216")?;
    }
    let files = lab.directory().join("files");
    std::fs::create_dir(&files)?;
    let mut bytes = Vec::new();
    tests::program::pattern::write_bytes(&mut bytes, 2_000_000)?;
    std::fs::write(files.join("file"), bytes)?;
    Ok((
        programs::serve(&site.backends[0], SERVICE_PORT, &[])?,
        programs::nginx(&site.backends[0], 8090, &files, "")?,
    ))
}

/// Demands that two rounds did the same to content, kernel counters and data frames.
fn compare(without: &Round, with: &Round) -> Result<()> {
    ensure!(
        with.digest == without.digest,
        "{} instead of {}",
        with.digest,
        without.digest
    );
    for (side, with, without) in [
        ("client", &with.client, &without.client),
        ("backend", &with.backend, &without.backend),
    ] {
        let (with, without) = (with.among(&HARM), without.among(&HARM));
        ensure!(
            with == without,
            "{side}: {with:?} with, {without:?} without agents"
        );
    }
    let (sizes, plain) = (&with.frames.data, &without.frames.data);
    ensure!(
        sizes == plain,
        "data frames {sizes:?} with, {plain:?} without agents"
    );
    Ok(())
}

fn control(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Snat, Middlebox::Plain)?;
    let (server, _nginx) = prepare(lab, &site)?;
    compare(&round(&site, &server)?, &round(&site, &server)?)
}

/// Which hosts have agents in the second round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agents {
    Both,
    OnBackends,
}

fn usual(lab: &Lab, middlebox: Middlebox, agents: Agents) -> Result<()> {
    let settings = Settings::default();
    unchanged(lab, middlebox, agents, [&settings, &settings])
}

/// Demands that agents with these settings, of clients and of backends, change nothing.
pub(crate) fn unchanged(
    lab: &Lab,
    middlebox: Middlebox,
    agents: Agents,
    [clients, backends]: [&Settings; 2],
) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Snat, middlebox)?;
    let (server, _nginx) = prepare(lab, &scene.site)?;
    let without = round(&scene.site, &server)?;
    match agents {
        Agents::Both => scene.start_with(clients, backends)?,
        Agents::OnBackends => scene.start_on_backends(backends)?,
    }
    let with = round(&scene.site, &server)?;
    compare(&without, &with)?;
    ensure!(with.frames.option_data == 0, "the option travelled on data");
    ensure!(without.frames.option_empty == 0, "options without agents");
    // At the gateway, which sees those of both sides.
    // Where the client's is stripped, the server answers with its own.
    let most = 2 * (2 * (SHORT + 1) + 1);
    let options = scene.site.options_seen()?;
    ensure!(options > 0 && options <= most, "{options} options");
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    Ok(())
}

fn negative_cache(lab: &Lab) -> Result<()> {
    let scene = Scene::full(lab, 1, 1, Nat::Direct, Middlebox::DropsOption)?;
    let client = scene.site.clients[0].clone();
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &["--greet", "60"])?;
    let endpoint = scene.site.backend(0, Family::V4);
    let mut session = Session::start(&client, Duration::from_secs(20))?;
    let mut speak = || -> Result<()> {
        let connection = session.open(endpoint)?;
        session.greeting(&connection, 60)?;
        session.exchange(&connection, 100, 100)?;
        session.close(connection)
    };
    // Only a server that speaks first misses the dropped ACK: it repeats its SYN-ACK, once. Four of
    // them are too many for plain loss, and the two without the option in between got through.
    let before = Counters::of(&scene.site.backends[0])?;
    for _ in 0..6 {
        speak()?;
    }
    let paid = Counters::of(&scene.site.backends[0])?.since(&before);
    let paid = paid.value("Tcp.RetransSegs");
    // A busy machine repeats one or two of its own accord; without an end it would be six by now.
    ensure!(
        (4..6).contains(&paid),
        "{paid} repeated SYN-ACKs until the path was off"
    );
    let dropped = scene.site.dropped()?;
    ensure!(dropped >= 1, "no option was dropped, so nothing was proven");
    let address = endpoint.ip().to_string();
    wait_for(SETTLE, "path off in status, doctor and host rows", || {
        let agent = scene.agent(&client)?;
        let off = serde_json::to_string(&agent.status()?.paths_off)?;
        ensure!(off.contains(&address), "status: paths off {off}");
        let doctor = agent.ask_json(&["doctor"])?.to_string();
        ensure!(
            doctor.contains(&address),
            "doctor does not name it: {doctor}"
        );
        let hosts = scene.collector.hosts()?.to_string();
        ensure!(
            hosts.contains(&address),
            "host rows do not name it: {hosts}"
        );
        Ok(())
    })?;
    let before = Counters::of(&scene.site.backends[0])?;
    let seen = scene.site.options_seen()?;
    for _ in 0..5 {
        speak()?;
    }
    let grown = Counters::of(&scene.site.backends[0])?.since(&before);
    ensure!(
        grown.value("Tcp.RetransSegs") == 0,
        "still retransmitted: {grown:?}"
    );
    let from_client = scene.agent(&client)?;
    from_client.flush()?;
    wait_for(SETTLE, "connections counted as off", || {
        let off = from_client.status()?.counter("option_path_off_total")?;
        ensure!(
            off >= 5,
            "{off} connections without option because of the path"
        );
        Ok(())
    })?;
    let more = scene.site.options_seen()? - seen;
    // The backend's answers also go off after a few, each is a suspicion of its own.
    ensure!(more <= 5, "{more} more options were sent into the void");
    Ok(())
}
