//! What a copy of mode `tc-clone` is, frame by frame, and what looking for it costs.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Agent;
use tests::lab::command;
use tests::lab::frames::Capture;
use tests::lab::host::{Host, TOOL_DEADLINE};
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::residue::list;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::bad_option;
use crate::case::{Case, SOON, case};
use crate::filters::{settings, talk, wait_status};

pub(crate) const CASES: &[Case] = &[
    case(
        "copies::are_twins_of_their_originals_with_right_checksums",
        twins,
    )
    .needing(&[Need::Program("tcpdump"), Need::Program("python3")]),
    case("copies::are_made_and_read_with_vlan_tags", tags)
        .needing(&[Need::Program("bpftool"), Need::Program("python3")]),
    case("copies::the_common_packet_leaves_early", cost)
        .needing(&[Need::Program("bpftool"), Need::Program("iperf3")])
        .alone(),
];

fn twins(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let _http = programs::python_http(&site.backends[0], 8090, lab.directory())?;
    let _agent = Agent::start_on(lab, client, None, &settings()?)?;
    for offload in ["on", "off"] {
        set_checksum_offload(client, offload)?;
        set_checksum_offload(&site.backends[0], offload)?;
        let capture = Capture::start(client, "eth0")?;
        talk(&site, 20)?;
        // First data together with the handshake ACK: the copy is its header alone.
        for family in Family::BOTH {
            eager(client, site.backend_ip(0, family), 10)?;
        }
        let frames = capture.stop()?;
        ensure!(
            frames.option_empty == 60 && frames.option_data == 0,
            "offload {offload}: {} copies, {} options on data",
            frames.option_empty,
            frames.option_data
        );
        ensure!(
            (frames.twins, frames.twins_with_data) == (60, 20),
            "offload {offload}: {} of 60 copies are twins, {} of 20 of data",
            frames.twins,
            frames.twins_with_data
        );
        ensure!(
            offload == "on" || frames.wrong_sums == 0,
            "{} wrong checksums",
            frames.wrong_sums
        );
    }
    let backend = tests::lab::counters::Counters::of(&site.backends[0])?;
    ensure!(backend.value("Tcp.InCsumErrors") == 0, "checksum errors");
    ensure!(backend.value("Tcp.InErrs") == 0, "broken segments");
    Ok(())
}

/// Connections whose first data is their handshake's ACK.
fn eager(client: &Host, to: std::net::IpAddr, count: u32) -> Result<()> {
    let script = client.directory().join("eager.py");
    std::fs::write(&script, include_str!("eager.py"))?;
    let mut python = client.command(programs::python());
    python.arg(&script);
    python.args([to.to_string(), "8090".into(), count.to_string()]);
    let said = client.start("eager", python)?.succeed(TOOL_DEADLINE)?;
    ensure!(said.trim() == "ok", "{said}");
    Ok(())
}

/// `ethtool --offload eth0 tx`, for which the lab has no program: through the device's own peer.
fn set_checksum_offload(host: &Host, state: &str) -> Result<()> {
    let script = host.directory().join("offload.py");
    std::fs::write(&script, include_str!("offload.py"))?;
    let mut python = host.command_beside(programs::python());
    command::run(python.arg(&script).args(["eth0", state])).map(drop)
}

/// Id of the program of this name that an agent holds.
fn held_program(agent: &Agent, name: &str) -> Result<u64> {
    let files = std::fs::read_dir(format!("/proc/{}/fdinfo", agent.pid()?))?;
    let held: BTreeSet<u64> = files
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("prog_id:"))?;
            line.trim().parse().ok()
        })
        .collect();
    list("prog")?
        .iter()
        .filter(|program| program["name"] == name)
        .filter_map(|program| program["id"].as_u64())
        .find(|id| held.contains(id))
        .with_context(|| format!("{name} is not held by the agent"))
}

/// No device of the lab can tag frames, so they are given to the loaded filters by hand.
fn tags(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = &site.backends[0];
    let _server = programs::serve(backend, SERVICE_PORT, &[])?;
    let agent = Agent::start_on(lab, backend, None, &settings()?)?;
    let script = backend.directory().join("tagged.py");
    std::fs::write(&script, include_str!("tagged.py"))?;
    let mut python = backend.command_beside(programs::python());
    python.arg(&script).arg("eth0");
    for name in ["wb_clone_out", "wb_clone_in"] {
        python.arg(held_program(&agent, name)?.to_string());
    }
    let option = bad_option::option(77, bad_option::FLAGS | 1, 1)?;
    python.arg(option.map(|byte| format!("{byte:02x}")).concat());
    let variants = ["none", "8100:5", "88a8:7", "88a8:7,8100:5", "8100:7,8100:5"];
    python.args(variants).args(variants);
    let mut running = backend.start("tagged", python)?;
    running.wait_for_output("ready", SOON)?;
    let mut session = Session::start(&site.clients[0], TOOL_DEADLINE)?;
    let mut expected = String::from("ready\n");
    // A server that waits for its client's first word has a segment to announce.
    for family in Family::BOTH {
        for tags in variants {
            session.open(site.backend(0, family))?;
            expected += "ok\n";
            wait_for(SOON, "verdict about tags", || {
                let said = running.output()?;
                ensure!(said == expected, "{family:?} {tags}: {said}");
                Ok(())
            })?;
        }
    }
    wait_status(&agent, |status| {
        let arrived = status.counter("clone_arrived_total")?;
        ensure!(arrived == 10, "{arrived} of 10 options arrived");
        let taken = status.counter("clone_taken_off_total")?;
        ensure!(taken == 10, "{taken} of 10 copies taken off");
        Ok(())
    })
}

/// Nanoseconds per run that a filter may take on average while data flows. Measured are 170 with
/// the cache full of 64 KiB segments, 55 of which an empty program takes, too; in a loop it is 5.
const COMMON_NS: u64 = 500;

/// Counts the time that programs take, for as long as it lives.
struct Stopwatch {
    before: String,
}

impl Stopwatch {
    const SETTING: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn start() -> Result<Self> {
        let before = std::fs::read_to_string(Self::SETTING)?;
        std::fs::write(Self::SETTING, "1")?;
        Ok(Self { before })
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        std::fs::write(Self::SETTING, self.before.trim()).ok();
    }
}

fn cost(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::iperf_server(&site.backends[0], 5201)?;
    let agent = Agent::start_on(lab, &site.clients[0], None, &settings()?)?;
    let endpoint = std::net::SocketAddr::new(site.backend_ip(0, Family::V4), 5201);
    let watch = Stopwatch::start()?;
    programs::iperf_client(&site.clients[0], endpoint, &["--bytes", "200M"])?;
    drop(watch);
    for name in ["wb_clone_out", "wb_clone_in"] {
        let id = held_program(&agent, name)?;
        let programs = list("prog")?;
        let program = programs
            .iter()
            .find(|program| program["id"].as_u64() == Some(id))
            .with_context(|| format!("{name} is gone"))?;
        let number = |key: &str| program[key].as_u64().unwrap_or(0);
        let (runs, spent) = (number("run_cnt"), number("run_time_ns"));
        ensure!(runs > 500, "{name} ran {runs} times only: {program}");
        let each = spent / runs;
        ensure!(each < COMMON_NS, "{name}: {each} ns in each of {runs} runs");
    }
    Ok(())
}
