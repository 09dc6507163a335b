//! After any end of the agent, nothing of it is left, and everything of others still is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::residue::{Objects, Residue, list, wait_no_orphans};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};

use crate::case::{Case, case};

pub(crate) const NEEDS: &[Need] = &[Need::Program("bpftool"), Need::Program("tc")];

pub(crate) const CASES: &[Case] = &[
    case("residue::nothing_is_left_after_an_orderly_end", |lab| {
        ended(lab, &Settings::default(), |agent| agent.stop())
    })
    .needing(NEEDS),
    case("residue::nothing_is_left_after_sigkill", |lab| {
        ended(lab, &Settings::default(), |agent| agent.kill())
    })
    .needing(NEEDS),
    case("residue::nothing_is_left_after_a_failed_start", |lab| {
        failed_starts(lab, &Settings::default())
    })
    .needing(NEEDS),
    case(
        "residue::a_scope_that_does_not_exist_costs_the_family_and_leaves_nothing",
        without_scope,
    )
    .needing(NEEDS),
    case(
        "residue::another_sockops_program_keeps_running_with_its_flags",
        neighbour,
    )
    .needing(&[Need::Program("bpftool"), Need::Program("clang-19")]),
];

pub(crate) fn ended(
    lab: &Lab,
    settings: &Settings,
    end: fn(&mut Agent) -> Result<()>,
) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let mut agent = Agent::prepare(lab, client, None, settings)?;
    let hosts = [client, &site.backends[0]];
    let before = Residue::snapshot(lab, &hosts)?;
    agent.start()?;
    let held = Objects::held_by(agent.pid()?)?;
    ensure!(held.count() > 0, "a running agent holds no BPF object");
    client.connect(site.target(Family::V4), &["--count", "20"])?;
    end(&mut agent)?;
    held.wait_gone()?;
    before.wait_same(lab, &hosts)?;
    // A connection made afterwards meets nothing of ours.
    let seen = client.connect(site.target(Family::V6), &[])?;
    ensure!(seen[0].error.is_empty(), "{seen:?}");
    ensure!(site.options_seen()? <= 20, "options after the end");
    // And the next start finds its place free.
    agent.start()?;
    end(&mut agent)?;
    before.wait_same(lab, &hosts)
}

/// Starts an agent that must refuse, and returns its exit code and what it said.
fn refuses(agent: &mut Agent) -> Result<(i32, String)> {
    agent.start_unready()?;
    let running = agent.running_mut()?;
    let status = running.wait(STOP_DEADLINE)?;
    Ok((
        status.code().context("ended by a signal")?,
        running.errors()?,
    ))
}

pub(crate) fn failed_starts(lab: &Lab, settings: &Settings) -> Result<()> {
    let broken = lab.directory().join("broken");
    let shown = |name: &str| format!("'{}'", broken.join(name).display());
    let programs = lab
        .binaries()
        .agent
        .parent()
        .context("a binary is in a directory")?;
    let assemble = |name: &str| -> Result<std::path::PathBuf> {
        let (root, now) = (broken.join(name), std::time::SystemTime::now());
        rootfs::assemble(&rootfs::Manifest::current()?, programs, &root, now)?;
        Ok(root)
    };
    std::fs::create_dir(&broken)?;
    // Found by configuration, by the jail after mounting, and by the spool after loading.
    std::fs::remove_dir(assemble("placeless")?.join("sys/fs/cgroup"))?;
    let spool = assemble("spoolless")?.join("var/lib/waybill");
    std::fs::create_dir(spool.join("spool.db"))?;
    let failures = [
        ("wrong-kind", "option.kind", "19".to_owned(), 2),
        ("no-rootfs", "agent.rootfs", shown("none"), 4),
        ("no-place", "agent.rootfs", shown("placeless"), 4),
        ("no-spool", "agent.rootfs", shown("spoolless"), 5),
    ];
    for (name, key, value, exit) in failures {
        let host = lab.host(name)?;
        let settings = settings.clone().with(key, &value)?;
        let mut agent = Agent::prepare(lab, &host, None, &settings)?;
        let before = Residue::snapshot(lab, &[&host])?;
        let (code, said) = refuses(&mut agent)?;
        ensure!(code == exit, "{name}: exit code {code}: {said}");
        ensure!(
            !said.trim().is_empty() && !said.contains("panicked"),
            "{name}: said {said:?}"
        );
        before.wait_same(lab, &[&host])?;
    }
    wait_no_orphans()
}

fn without_scope(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let settings = Settings::default().with("scope.cgroup", "'/no/such/cgroup'")?;
    let mut agent = Agent::prepare(lab, &host, None, &settings)?;
    let before = Residue::snapshot(lab, &[&host])?;
    agent.start()?;
    let plan = format!("{:?}", agent.status()?.plan);
    ensure!(
        plan.contains("/no/such/cgroup"),
        "the plan does not say why: {plan}"
    );
    agent.stop()?;
    before.wait_same(lab, &[&host])?;
    wait_no_orphans()
}

/// A program as another tool might have it: counts its callbacks and asks for state changes.
const NEIGHBOUR: &str = r#"
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;
/* The beginning of the kernel's struct bpf_sock_ops, up to the flags. */
struct bpf_sock_ops {
	u32 op, args[4], family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags;
};
struct {
	int (*type)[2]; /* BPF_MAP_TYPE_ARRAY */
	int (*max_entries)[32];
	u32 *key;
	u64 *value;
} calls SEC(".maps");
static void *(*lookup)(void *, const void *) = (void *)1;
static int (*set_flags)(struct bpf_sock_ops *, int) = (void *)59;
SEC("sockops") int neighbour(struct bpf_sock_ops *ctx)
{
	u32 op = ctx->op;
	u64 *count = op < 32 ? lookup(&calls, &op) : 0;
	if (count)
		__sync_fetch_and_add(count, 1);
	if (op == 3 || op == 5) /* TCP_CONNECT_CB, PASSIVE_ESTABLISHED_CB */
		set_flags(ctx, ctx->bpf_sock_ops_cb_flags | 4); /* STATE_CB */
	return 1;
}
char LICENSE[] SEC("license") = "GPL";
"#;

/// Callback numbers of the kernel's enum.
const CONNECT: usize = 3;
const STATE: usize = 10;

/// The other program, attached to the cgroup of a host.
struct Neighbour {
    pin: std::path::PathBuf,
    program: u64,
}

impl Neighbour {
    fn attach(lab: &Lab, host: &Host) -> Result<Self> {
        let source = lab.directory().join("neighbour.c");
        let object = source.with_extension("o");
        std::fs::write(&source, NEIGHBOUR)?;
        let mut clang = Command::new("clang-19");
        clang
            .args(["-O2", "-g", "-target", "bpf", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object);
        command::run(&mut clang)?;
        // bpftool can keep a program only by a name in a BPF file system: one of the lab's own.
        let files = lab.directory().join("bpffs");
        std::fs::create_dir(&files)?;
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("bpf"), &files, Some("bpf"), none, None::<&str>)?;
        let pin = files.join("neighbour");
        let mut neighbour = Self { pin, program: 0 };
        let mut load = Command::new("bpftool");
        load.args(["prog", "load"]).arg(&object).arg(&neighbour.pin);
        command::run(load.args(["type", "sockops"]))?;
        let shown = bpftool(&[
            "prog",
            "show",
            "pinned",
            &neighbour.pin.display().to_string(),
        ])?;
        neighbour.program = shown["id"].as_u64().context("id")?;
        let mut attach = Command::new("bpftool");
        attach
            .args(["cgroup", "attach"])
            .arg(host.cgroup())
            .args(["sock_ops", "id"]);
        command::run(attach.arg(neighbour.program.to_string()).arg("multi"))?;
        Ok(neighbour)
    }

    /// How often the program was called with a callback number.
    fn calls(&self, op: usize) -> Result<u64> {
        let programs = list("prog")?;
        let own = programs
            .iter()
            .find(|p| p["id"].as_u64() == Some(self.program));
        let map = own.context("the neighbour is gone")?["map_ids"][0].to_string();
        let entries = bpftool(&["map", "dump", "id", &map])?;
        let entry = entries
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["formatted"]["key"].as_u64() == u64::try_from(op).ok());
        entry
            .and_then(|entry| entry["formatted"]["value"].as_u64())
            .context("no such entry")
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Some(files) = self.pin.parent() {
            std::fs::remove_file(&self.pin).ok();
            nix::mount::umount2(files, nix::mount::MntFlags::MNT_DETACH).ok();
        }
    }
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    let text = command::run(Command::new("bpftool").arg("-j").args(arguments))?;
    serde_json::from_str(&text).with_context(|| format!("bpftool {}", arguments.join(" ")))
}

fn neighbour(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let neighbour = Neighbour::attach(lab, client)?;
    let talk = || -> Result<(u64, u64)> {
        let before = (neighbour.calls(CONNECT)?, neighbour.calls(STATE)?);
        let seen = client.connect(site.target(Family::V4), &["--count", "10"])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
        Ok((
            neighbour.calls(CONNECT)? - before.0,
            neighbour.calls(STATE)? - before.1,
        ))
    };
    let alone = talk()?;
    ensure!(
        alone.0 == 10 && alone.1 >= 10,
        "the neighbour itself does not work: {alone:?}"
    );
    let mut agent = Agent::start_on(lab, client, None, &Settings::default())?;
    let beside = talk()?;
    ensure!(
        beside == alone,
        "{beside:?} callbacks beside the agent, {alone:?} without"
    );
    ensure!(
        site.options_seen()? >= 10,
        "the agent wrote nothing beside the neighbour"
    );
    agent.stop()?;
    let after = talk()?;
    ensure!(
        after == alone,
        "{after:?} callbacks after the agent, {alone:?} before"
    );
    let path = client.cgroup().display().to_string();
    let attached = bpftool(&["cgroup", "show", &path])?;
    let ids: Vec<u64> = attached
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["id"].as_u64())
        .collect();
    ensure!(ids == [neighbour.program], "attached are {ids:?}");
    ensure!(Path::new(&neighbour.pin).exists(), "its pin is gone");
    Ok(())
}
