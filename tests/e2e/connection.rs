//! Family `connection`: counters against what programs and the kernel themselves counted.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::counters::{self, Counters, SocketNumbers};
use tests::lab::host::{Host, TOOL_DEADLINE};
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::{Edge, Quantiles, Topology};
use tests::lab::wait::wait_until;
use tests::program::pattern::Header;

use crate::case::{Case, SOON, case};
use crate::scene::{Both, Scene, shop};

pub(crate) const CASES: &[Case] = &[
    case(
        "connection::bytes_and_segments_match_what_programs_sent",
        |lab| bytes(lab, &Settings::default()),
    ),
    case(
        "connection::retransmits_match_ss_behind_a_gateway_that_drops",
        |lab| retransmits(lab, &Settings::default()),
    ),
    case(
        "connection::an_iperf3_transfer_is_counted_to_the_byte",
        iperf,
    )
    .needing(&[Need::Program("iperf3")]),
    case(
        "connection::refused_reset_and_failed_connections_are_told_apart",
        |lab| abnormal(lab, &Settings::default()),
    ),
    case(
        "connection::a_receiver_that_stops_reading_shows_as_zero_windows",
        |lab| zero_windows(lab, &Settings::default()),
    ),
    case(
        "connection::connections_older_than_the_agent_are_measured_from_its_start",
        |lab| existing(lab, &Settings::default()),
    ),
];

fn present(quantiles: Option<&Quantiles>) -> bool {
    quantiles.is_some_and(|q| q.p50.is_some_and(|median| median > 0.0))
}

pub(crate) fn bytes<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 1), Nat::Snat, Middlebox::Plain, settings)?;
    let server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &["--greet", "33"])?;
    let endpoint = scene.site.backend(0, Family::V4);
    let client = scene.site.clients[0].clone();
    let (mut sent, mut received, mut count) = (0, 0, 0);
    for (up, down, end) in [
        ("1", "1", "close"),
        ("5000", "200000", "half"),
        ("300000", "70", "server-close"),
        ("1500", "1500", "close"),
    ] {
        let options = [
            "--count", "5", "--greet", "33", "--up", up, "--down", down, "--end", end,
        ];
        for seen in client.connect(endpoint, &options)? {
            ensure!(seen.error.is_empty(), "{seen:?}");
            sent += seen.sent;
            received += seen.received;
            count += 1;
        }
    }
    server.wait_served(count, SOON)?;
    scene.settle_and_stop(|topology| {
        let edge = topology.edge(&shop(&client), endpoint)?;
        let (near, far) = (edge.client_side()?, edge.server_side()?);
        let counted = (near.opened, near.closed, far.opened, far.closed);
        let count = count as u64;
        ensure!(
            counted == (count, count, count, count),
            "{counted:?} of {count} connections"
        );
        let counted = (
            near.bytes_sent,
            near.bytes_received,
            far.bytes_received,
            far.bytes_sent,
        );
        let truth = (sent, received, sent, received);
        ensure!(counted == truth, "bytes {counted:?} instead of {truth:?}");
        ensure!(
            near.segments_sent >= 4 * count && far.segments_sent >= 4 * count,
            "segments"
        );
        // Who closes before the other end's FIN is there leaves the last acknowledgement to the kernel's
        // TIME_WAIT, which counts for no socket (tcp_close, net/ipv4/tcp.c), and what comes from the other
        // end then is counted by none either (tcp_timewait_state_process).
        let uncounted = far.segments_received.abs_diff(near.segments_sent);
        ensure!(uncounted <= count, "{near:?} {far:?}");
        ensure!(
            present(near.connect_latency_us.as_ref()),
            "no connect latency: {near:?}"
        );
        ensure!(
            present(near.rtt_us.as_ref()) && present(far.rtt_us.as_ref()),
            "no rtt"
        );
        Ok(())
    })
}

pub(crate) fn retransmits<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(
        lab,
        (1, 1),
        Nat::FullNat,
        Middlebox::DropsEveryNth(20),
        settings,
    )?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let mut session = Session::start(&client, Duration::from_secs(30))?;
    let connection = session.open(scene.site.target(Family::V4))?;
    let hosts = [client.clone(), scene.site.backends[0].clone()];
    // Segments that the kernel sends as one are one to the gateway, which may so let all of one
    // direction pass.
    let truth = wait_until(TOOL_DEADLINE, "drops that both ends felt", || {
        session.exchange(&connection, 500_000, 500_000)?;
        let felt = retransmits_of(&hosts)?;
        Ok(felt.iter().all(|&count| count > 0).then_some(felt))
    })?;
    let mut before = Vec::new();
    for host in &hosts {
        before.push(Counters::of(host)?);
    }
    let endpoint = scene.site.backend(0, Family::V4);
    let check = |topology: &Topology| {
        let edge = topology.edge(&shop(&client), endpoint)?;
        let counted = [
            edge.client_side()?.retransmits,
            edge.server_side()?.retransmits,
        ];
        for side in 0..2 {
            // A FIN that a busy machine let wait is sent again too: at most as often as the kernel says.
            let late = Counters::of(&hosts[side])?.since(&before[side]);
            let most = truth[side] + late.value("Tcp.RetransSegs");
            ensure!(
                (truth[side]..=most).contains(&counted[side]),
                "retransmits {counted:?} instead of {truth:?}, {most} at most"
            );
        }
        ensure!(
            edge.server_side()?.out_of_order > Some(0),
            "no segment out of order"
        );
        Ok(())
    };
    scene.settle(check).context("while open")?;
    session.close(connection)?;
    scene.settle_and_stop(check)
}

/// What both ends of the one connection sent again so far, once nothing is under way: who has read
/// everything may still be sent it again, since its acknowledgement has not arrived.
fn retransmits_of(hosts: &[Host; 2]) -> Result<[u64; 2]> {
    wait_until(SOON, "nothing under way", || {
        let sockets = [own_socket(&hosts[0])?, own_socket(&hosts[1])?];
        let quiet = sockets.iter().all(|socket| socket.unacked == 0);
        Ok(quiet.then(|| sockets.map(|socket| socket.retransmits)))
    })
}

/// The one connection of a host that is traffic, not the agent's upload.
fn own_socket(host: &Host) -> Result<SocketNumbers> {
    let mut sockets = counters::sockets(host)?;
    sockets.retain(|socket| !socket.remote.ends_with(":9443"));
    ensure!(sockets.len() == 1, "{sockets:?}");
    Ok(sockets.remove(0))
}

fn iperf(lab: &Lab) -> Result<()> {
    let mut scene = Scene::full(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::iperf_server(&scene.site.backends[0], 5201)?;
    let endpoint = SocketAddr::new(scene.site.backend_ip(0, Family::V4), 5201);
    let client = scene.site.clients[0].clone();
    let options = ["--bytes", "20M", "--parallel", "2"];
    let report = programs::iperf_client(&client, endpoint, &options)?;
    let number = |side: &str, what: &str| -> Result<u64> {
        report["end"][side][what]
            .as_u64()
            .with_context(|| format!("{side} {what} in {report}"))
    };
    let received = number("sum_received", "bytes")?;
    let sent = number("sum_sent", "bytes")?;
    let retransmits = number("sum_sent", "retransmits")?;
    // The control connection carries parameters and results: a few kilobytes of JSON.
    const CONTROL: u64 = 20_000;
    scene.settle_and_stop(|topology| {
        let edge = topology.edge(&shop(&client), endpoint)?;
        let (near, far) = (edge.client_side()?, edge.server_side()?);
        ensure!(
            edge.connections == 3,
            "{} connections: control and two streams",
            edge.connections
        );
        // iperf3 stops counting before the last segments have arrived, never after.
        ensure!(
            far.bytes_received >= received,
            "{} of {received} bytes",
            far.bytes_received
        );
        ensure!(
            near.bytes_sent <= sent + CONTROL,
            "{} of {sent} bytes",
            near.bytes_sent
        );
        ensure!(
            near.retransmits >= retransmits,
            "{} of {retransmits}",
            near.retransmits
        );
        Ok(())
    })
}

pub(crate) fn abnormal<'s>(lab: &Lab, settings: impl Into<Both<'s>>) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 1), Nat::Direct, Middlebox::Plain, settings)?;
    let client = scene.site.clients[0].clone();
    let at = |port| SocketAddr::new(scene.site.backend_ip(0, Family::V4), port);
    let (refused, by_server, by_client, lost) = (at(9), at(8081), at(8082), at(8083));
    let _servers = [
        programs::serve(&scene.site.backends[0], 8081, &[])?,
        programs::serve(&scene.site.backends[0], 8082, &[])?,
    ];
    scene.site.backends[0].nft(
        "table inet hole { chain in { type filter hook input priority 0; policy accept;\n\
         tcp dport 8083 drop\n }\n}\n",
    )?;
    let run = |to, end, timeout: &str| {
        client.connect(to, &["--count", "3", "--end", end, "--timeout-ms", timeout])
    };
    ensure!(
        run(refused, "close", "9000")?
            .iter()
            .all(|c| c.error.contains("refused")),
        "refused"
    );
    ensure!(
        run(by_server, "server-reset", "9000")?
            .iter()
            .all(|c| c.error.is_empty()),
        "server"
    );
    ensure!(
        run(by_client, "reset", "9000")?
            .iter()
            .all(|c| c.error.is_empty()),
        "client"
    );
    ensure!(
        run(lost, "close", "700")?.iter().all(|c| c.local.is_none()),
        "black hole"
    );
    let shop = shop(&client);
    scene.settle_and_stop(|topology| {
        let edge = topology.outward(&shop, refused)?;
        let near = edge.client_side()?;
        ensure!(
            (near.failed, near.refused, near.opened) == (3, 3, 0),
            "refused: {near:?}"
        );
        let edge = topology.outward(&shop, lost)?;
        let near = edge.client_side()?;
        ensure!(
            (near.failed, near.refused, near.opened) == (3, 0, 0),
            "failed: {near:?}"
        );
        let resets = |edge: &Edge| -> Result<_> {
            let (near, far) = (edge.client_side()?, edge.server_side()?);
            Ok([
                near.reset_local,
                near.reset_remote,
                far.reset_local,
                far.reset_remote,
            ])
        };
        let seen = resets(topology.edge(&shop, by_server)?)?;
        ensure!(seen == [0, 3, 3, 0], "resets by the server: {seen:?}");
        let seen = resets(topology.edge(&shop, by_client)?)?;
        ensure!(seen == [3, 0, 0, 3], "resets by the client: {seen:?}");
        Ok(())
    })
}

pub(crate) fn zero_windows(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 1), Nat::Direct, Middlebox::Plain, settings)?;
    let server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let endpoint = scene.site.backend(0, Family::V4);
    let before = Counters::of(&scene.site.backends[0])?;
    server.running.signal(Signal::SIGSTOP)?;
    let mut sending = client.start_connect(endpoint, &["--up", "20000000"])?;
    wait_until(SOON, "closed window", || {
        let grown = Counters::of(&scene.site.backends[0])?.since(&before);
        Ok((grown.value("TcpExt.TCPToZeroWindowAdv") > 0).then_some(()))
    })?;
    ensure!(
        sending.ended()?.is_none(),
        "the client did not have to wait"
    );
    server.running.signal(Signal::SIGCONT)?;
    sending.succeed(TOOL_DEADLINE)?;
    scene.settle_and_stop(|topology| {
        let near = topology.edge(&shop(&client), endpoint)?.client_side()?;
        ensure!(near.zero_windows > Some(0), "no zero window: {near:?}");
        Ok(())
    })
}

pub(crate) fn existing(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let mut session = Session::start(&client, Duration::from_secs(20))?;
    let endpoint = scene.site.backend(0, Family::V4);
    let connection = session.open(endpoint)?;
    session.exchange(&connection, 100_000, 100_000)?;
    scene.start_with(settings, settings)?;
    session.exchange(&connection, 7000, 9000)?;
    let sent = 7000 + Header::LENGTH as u64;
    scene.settle(|topology| {
        let either = topology.edge(&shop(&client), endpoint);
        let edge = either.or_else(|_| topology.outward(&shop(&client), endpoint))?;
        let near = edge.client_side()?;
        let counted = (near.adopted, near.bytes_sent, near.bytes_received);
        ensure!(near.opened == 0, "{} opened since", near.opened);
        ensure!(
            counted == (1, sent, 9000),
            "{counted:?} instead of {:?}",
            (1, sent, 9000)
        );
        Ok(())
    })?;
    for agent in &mut scene.agents {
        let adopted = agent.report()?.counter("record_adopted_total")?;
        ensure!(adopted == 1, "{} adopted {adopted}", agent.host.name());
        agent.stop()?;
    }
    Ok(())
}
