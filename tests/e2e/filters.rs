//! Packet filters of mode `tc-clone` on devices: what they leave, beside whom they run, and how
//! they follow.

mod look;

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Agent;
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::residue::Residue;
use tests::lab::site::{Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};
use crate::clone::{CLONE, mode};
use crate::nat::{prove, start_servers};
use crate::residue::ended;
use crate::scene::Scene;
pub(crate) use look::{count_options, options_reached, settings, shown, talk, tc, wait_status};

const NEEDS: &[Need] = &[Need::Program("bpftool"), Need::Program("tc")];
const WITH_NEIGHBOUR: &[Need] = &[
    Need::Program("bpftool"),
    Need::Program("tc"),
    Need::Program("clang-19"),
];

pub(crate) const CASES: &[Case] = &[
    case("filters::nothing_is_left_after_an_orderly_end", |lab| {
        ended(lab, &mode(CLONE)?, |agent| agent.stop())
    })
    .needing(NEEDS),
    case(
        "filters::of_a_killed_agent_fall_asleep_and_go_with_the_next_start",
        killed,
    )
    .needing(NEEDS),
    case(
        "filters::of_a_killed_agent_go_with_clean_and_with_a_start_in_another_mode",
        killed_and_replaced,
    )
    .needing(NEEDS),
    case("filters::of_others_stay_with_their_qdisc", foreign).needing(WITH_NEIGHBOUR),
    case(
        "filters::that_end_the_chain_before_ours_cost_the_waybill_and_no_connection",
        blocked,
    )
    .needing(WITH_NEIGHBOUR),
    case(
        "filters::that_take_the_copy_cost_the_waybill_and_no_connection",
        taken,
    )
    .needing(WITH_NEIGHBOUR),
    case(
        "filters::that_redirect_are_met_once_by_each_copy",
        redirected,
    )
    .needing(WITH_NEIGHBOUR),
    case(
        "filters::have_no_place_beside_the_older_qdisc_and_say_so",
        older_qdisc,
    )
    .needing(NEEDS),
    case("filters::follow_devices_that_come_and_go", follow).needing(NEEDS),
    case(
        "filters::a_second_agent_in_the_same_network_leaves_them_to_the_first",
        second_agent,
    )
    .needing(NEEDS),
    case(
        "filters::a_gateway_that_drops_what_it_calls_invalid_loses_nothing",
        strict_gateway,
    ),
];

fn killed(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let (client, backend) = (&site.clients[0], &site.backends[0]);
    count_options(backend)?;
    let before = Residue::snapshot(lab, &[client, backend])?;
    let mut writer = Agent::start_on(lab, client, None, &settings()?)?;
    let mut reader = Agent::prepare(lab, backend, None, &settings()?)?;
    reader.start()?;
    talk(&site, 10)?;
    ensure!(site.options_seen()? >= 20, "no copies were made");
    ensure!(
        options_reached(backend)? == 0,
        "copies reached the stack although a filter takes them off"
    );
    reader.kill()?;
    ensure!(
        shown(backend, "eth0")?.contains("wb_clone_in"),
        "the kernel removed the filters itself, so nothing is proven"
    );
    // Its filter takes copies off until it misses the heartbeat.
    wait_for(Duration::from_secs(30), "sleep of the filters", || {
        talk(&site, 1)?;
        ensure!(options_reached(backend)? > 0, "copies are still taken off");
        Ok(())
    })?;
    reader.start()?;
    let text = shown(backend, "eth0")?;
    ensure!(text.matches("handle 0x5742").count() == 2, "{text}");
    let reached = options_reached(backend)?;
    talk(&site, 5)?;
    ensure!(options_reached(backend)? == reached, "they still sleep");
    reader.stop()?;
    writer.stop()?;
    before.wait_same(lab, &[client, backend])
}

fn killed_and_replaced(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = &site.clients[0];
    let before = Residue::snapshot(lab, &[client])?;
    Agent::start_on(lab, client, None, &settings()?)?.kill()?;
    ensure!(
        shown(client, "eth0")?.contains("wb_clone_"),
        "nothing was left, so nothing is proven"
    );
    let mut clean = client.command_beside(&lab.binaries().agent);
    let said = command::run(clean.arg("clean"))?;
    ensure!(said.contains("from 1 device"), "{said}");
    before.wait_same(lab, &[client])?;
    let said = command::run(&mut clean)?;
    ensure!(said.contains("no packet filters"), "{said}");
    std::fs::remove_dir_all(client.directory().join("rootfs"))?;
    Agent::start_on(lab, client, None, &settings()?)?.kill()?;
    std::fs::remove_dir_all(client.directory().join("rootfs"))?;
    let mut other = Agent::start_on(lab, client, None, &mode("sockops")?)?;
    ensure!(
        !shown(client, "eth0")?.contains("wb_clone_"),
        "filters of the killed agent are still there"
    );
    other.stop()?;
    before.wait_same(lab, &[client])
}

/// Filters as another tool might have them: one looks on, one ends the chain, one redirects, and
/// one drops the copies before our own filter can change them.
const NEIGHBOUR: &str = r#"
#define SEC(name) __attribute__((section(name), used))
SEC("look") int neighbour_look(void *ctx) { return -1; }
SEC("pass") int neighbour_pass(void *ctx) { return 0; }
/* The mark is the third word of a filter's context. */
/* What has no mark yet gets one and is sent again, by the device it is on. */
static int (*redirect)(unsigned int, unsigned long long) = (void *)23;
SEC("bounce") int neighbour_bounce(unsigned int *ctx)
{
	if (ctx[2])
		return -1;
	*(volatile unsigned int *)(ctx + 2) = 1;
	return redirect(ctx[10], 0);
}
SEC("take") int neighbour_take(unsigned int *ctx) { return ctx[2] >> 16 == 0x5742 ? 2 : -1; }
char LICENSE[] SEC("license") = "GPL";
"#;

/// Attaches one of them: `egress protocol all pref 7 handle 7`, and its section.
fn neighbour(lab: &Lab, host: &Host, place: &str, section: &str) -> Result<()> {
    let source = lab.directory().join("neighbour.c");
    let object = source.with_extension("o");
    std::fs::write(&source, NEIGHBOUR)?;
    let mut clang = Command::new("clang-19");
    clang.args(["-O2", "-target", "bpf", "-c"]).arg(&source);
    command::run(clang.arg("-o").arg(&object))?;
    let object = object.display();
    let filter = format!("filter add dev eth0 {place} bpf da obj {object} sec {section}");
    tc(host, &filter)
}

fn foreign(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    // There before the agent, and added while it runs on a qdisc that the agent made.
    tc(client, "qdisc add dev eth0 clsact")?;
    neighbour(lab, client, "egress protocol all pref 7 handle 7", "look")?;
    let before = Residue::snapshot(lab, &[client])?;
    let mut agent = Agent::prepare(lab, client, None, &settings()?)?;
    agent.start()?;
    talk(&site, 5)?;
    ensure!(site.options_seen()? >= 10, "no copies beside the neighbour");
    ensure!(
        shown(client, "eth0")?.contains("wb_clone_out"),
        "no filter of ours"
    );
    agent.stop()?;
    before.wait_same(lab, &[client])?;
    tc(client, "qdisc del dev eth0 clsact")?;
    agent.start()?;
    neighbour(lab, client, "ingress protocol all pref 7 handle 7", "look")?;
    agent.stop()?;
    let text = shown(client, "eth0")?;
    ensure!(
        text.contains("look") && !text.contains("wb_clone_"),
        "the neighbour is gone or ours are not: {text}"
    );
    Ok(())
}

fn blocked(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    tc(client, "qdisc add dev eth0 clsact")?;
    // Accepts everything: nothing behind it in the chain ever runs.
    neighbour(lab, client, "egress protocol ip pref 1 handle 7", "pass")?;
    let agent = Agent::start_on(lab, client, None, &settings()?)?;
    talk(&site, 10)?;
    wait_status(&agent, |status| {
        let unsent = status.counter("clone_unsent_total")?;
        ensure!(unsent == 10, "{unsent} of the 10 IPv4 connections unsent");
        let written = status.counter("option_written_total")?;
        ensure!(
            written == 10,
            "{written} of the 10 IPv6 connections written"
        );
        Ok(())
    })
}

fn taken(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    tc(client, "qdisc add dev eth0 clsact")?;
    neighbour(lab, client, "egress protocol ip pref 1 handle 7", "take")?;
    let agent = Agent::start_on(lab, client, None, &settings()?)?;
    talk(&site, 10)?;
    wait_status(&agent, |status| {
        let counters = ["clone_failed_redirect_total", "clone_failed_unseen_total"];
        let failed = counters.map(|name| status.counter(name));
        let failed: u64 = failed.into_iter().sum::<Result<u64>>()?;
        ensure!(failed == 10, "{failed} of the 10 IPv4 copies failed");
        let written = status.counter("option_written_total")?;
        ensure!(written == 10, "{written} of the 10 IPv6 copies written");
        Ok(())
    })
}

fn redirected(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, Middlebox::Plain)?;
    let client = scene.site.clients[0].clone();
    tc(&client, "qdisc add dev eth0 clsact")?;
    // Before ours for IPv4, behind it for IPv6.
    neighbour(lab, &client, "egress protocol ip pref 1 handle 7", "bounce")?;
    neighbour(
        lab,
        &client,
        "egress protocol ipv6 pref 9 handle 7",
        "bounce",
    )?;
    let settings = settings()?;
    scene.start_with(&settings, &settings)?;
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, Nat::FullNat, &servers, &[])?;
    ensure!(
        scene.site.options_seen()? == 40,
        "{} copies of 40 connections",
        scene.site.options_seen()?
    );
    ensure!(scene.site.conntrack_invalid()? == 0, "invalid packets");
    Ok(())
}

fn older_qdisc(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    tc(client, "qdisc add dev eth0 ingress")?;
    let before = Residue::snapshot(lab, &[client])?;
    let mut agent = Agent::prepare(lab, client, None, &settings()?)?;
    agent.start()?;
    let status = agent.status()?;
    let plan = format!("{:?}", status.plan);
    ensure!(
        status.mode == "observe" && plan.contains("queueing discipline ingress"),
        "{}: {plan}",
        status.mode
    );
    talk(&site, 5)?;
    agent.stop()?;
    before.wait_same(lab, &[client])
}

fn follow(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = &site.clients[0];
    let mut agent = Agent::start_on(lab, client, None, &settings()?)?;
    let devices = |wanted: u64| {
        wait_status(&agent, |status| {
            let now = status.counter("clone_devices")?;
            ensure!(now == wanted, "{now} devices instead of {wanted}");
            let refused = status.counter("clone_devices_refused")?;
            ensure!(refused == 0, "{refused} devices refused");
            Ok(())
        })
    };
    devices(1)?;
    client.ip(
        "link add one type veth peer name two\nlink set one up\nlink set two up\n\
         link add bridge0 type bridge\nlink set bridge0 up\n\
         tuntap add dev raw0 mode tun\nlink set raw0 up\n",
    )?;
    devices(5)?;
    ensure!(shown(client, "one")?.contains("wb_clone_in "), "plain");
    ensure!(shown(client, "raw0")?.contains("wb_clone_out_ip"), "tunnel");
    client.ip("link set one master bridge0\n")?;
    wait_for(SOON, "filter for a port", || {
        let text = shown(client, "one")?;
        ensure!(text.contains("wb_clone_in_pt"), "{text}");
        Ok(())
    })?;
    client.ip("link del one\n")?;
    devices(3)?;
    // Somebody else removes what hangs on a device; it comes back.
    tc(client, "qdisc del dev eth0 clsact")?;
    wait_for(SOON, "filters that were removed", || {
        let text = shown(client, "eth0")?;
        ensure!(text.contains("wb_clone_out"), "{text}");
        Ok(())
    })?;
    agent.stop()?;
    let text = shown(client, "bridge0")? + &shown(client, "raw0")? + &shown(client, "eth0")?;
    ensure!(text.is_empty(), "left: {text}");
    Ok(())
}

fn second_agent(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let first = Agent::start_on(lab, client, None, &settings()?)?;
    // Another root directory, or the second would not even start.
    std::fs::rename(
        client.directory().join("rootfs"),
        client.directory().join("first"),
    )?;
    let mut second = Agent::start_on(lab, client, None, &settings()?)?;
    let status = second.status()?;
    ensure!(status.mode == "observe", "the second writes, too");
    let plan = format!("{:?}", status.plan);
    ensure!(plan.contains("another agent"), "{plan}");
    second.stop()?;
    talk(&site, 5)?;
    ensure!(site.options_seen()? == 10, "the first one's filters");
    ensure!(
        shown(client, "eth0")?.contains("wb_clone_out"),
        "the second removed the first one's filters"
    );
    drop(first);
    Ok(())
}

fn strict_gateway(lab: &Lab) -> Result<()> {
    for liberal in ["0", "1"] {
        let lab = Lab::new(lab.binaries())?;
        let mut scene = Scene::bare(&lab, 2, 2, Nat::FullNat, Middlebox::Plain)?;
        scene.site.gateway.nft(
            "table inet strict { counter lost { }\n\
             chain pass { type filter hook forward priority 0; policy accept;\n\
             ct state invalid counter name lost drop\n }\n\
             chain in { type filter hook input priority 0; policy accept;\n\
             ct state invalid counter name lost drop\n }\n}\n",
        )?;
        scene
            .site
            .gateway
            .sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", liberal)?;
        for host in scene.site.clients.iter().chain(&scene.site.backends) {
            host.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
        }
        let settings = settings()?;
        scene.start_with(&settings, &settings)?;
        let servers = start_servers(&scene.site, &[])?;
        prove(&mut scene, Nat::FullNat, &servers, &[])?;
        ensure!(
            scene.site.conntrack_invalid()? == 0,
            "liberal {liberal}: packets that conntrack calls invalid"
        );
        drop(scene);
        lab.close()?;
    }
    Ok(())
}
