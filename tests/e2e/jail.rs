//! What the running agent sees and may do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "jail::the_agent_sees_what_the_manifest_lists_and_nothing_else",
        needs: &[],
        alone: false,
        run: sees,
    },
    Case {
        name: "jail::the_agent_can_gain_no_privilege",
        needs: &[],
        alone: false,
        run: privileges,
    },
    Case {
        name: "jail::system_calls_are_filtered_as_doctor_says",
        needs: &[],
        alone: false,
        run: system_calls,
    },
];

/// Places where the agent mounts or keeps something: their content is not the manifest's.
const MOUNTED: [&str; 6] = [
    "proc",
    "sys/devices/system/cpu",
    "sys/fs/cgroup",
    "run",
    "tmp",
    "var/lib/waybill",
];

fn sees(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, None, &Settings::default())?;
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()?));
    let listed: BTreeSet<PathBuf> = rootfs::Manifest::current()?
        .entries
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let mut left = vec![root.clone()];
    let mut seen = BTreeSet::new();
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let path = entry.path().strip_prefix(&root)?.to_owned();
            if entry.file_type()?.is_dir() && !MOUNTED.iter().any(|m| path == Path::new(m)) {
                left.push(entry.path());
            }
            seen.insert(path);
        }
    }
    let more: Vec<_> = seen.difference(&listed).collect();
    ensure!(more.is_empty(), "not in the manifest: {more:?}");
    let less: Vec<_> = listed.difference(&seen).collect();
    ensure!(less.is_empty(), "in the manifest only: {less:?}");
    for path in ["usr", "etc/planted", "dev/planted"] {
        let planted = std::fs::write(root.join(path).join("x"), "");
        ensure!(planted.is_err(), "{path} can be written");
    }
    Ok(())
}

fn privileges(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, None, &Settings::default())?;
    let process = agent.pid()?;
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let status = std::fs::read_to_string(entry.path().join("status"))?;
        let field = |name: &str| -> Result<&str> {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1))
                .context("a field of every kernel")
        };
        ensure!(field("NoNewPrivs:")? == "1", "new privileges are possible");
        let effective = u64::from_str_radix(field("CapEff:")?, 16)?;
        let bounding = u64::from_str_radix(field("CapBnd:")?, 16)?;
        // CAP_NET_ADMIN reads sockets and BPF maps, CAP_SYS_PTRACE names of others' programs;
        // CAP_BPF and CAP_PERFMON where the kernel has them.
        let kept = 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;
        ensure!(
            effective & !kept == 0,
            "effective capabilities {effective:x}"
        );
        ensure!(
            bounding & !kept == 0,
            "capabilities {bounding:x} can be gained"
        );
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
