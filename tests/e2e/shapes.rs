//! The lab itself, without agents: what the other trials take for the truth must be true.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::counters::{Counters, HARM};
use tests::lab::frames::Capture;
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::program::serve::End;

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "shapes::every_shape_shows_each_side_the_addresses_it_should",
        addresses,
    ),
    case(
        "shapes::real_programs_serve_through_the_gateway",
        real_programs,
    )
    .needing(&[
        Need::Program("nginx"),
        Need::Program("curl"),
        Need::Program("python3"),
        Need::Program("iperf3"),
    ]),
    case("shapes::every_end_is_logged_as_it_was", ends),
    case("shapes::dropped_packets_are_counted_and_repaired", drops)
        .needing(&[Need::Program("tcpdump")]),
];

fn addresses(lab: &Lab) -> Result<()> {
    for nat in [Nat::Direct, Nat::Snat, Nat::Dnat, Nat::FullNat] {
        // A lab of its own for each: the hosts have the same names.
        let lab = Lab::new(lab.binaries())?;
        let site = Site::build(&lab, 2, 2, nat, Middlebox::Plain)?;
        let servers = [
            programs::serve(&site.backends[0], SERVICE_PORT, &[])?,
            programs::serve(&site.backends[1], SERVICE_PORT, &[])?,
        ];
        for family in Family::BOTH {
            for client in &site.clients {
                let seen = client.connect(site.target(family), &["--count", "4"])?;
                ensure!(
                    seen.iter().all(|c| c.error.is_empty()),
                    "{nat:?} {family:?}: {seen:?}"
                );
            }
        }
        let whole = usize::from(!nat.virtual_address()) * 8 + 8;
        let first = servers[0].wait_served(whole, super::case::SOON)?;
        ensure!(first.len() == whole, "{nat:?}: {} connections", first.len());
        ensure!(
            servers[1].wait_served(16 - whole, super::case::SOON)?.len() == 16 - whole,
            "{nat:?}: not all arrived"
        );
        for entry in first {
            let family = if entry.peer.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            ensure!(
                entry.local == site.backend(0, family),
                "{nat:?}: served at {}",
                entry.local
            );
            let hidden = entry.peer.ip() == site.gateway_ip(0, family);
            let open = (0..2).any(|index| entry.peer.ip() == site.client_ip(index, family));
            ensure!(
                hidden == nat.hides_client() && open != hidden,
                "{nat:?}: {}",
                entry.peer
            );
        }
        ensure!(site.conntrack_invalid()? == 0, "{nat:?}: invalid packets");
        drop(servers);
        lab.close()?;
    }
    Ok(())
}

fn real_programs(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    let files = lab.directory().join("files");
    std::fs::create_dir(&files)?;
    std::fs::write(files.join("page"), vec![b'x'; 30_000])?;
    let _nginx = programs::nginx(&site.backends[0], SERVICE_PORT, &files, "")?;
    let _python = programs::python_http(&site.backends[1], SERVICE_PORT, &files)?;
    for family in Family::BOTH {
        let fetched = programs::curl(&site.clients[0], site.target(family), "page", 10)?;
        ensure!(
            fetched.succeeded == 10 && fetched.bytes == 300_000,
            "{family:?}: {fetched:?}"
        );
    }
    let _iperf = programs::iperf_server(&site.backends[0], 5201)?;
    let to = (site.backend_ip(0, Family::V4), 5201).into();
    let report = programs::iperf_client(&site.clients[0], to, &["--bytes", "2M"])?;
    let sent = report["end"]["sum_sent"]["bytes"].as_u64();
    ensure!(sent >= Some(2_000_000), "iperf3 sent {sent:?}");
    Ok(())
}

fn ends(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let expected = [
        ("close", End::Closed),
        ("half", End::Closed),
        ("reset", End::Reset),
        ("server-close", End::ClosedHere),
        ("server-reset", End::ResetHere),
    ];
    for (port, (end, logged)) in (SERVICE_PORT..).zip(expected) {
        let server = programs::serve(&site.backends[0], port, &["--greet", "50"])?;
        let to = (site.backend_ip(0, Family::V6), port).into();
        let options = [
            "--count", "3", "--up", "2000", "--down", "70000", "--greet", "50", "--end", end,
        ];
        let seen = site.clients[0].connect(to, &options)?;
        // Before the server resets, the client says with one more byte that it has read all.
        let up = if end == "server-reset" { 2025 } else { 2024 };
        for connection in &seen {
            ensure!(connection.error.is_empty(), "{end}: {connection:?}");
            ensure!(
                connection.sent == up && connection.received == 70_050,
                "{connection:?}"
            );
        }
        for entry in server.wait_served(3, super::case::SOON)? {
            ensure!(entry.end == logged, "{end} was logged as {entry:?}");
            ensure!(
                entry.received == up && entry.sent == 70_050,
                "{end}: {entry:?}"
            );
        }
    }
    let refused = site.clients[0].connect((site.backend_ip(0, Family::V4), 9).into(), &[])?;
    ensure!(refused[0].error.contains("refused"), "{refused:?}");
    Ok(())
}

fn drops(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Snat, Middlebox::DropsEveryNth(20))?;
    let server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let before = Counters::of(&site.clients[0])?;
    let capture = Capture::start(&site.backends[0], "eth0")?;
    let seen = site.clients[0].connect(site.target(Family::V4), &["--up", "2000000"])?;
    ensure!(seen[0].error.is_empty(), "{seen:?}");
    server.wait_served(1, super::case::SOON)?;
    let frames = capture.stop()?;
    let grown = Counters::of(&site.clients[0])?.since(&before);
    let dropped = site.dropped()?;
    ensure!(dropped > 0, "nothing was dropped");
    ensure!(
        grown.value("Tcp.RetransSegs") >= dropped,
        "{dropped} dropped, {grown:?}"
    );
    ensure!(
        grown
            .among(&HARM)
            .iter()
            .all(|(name, _)| name.starts_with("Tcp")),
        "{grown:?}"
    );
    ensure!(frames.option_empty + frames.option_data == 0, "{frames:?}");
    Ok(())
}
