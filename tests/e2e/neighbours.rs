//! Others on the path and on the host who do as they like: no connection is lost or changed, and
//! what is not joined by its waybill is counted, with a reason or as an open end.
//!
//! Every trial runs each pair of modes: the kernel's TCP stack or copies, at either end.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::lab::agent::Status;
use tests::lab::counters::{Counters, HARM};
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::programs::Server;
use tests::lab::site::{Family, Middlebox, Nat, Site};
use tests::lab::topology::{Edge, Topology};
use tests::lab::{Lab, command};

use crate::case::Case;
use crate::clone::{CLONE, mode};
use crate::nat::{logged, send, start_servers};
use crate::scene::Scene;

/// Neighbours are programs, made when they are needed.
const COMPILES: &[Need] = &[
    Need::Program("bpftool"),
    Need::Program("tc"),
    Need::Program("clang-19"),
];

const SOCKOPS: &str = "sockops";

/// Modes of client and backend.
const PAIRS: [[&str; 2]; 4] = [
    [SOCKOPS, SOCKOPS],
    [SOCKOPS, CLONE],
    [CLONE, SOCKOPS],
    [CLONE, CLONE],
];

/// Names one trial.
macro_rules! beside {
    ($name:literal, $needs:expr, $hostile:expr) => {
        Case {
            name: concat!("neighbours::", $name),
            needs: $needs,
            alone: true,
            run: |lab| endure(lab, &$hostile),
        }
    };
}

pub(crate) const CASES: &[Case] = &[
    beside!("a_filter_that_ends_the_chain", COMPILES, PASSES),
    beside!("a_filter_that_redirects", COMPILES, BOUNCES),
    beside!("a_filter_that_drops_copies", COMPILES, TAKES),
    beside!(
        "a_filter_that_drops_the_option_as_it_arrives",
        COMPILES,
        DROPS
    ),
    beside!(
        "a_sockops_program_that_writes_an_option_of_its_own",
        COMPILES,
        WRITES
    ),
    beside!("a_sockops_program_whose_room_is_its_own", COMPILES, SHARES),
    beside!("a_sockops_program_that_takes_all_room", COMPILES, FILLS),
    beside!(
        "a_sockops_program_that_clears_the_flags_of_others",
        COMPILES,
        FORGETS
    ),
    beside!(
        "a_strict_gateway_with_strict_connection_tracking",
        &[],
        STRICT
    ),
    beside!(
        "a_strict_gateway_with_liberal_connection_tracking",
        &[],
        LIBERAL
    ),
    beside!("a_box_that_drops_the_option", &[], DROPPING),
    beside!("a_box_that_strips_the_option", &[], STRIPPING),
];

/// Connections per family and round.
const COUNT: u64 = 20;

/// Somebody else, and what that costs.
struct Hostile {
    /// What the gateway does to the option.
    middlebox: Middlebox,
    /// What is there before the agents.
    before: fn(&Lab, &Site) -> Result<()>,
    /// What comes when they run.
    after: fn(&Lab, &Site) -> Result<()>,
    /// How many of the connections are joined by their waybill, by modes of client and backend.
    tokens: fn([&str; 2]) -> u64,
    /// Counters of a client in this mode, at least so much.
    counted: &'static [(&'static str, &'static str, u64)],
}

/// What became of the connections of a round.
#[derive(Debug)]
struct Outcome {
    /// Connections.
    total: u64,
    /// Joined by their waybill.
    tokens: u64,
    client: Status,
    backend: Status,
}

fn nothing(_: &Lab, _: &Site) -> Result<()> {
    Ok(())
}

fn endure(lab: &Lab, hostile: &Hostile) -> Result<()> {
    for modes in PAIRS {
        let lab = Lab::new(lab.binaries())?;
        let [client, backend] = modes;
        pair(&lab, hostile, modes).with_context(|| format!("{client} to {backend}"))?;
        lab.close()?;
    }
    Ok(())
}

fn pair(lab: &Lab, hostile: &Hostile, modes: [&str; 2]) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, hostile.middlebox)?;
    for host in [&scene.site.clients[0], &scene.site.backends[0]] {
        host.use_one_cpu();
        // A tail-loss probe fires when a busy machine is late by two ticks: noise of the lab.
        host.sysctl("net.ipv4.tcp_early_retrans", "0")?;
    }
    let servers = start_servers(&scene.site, &[])?;
    (hostile.before)(lab, &scene.site)?;
    let without = exchange(&scene.site, &servers, 0)?;
    scene.start_with(&mode(modes[0])?, &mode(modes[1])?)?;
    (hostile.after)(lab, &scene.site)?;
    let with = exchange(&scene.site, &servers, 2 * COUNT)?;
    for (side, with, without) in [
        ("client", &with.0, &without.0),
        ("backend", &with.1, &without.1),
    ] {
        let (with, without) = (with.among(&HARM), without.among(&HARM));
        ensure!(
            with == without,
            "{side}: {with:?} with, {without:?} without agents"
        );
    }
    ensure!(scene.site.conntrack_invalid()? == 0, "invalid packets");
    let outcome = account(&scene, 2 * COUNT)?;
    explained(&outcome)?;
    let wanted = (hostile.tokens)(modes);
    let tokens = outcome.tokens;
    ensure!(
        tokens == wanted,
        "{tokens} joined by waybill, {wanted} expected: {outcome:?}"
    );
    for (mode, counter, least) in hostile.counted {
        let counted = outcome.client.counter(counter)?;
        ensure!(
            *mode != modes[0] || counted >= *least,
            "{counter} {counted}: {outcome:?}"
        );
    }
    Ok(())
}

/// Connections in both families, none of which may fail; what the kernels counted meanwhile.
fn exchange(site: &Site, servers: &[Server], before: u64) -> Result<(Counters, Counters)> {
    let of = || -> Result<_> {
        let (client, backend) = (&site.clients[0], &site.backends[0]);
        Ok((Counters::of(client)?, Counters::of(backend)?))
    };
    let start = of()?;
    let mut total = before;
    for family in Family::BOTH {
        total += send(site, family, COUNT, &["--down", "300"])?;
    }
    logged(servers, total)?;
    let end = of()?;
    Ok((end.0.since(&start.0), end.1.since(&start.1)))
}

/// Waits until both ends of every connection are in the topology, joined or not.
fn account(scene: &Scene<'_>, total: u64) -> Result<Outcome> {
    let mut tokens = 0;
    scene.settle(|topology| {
        let opened = |side: fn(&Edge) -> u64| -> u64 { all(topology).map(side).sum() };
        let client = opened(|edge| edge.client_counters.as_ref().map_or(0, |c| c.closed));
        let backend = opened(|edge| edge.server_counters.as_ref().map_or(0, |c| c.closed));
        ensure!(
            client == total && backend == total,
            "{client} connections of the client, {backend} of the backend: {}",
            topology.brief()
        );
        let evidence = topology.edges.iter().flat_map(|edge| &edge.evidence);
        tokens = evidence
            .filter(|evidence| evidence.kind == "token")
            .map(|evidence| evidence.connections)
            .sum();
        Ok(())
    })?;
    let status = |host: &Host| -> Result<Status> { scene.agent(host)?.status() };
    Ok(Outcome {
        total,
        tokens,
        client: status(&scene.site.clients[0])?,
        backend: status(&scene.site.backends[0])?,
    })
}

fn all(topology: &Topology) -> impl Iterator<Item = &Edge> {
    topology.edges.iter().chain(&topology.unjoined)
}

/// Why a connection left without its waybill.
const REASONS: [&str; 9] = [
    "clone_failed_redirect_total",
    "clone_failed_rewrite_total",
    "clone_failed_unseen_total",
    "clone_unsent_total",
    "option_no_room_total",
    "option_not_allowed_total",
    "option_path_off_total",
    "option_store_failed_total",
    "option_unsent_total",
];

/// Demands that counters tell of each connection that is not joined by its waybill: it left without
/// one for a reason, or was lost on the way.
fn explained(outcome: &Outcome) -> Result<()> {
    let of = |status: &Status, names: &[&str]| -> Result<u64> {
        names.iter().map(|name| status.counter(name)).sum()
    };
    let (client, backend) = (&outcome.client, &outcome.backend);
    let written = |status| of(status, &["option_written_total"]);
    let read = |status| of(status, &["option_read_total"]);
    let reasons = of(client, &REASONS)?;
    let left = written(client)? + reasons;
    ensure!(
        left >= outcome.total,
        "{left} are explained by the client: {outcome:?}"
    );
    for status in [client, backend] {
        let options = written(status)?;
        ensure!(
            options <= outcome.total,
            "{options} options of one end: {outcome:?}"
        );
    }
    let lost = written(client)? + written(backend)? - read(client)? - read(backend)?;
    let missing = outcome.total - outcome.tokens;
    ensure!(
        missing <= lost + reasons,
        "{missing} are missing, {lost} lost, {reasons} have reasons: {outcome:?}"
    );
    Ok(())
}

/// Nothing is lost.
fn every(_: [&str; 2]) -> u64 {
    2 * COUNT
}

/// IPv4 is lost.
fn one_family(_: [&str; 2]) -> u64 {
    COUNT
}

/// IPv4 is lost in copies; an end that needs none writes the answer or the waybill.
fn one_family_of_copies(modes: [&str; 2]) -> u64 {
    match modes {
        [CLONE, CLONE] => COUNT,
        _ => 2 * COUNT,
    }
}

/// Copies have no room for both; an end that needs none writes the answer or the waybill.
fn all_but_copies(modes: [&str; 2]) -> u64 {
    match modes {
        [CLONE, CLONE] => 0,
        _ => 2 * COUNT,
    }
}

/// Copies need no flags, neither to be made nor, by the stack, to be read as they arrive.
fn of_copies(modes: [&str; 2]) -> u64 {
    if modes[0] == CLONE { 2 * COUNT } else { 0 }
}

fn none(_: [&str; 2]) -> u64 {
    0
}

/// Filters as another tool might have them. The mark is the third word of a filter's context; ours
/// sets it to a number of its own on copies.
const FILTERS: &str = r#"
#define SEC(name) __attribute__((section(name), used))
typedef unsigned char u8;
SEC("pass") int neighbour_pass(void *ctx) { return 0; }
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
/* IPv4 without options of its own, and the waybill behind the time stamps, where the kernel puts
 * it, or first. */
static int (*load)(void *, unsigned int, void *, unsigned int) = (void *)26;
SEC("drop") int neighbour_drop(void *ctx)
{
	u8 ip[20], tcp[20 + 13]; /* the fourteenth of them holds SYN */

	if (load(ctx, 14, ip, sizeof(ip)) || ip[0] != 0x45 || ip[9] != 6)
		return -1;
	if (load(ctx, 34, tcp, sizeof(tcp)) || tcp[12] >> 4 < 9 || tcp[13] & 2)
		return -1;
	return tcp[20] == 253 || tcp[32] == 253 ? 2 : -1;
}
char LICENSE[] SEC("license") = "GPL";
"#;

/// Attaches one of them: `egress protocol all pref 7 handle 7`, and its section.
fn filter(lab: &Lab, host: &Host, place: &str, section: &str) -> Result<()> {
    let object = compile(lab, "filters", FILTERS)?;
    let tc = |arguments: &str| {
        let mut tc = host.command_beside("tc");
        command::run(tc.args(arguments.split(' '))).map(drop)
    };
    // There already for a second filter.
    tc("qdisc add dev eth0 clsact").ok();
    let object = object.display();
    tc(&format!(
        "filter add dev eth0 {place} bpf da obj {object} sec {section}"
    ))
}

fn compile(lab: &Lab, name: &str, source: &str) -> Result<PathBuf> {
    let file = lab.directory().join(name).with_extension("c");
    let object = file.with_extension("o");
    std::fs::write(&file, source)?;
    let mut clang = Command::new("clang-19");
    clang.args(["-O2", "-g", "-target", "bpf", "-c"]).arg(&file);
    command::run(clang.arg("-o").arg(&object))?;
    Ok(object)
}

const PASSES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        // Accepts everything of IPv4: nothing behind it in the chain ever runs.
        let place = "egress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "pass")?;
        filter(lab, &site.backends[0], place, "pass")
    },
    after: nothing,
    tokens: one_family_of_copies,
    counted: &[(CLONE, "clone_unsent_total", COUNT)],
};

const BOUNCES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        // Before ours for IPv4, behind it for IPv6.
        for host in [&site.clients[0], &site.backends[0]] {
            filter(lab, host, "egress protocol ip pref 1 handle 7", "bounce")?;
            filter(lab, host, "egress protocol ipv6 pref 9 handle 7", "bounce")?;
        }
        Ok(())
    },
    after: nothing,
    tokens: every,
    counted: &[],
};

const TAKES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        let place = "egress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "take")?;
        filter(lab, &site.backends[0], place, "take")
    },
    after: nothing,
    tokens: one_family_of_copies,
    counted: &[(CLONE, "clone_failed_redirect_total", COUNT)],
};

const DROPS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        let place = "ingress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "drop")?;
        filter(lab, &site.backends[0], place, "drop")
    },
    after: nothing,
    tokens: one_family,
    counted: &[],
};

/// The part that all sockops programs of others begin with.
const SOCKOPS_HEAD: &str = r#"
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
struct bpf_sock_ops {
	u32 op, args[4], family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags;
};
static int (*set_flags)(struct bpf_sock_ops *, int) = (void *)59;
static int (*store)(struct bpf_sock_ops *, const void *, u32, u32) = (void *)143;
static int (*reserve)(struct bpf_sock_ops *, u32, u32) = (void *)144;
enum { CONNECT = 3, ACTIVE = 4, PASSIVE = 5, LENGTH = 14, WRITE = 15, WRITE_FLAG = 64 };
char LICENSE[] SEC("license") = "GPL";
"#;

/// Writes `SIZE` bytes of its own on every segment.
const WRITER: &str = r#"
SEC("sockops") int neighbour(struct bpf_sock_ops *ctx)
{
	unsigned char option[SIZE] = { 254, SIZE, 0x12, 0x34 };

	if (ctx->op == CONNECT || ctx->op == ACTIVE || ctx->op == PASSIVE)
		set_flags(ctx, ctx->bpf_sock_ops_cb_flags | WRITE_FLAG);
	else if (ctx->op == LENGTH)
		reserve(ctx, SIZE, 0);
	else if (ctx->op == WRITE)
		store(ctx, option, SIZE, 0);
	return 1;
}
"#;

/// Clears what others asked for, whenever it is called.
const FORGETTER: &str = r#"
SEC("sockops") int neighbour(struct bpf_sock_ops *ctx)
{
	set_flags(ctx, 0);
	return 1;
}
"#;

/// Attaches a sockops program to the cgroup of a host, behind those that are there; it goes with
/// the cgroup.
fn sockops(lab: &Lab, host: &Host, source: &str) -> Result<()> {
    let object = compile(lab, "sockops", &format!("{SOCKOPS_HEAD}{source}"))?;
    // bpftool can keep a program only by a name in a BPF file system: one of the lab's own.
    let files = lab.directory().join(format!("bpffs-{}", host.name()));
    std::fs::create_dir(&files)?;
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("bpf"), &files, Some("bpf"), none, None::<&str>)?;
    let attached = || -> Result<()> {
        let pin = files.join("neighbour");
        let mut load = Command::new("bpftool");
        load.args(["prog", "load"]).arg(&object).arg(&pin);
        command::run(load.args(["type", "sockops"]))?;
        let mut attach = Command::new("bpftool");
        attach.args(["cgroup", "attach"]).arg(host.cgroup());
        attach.args(["sock_ops", "pinned"]).arg(&pin).arg("multi");
        command::run(&mut attach).map(drop)
    }();
    nix::mount::umount2(&files, nix::mount::MntFlags::MNT_DETACH)?;
    attached
}

fn on_both(lab: &Lab, site: &Site, source: &str) -> Result<()> {
    sockops(lab, &site.clients[0], source)?;
    sockops(lab, &site.backends[0], source)
}

const WRITES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| on_both(lab, site, &format!("#define SIZE 4\n{WRITER}")),
    after: nothing,
    tokens: every,
    counted: &[],
};

/// As long as ours, and asked for later on every segment: where there is no room for both, ours
/// was first; what it asks for otherwise is its own.
const SHARES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: nothing,
    after: |lab, site| on_both(lab, site, &format!("#define SIZE 16\n{WRITER}")),
    tokens: all_but_copies,
    counted: &[(CLONE, "option_no_room_total", 2 * COUNT)],
};

const FILLS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| on_both(lab, site, &format!("#define SIZE 24\n{WRITER}")),
    after: nothing,
    tokens: none,
    counted: &[(SOCKOPS, "option_no_room_total", 2 * COUNT)],
};

const FORGETS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: nothing,
    after: |lab, site| on_both(lab, site, FORGETTER),
    tokens: of_copies,
    counted: &[(SOCKOPS, "option_unsent_total", 2 * COUNT)],
};

/// Drops what its connection tracking calls invalid, and what came from another way than its
/// answer would go.
fn strict(site: &Site, liberal: &str) -> Result<()> {
    site.gateway.nft(
        "table inet strict { counter lost { }\n\
         chain pass { type filter hook forward priority 0; policy accept;\n\
         ct state invalid counter name lost drop\n }\n\
         chain in { type filter hook input priority 0; policy accept;\n\
         ct state invalid counter name lost drop\n }\n}\n",
    )?;
    site.gateway
        .sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", liberal)?;
    for host in [&site.gateway, &site.clients[0], &site.backends[0]] {
        host.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    }
    Ok(())
}

const STRICT: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |_, site| strict(site, "0"),
    after: nothing,
    tokens: every,
    counted: &[],
};

const LIBERAL: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |_, site| strict(site, "1"),
    after: nothing,
    tokens: every,
    counted: &[],
};

const DROPPING: Hostile = Hostile {
    middlebox: Middlebox::DropsOption,
    before: nothing,
    after: nothing,
    tokens: none,
    counted: &[],
};

const STRIPPING: Hostile = Hostile {
    middlebox: Middlebox::StripsOption,
    before: nothing,
    after: nothing,
    tokens: none,
    counted: &[],
};
