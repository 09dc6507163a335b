//! What the running agent sees and may do.

mod tree;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use tests::lab::Lab;
use tests::lab::agent::{Agent, FLEET_KEY, STOP_DEADLINE, Settings};
use tests::lab::needs::Skip;

use crate::case::{Case, case};
use tree::{MOUNTED, UID, sees};

pub(crate) const CASES: &[Case] = &[
    case(
        "jail::the_agent_sees_what_the_manifest_lists_and_nothing_else",
        sees,
    ),
    case("jail::the_agent_can_gain_no_privilege", privileges),
    case(
        "jail::doctor_shows_what_the_kernel_shows_of_the_running_agent",
        told,
    ),
    case(
        "jail::bounds_are_cgroups_of_its_own_that_the_next_start_and_clean_remove",
        bounds,
    ),
    case(
        "jail::only_the_keeper_of_the_filters_can_change_the_network",
        keeper,
    ),
    case(
        "jail::system_calls_are_filtered_as_doctor_says",
        system_calls,
    ),
];

fn privileges(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, None, &Settings::default())?;
    let process = agent.pid()?;
    let mut threads = 0;
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        threads += 1;
        let status = std::fs::read_to_string(entry.path().join("status"))?;
        let field = |name: &str| -> Result<Vec<&str>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.with_context(|| format!("no {name} in {status}"))?;
            Ok(line.split_whitespace().collect())
        };
        ensure!(
            field("NoNewPrivs:")? == ["1"],
            "new privileges are possible"
        );
        ensure!(field("Seccomp:")? == ["2"], "system calls are not filtered");
        let uid = UID.to_string();
        for name in ["Uid:", "Gid:"] {
            ensure!(
                field(name)? == [uid.as_str(); 4],
                "{name} {:?}",
                field(name)?
            );
        }
        ensure!(
            field("Groups:")?.is_empty(),
            "groups {:?}",
            field("Groups:")?
        );
        // CAP_SYS_PTRACE reads names of others' programs, CAP_BPF tables where that takes it.
        let kept = 1 << 19 | 1 << 39;
        for (name, may) in [
            ("CapEff:", kept),
            ("CapPrm:", kept),
            ("CapInh:", 0),
            ("CapBnd:", 0),
            ("CapAmb:", 0),
        ] {
            let set = u64::from_str_radix(field(name)?[0], 16)?;
            ensure!(set & !may == 0, "{name} {set:x}");
        }
    }
    let score = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj"))?;
    ensure!(score.trim() == "500", "oom_score_adj is {score}");
    ensure!(threads >= 2, "only {threads} threads were looked at");
    nothing_leads_out(lab, &agent)
}

/// In mode `tc-clone`: who has `CAP_NET_ADMIN`, what it holds open, and that it ends with the agent.
fn keeper(lab: &Lab) -> Result<()> {
    const NET_ADMIN: u64 = 1 << 12;
    let host = lab.host("host")?;
    host.ip("link add eth0 type veth peer name eth1\nlink set eth0 up\n")?;
    let settings = Settings::default().with("option.mode", "'tc-clone'")?;
    let mut agent = Agent::start_on(lab, &host, None, &settings)?;
    ensure!(
        agent.status()?.mode == "tc-clone",
        "{:?}",
        agent.status()?.plan
    );
    let field = |process: i32, name: &str| -> Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .with_context(|| format!("no {name}"))?
            .trim()
            .to_owned())
    };
    let set = |process: i32, name: &str| -> Result<u64> {
        Ok(u64::from_str_radix(&field(process, name)?, 16)?)
    };
    for name in ["CapEff:", "CapPrm:", "CapInh:", "CapBnd:"] {
        let own = set(agent.pid()?, name)?;
        ensure!(own & NET_ADMIN == 0, "the agent's {name} {own:x}");
    }
    let doctor = agent.ask_json(&["doctor"])?;
    let keeper = &doctor["running"]["keeper"];
    let process = i32::try_from(keeper["pid"].as_i64().context("a keeper")?)?;
    ensure!(field(process, "Name:")? == "waybill-filters", "{keeper}");
    ensure!(set(process, "CapPrm:")? == NET_ADMIN, "{keeper}");
    ensure!(set(process, "CapBnd:")? == 0, "it could gain something");
    ensure!(field(process, "Seccomp:")? == "2", "it is not filtered");
    ensure!(
        field(process, "NoNewPrivs:")? == "1",
        "it could gain something"
    );
    ensure!(
        field(process, "Uid:")?.starts_with(&UID.to_string()),
        "it is root"
    );
    ensure!(
        doctor["keeper"]["capabilities"] == "CAP_NET_ADMIN",
        "{doctor}"
    );
    let allowed = doctor["jail"]["keeper"]["allowed"]
        .as_array()
        .context("a list")?;
    let has = |call: &str| allowed.iter().any(|entry| entry["call"] == call);
    ensure!(
        has("sendto") && !has("socket") && !has("bpf") && !has("ioctl"),
        "{allowed:?}"
    );
    holds_little(process)?;
    // Without it nobody follows devices or removes filters: a new start does.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    let ended = agent.running_mut()?.wait(STOP_DEADLINE)?;
    let said = agent.running()?.errors()?;
    ensure!(ended.code() == Some(1), "{ended}: {said}");
    ensure!(said.contains("keeper of the packet filters"), "{said}");
    agent.start()?;
    ensure!(
        agent.status()?.mode == "tc-clone",
        "{:?}",
        agent.status()?.plan
    );
    let keeper = agent.ask_json(&["doctor"])?["running"]["keeper"]["pid"].clone();
    agent.stop()?;
    let gone = !Path::new(&format!("/proc/{keeper}/fd/0")).exists();
    ensure!(gone, "the keeper {keeper} outlives its agent");
    Ok(())
}

/// Nothing of the agent's is open in the keeper but what it works with.
fn holds_little(process: i32) -> Result<()> {
    let mut sockets = 0;
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))?.flatten() {
        let number: u32 = entry.file_name().to_string_lossy().parse()?;
        let target = std::fs::read_link(entry.path())?.display().to_string();
        sockets += u32::from(number > 2 && target.starts_with("socket:"));
        let known = target.starts_with("socket:") || target == "anon_inode:bpf-prog";
        ensure!(number <= 2 || known, "descriptor {number} is {target}");
    }
    ensure!(
        sockets == 4,
        "{sockets} sockets: requests, news, lock, agent"
    );
    Ok(())
}

/// Descriptors, working directory and environment of the running agent.
fn nothing_leads_out(lab: &Lab, agent: &Agent) -> Result<()> {
    let own = PathBuf::from(format!("/proc/{}", agent.pid()?));
    let inside = std::fs::metadata(own.join("root"))?;
    let working = std::fs::metadata(own.join("cwd"))?;
    ensure!(
        (inside.dev(), inside.ino()) == (working.dev(), working.ino()),
        "its working directory is not its root"
    );
    for entry in std::fs::read_dir(own.join("fd"))?.flatten() {
        let number: u32 = entry.file_name().to_string_lossy().parse()?;
        let metadata = std::fs::metadata(entry.path())?;
        ensure!(
            !metadata.is_dir() || number > 2,
            "descriptor {number} is a directory"
        );
        let target = std::fs::read_link(entry.path())?;
        // Seen from here, what is below its root has the name that it has on the host; the first
        // three are those of the service, which the lab keeps in files.
        let shown = target.display().to_string();
        let nameless = ["anon_inode:", "socket:", "/proc/"];
        let inside = nameless.iter().any(|start| shown.starts_with(start))
            || target.starts_with(agent.rootfs())
            || target.starts_with("/run")
            || target.starts_with("/var/lib/waybill")
            || target.starts_with(&lab.tree().root)
            || target.starts_with("/sys/fs/cgroup");
        ensure!(number <= 2 || inside, "descriptor {number} is {shown}");
    }
    let environment = std::fs::read(own.join("environ"))?;
    let environment = String::from_utf8_lossy(&environment);
    ensure!(
        !environment.contains(FLEET_KEY),
        "the fleet key is in its environment"
    );
    // Who belongs to the same user may not look into it: the files are root's.
    for name in ["environ", "mem", "maps", "fd"] {
        let owner = std::fs::metadata(own.join(name))?.uid();
        ensure!(owner == 0, "{name} belongs to user {owner}");
    }
    Ok(())
}

fn system_calls(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    for (wish, said, mode) in [
        ("enforce", "enforce: every system call", "2"),
        ("log", "log: jail.seccomp asks for it", "2"),
        ("off", "off: jail.seccomp asks for it", "0"),
    ] {
        let settings = Settings::default().with("jail.seccomp", &format!("'{wish}'"))?;
        let mut agent = Agent::start_on(lab, &host, None, &settings)?;
        for entry in std::fs::read_dir(format!("/proc/{}/task", agent.pid()?))?.flatten() {
            let status = std::fs::read_to_string(entry.path().join("status"))?;
            let line = status.lines().find(|line| line.starts_with("Seccomp:"));
            let seen = line.and_then(|line| line.split_whitespace().nth(1));
            ensure!(seen == Some(mode), "{wish}: {seen:?} of {entry:?}");
        }
        let plan = agent.status()?.plan;
        let row = plan.iter().find(|(name, _)| name == "seccomp");
        let row = row.context("the plan says nothing of seccomp")?;
        ensure!(row.1.starts_with(said), "{wish}: {row:?}");
        let doctor = agent.ask_json(&["doctor"])?;
        let part = &doctor["jail"]["seccomp"];
        ensure!(part["mode"] == wish, "{part}");
        let allowed = part["allowed"].as_array().context("a list")?;
        let has = |call: &str| allowed.iter().any(|entry| entry["call"] == call);
        ensure!(has("bpf") == (wish != "off"), "{wish}: {part}");
        ensure!(!has("execve") && !has("connect"), "{wish}: {part}");
        agent.stop()?;
        std::fs::remove_dir_all(agent.rootfs())?;
    }
    Ok(())
}

fn told(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, None, &Settings::default())?;
    let about = |doctor: &serde_json::Value| -> Vec<String> {
        let warnings = doctor["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(|one| one.as_str().map(str::to_owned));
        warnings.filter(|one| one.contains("confined")).collect()
    };
    let doctor = agent.ask_json(&["doctor"])?;
    let seen = &doctor["confined"];
    ensure!(seen == &doctor["running"]["jail"], "{doctor}");
    ensure!(seen["uid"] == format!("{UID} {UID} {UID} {UID}"), "{seen}");
    ensure!(
        seen["seccomp"] == "filter" && seen["no_new_privs"] == true,
        "{seen}"
    );
    let planned = doctor["jail"]["capabilities"]
        .as_array()
        .context("a list")?;
    let planned: Vec<&str> = planned
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    for name in seen["capabilities"].as_str().context("a text")?.split(' ') {
        ensure!(
            planned.contains(&name),
            "{name} was not planned: {planned:?}"
        );
    }
    let mounts = seen["mounts"].as_array().context("a list")?;
    ensure!(mounts.len() == MOUNTED.len() + 1, "{seen}");
    ensure!(about(&doctor).is_empty(), "{:?}", about(&doctor));
    // Something appears in its view that it did not mount.
    mount_for(agent.pid()?)?;
    let doctor = agent.ask_json(&["doctor"])?;
    let warned = about(&doctor);
    ensure!(
        warned.iter().any(|one| one.contains("it sees /tmp")),
        "{warned:?}"
    );
    Ok(())
}

/// Mounts something in the view of a process, by a thread that ends then.
fn mount_for(process: i32) -> Result<()> {
    let namespace = std::fs::File::open(format!("/proc/{process}/ns/mnt"))?;
    std::thread::scope(|scope| {
        let enters = std::thread::Builder::new().spawn_scoped(scope, || -> Result<()> {
            // A working directory that is shared with other threads cannot be changed.
            unshare(CloneFlags::CLONE_FS)?;
            setns(&namespace, CloneFlags::CLONE_NEWNS)?;
            let (kind, none) = (Some("tmpfs"), MsFlags::empty());
            mount(kind, "/tmp", kind, none, None::<&str>).context("mount over /tmp")
        });
        let done = enters?.join();
        done.map_err(|_| anyhow::anyhow!("it panicked"))?
    })
}

/// Directories of agents' groups at the roots of the machine's trees.
fn groups() -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in std::fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let (own, file_system) = line.split_once(" - ").context("as in proc(5)")?;
        if !file_system.starts_with("cgroup") {
            continue;
        }
        let point = own.split(' ').nth(4).context("a place")?;
        for entry in std::fs::read_dir(point)?.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with("waybill-agent-")
            {
                found.insert(entry.path());
            }
        }
    }
    Ok(found)
}

fn bounds(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let settings = Settings::default()
        .with("jail.memory", "'96MiB'")?
        .with("jail.cpu", "'80%'")?;
    let mut agent = Agent::start_on(lab, &host, None, &settings)?;
    if agent.running()?.errors()?.contains("error=\"jail.") {
        return Err(Skip("no tree of cgroups bounds CPU and memory here".into()).into());
    }
    let own = |agent: &Agent| -> Result<BTreeSet<PathBuf>> {
        let process = agent.pid()?.to_string();
        let all = groups()?.into_iter();
        Ok(all
            .filter(|group| {
                let members = std::fs::read_to_string(group.join("cgroup.procs"));
                members.is_ok_and(|members| members.lines().any(|one| one == process))
            })
            .collect())
    };
    let made = own(&agent)?;
    ensure!(!made.is_empty(), "it is in none of {:?}", groups()?);
    let says = |file: &str| {
        let mut texts = made
            .iter()
            .filter_map(|group| std::fs::read_to_string(group.join(file)).ok());
        texts.next().map(|text| text.trim().to_owned())
    };
    let memory = says("memory.max").or_else(|| says("memory.limit_in_bytes"));
    ensure!(memory.as_deref() == Some("100663296"), "{memory:?}");
    let cpu = says("cpu.max").or_else(|| says("cpu.cfs_quota_us"));
    ensure!(
        cpu.is_some_and(|cpu| cpu.starts_with("80000")),
        "{:?}",
        says("cpu.max")
    );
    agent.kill()?;
    agent.start()?;
    ensure!(
        own(&agent)? == made,
        "{:?} instead of {made:?}",
        own(&agent)?
    );
    agent.stop()?;
    let mut clean = host.command_beside(&lab.binaries().agent);
    let said = tests::lab::command::run(clean.arg("clean"))?;
    let left: Vec<_> = made.iter().filter(|group| group.exists()).collect();
    ensure!(left.is_empty(), "{left:?} after {said}");
    Ok(())
}
