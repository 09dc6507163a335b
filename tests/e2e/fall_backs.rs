//! What a start goes on without: whatever the kernel refuses in spite of the facts, the agent keeps
//! what it opened and nothing else, and `doctor` says so.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};

use crate::case::{Case, case};
use crate::faults::prepare_to_suffer;

pub(crate) const CASES: &[Case] = &[case(
    "fall_backs::what_was_not_opened_leaves_no_mount_capability_or_system_call",
    fall_backs,
)];

/// What fails at a start, and what then is left: capabilities, and whose system calls.
struct FallBack {
    settings: &'static [(&'static str, &'static str)],
    fail: &'static str,
    row: (&'static str, &'static str),
    capabilities: &'static [&'static str],
    callers: &'static [&'static str],
}

const ALWAYS: [&str; 4] = ["runtime", "files", "event loop", "word of that reader"];
/// Reading names takes the first; looking for the owners of sockets takes both.
const NAMES: &[&str] = &["CAP_SYS_PTRACE"];
const OWNERS: &[&str] = &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
/// Programs, and the kernel's lists beside them.
const PROGRAMS: &[&str] = &["scope", "tables", "packet and diagnostic sockets"];

/// The program of listeners alone, and the lists beside it.
const LISTENERS: &[&str] = &["tables", "packet and diagnostic sockets"];

/// Each of `STEPS` in `agent/src/fault.rs`, alone or with another, and all of them working.
const FALL_BACKS: [FallBack; 11] = [
    FallBack {
        settings: &[],
        fail: "",
        row: ("connection", "raw tracepoints and sockops"),
        capabilities: NAMES,
        callers: PROGRAMS,
    },
    FallBack {
        settings: &[],
        fail: "programs",
        row: ("connection", "packet and diagnostic sockets"),
        capabilities: OWNERS,
        callers: LISTENERS,
    },
    FallBack {
        settings: &[("agent.transport", "'perf'")],
        fail: "programs,sockets,listeners",
        row: ("connection", "skipped: "),
        capabilities: &[],
        callers: &[],
    },
    FallBack {
        settings: &[("agent.hooks", "'sockets'")],
        fail: "sockets,listeners",
        row: ("connection", "skipped: "),
        capabilities: &[],
        callers: &[],
    },
    FallBack {
        settings: &[("agent.lists", "'sockets'")],
        fail: "lists",
        row: ("discovery", "off: "),
        capabilities: NAMES,
        callers: PROGRAMS,
    },
    FallBack {
        settings: &[("option.mode", "'tc-clone'")],
        fail: "filters",
        row: ("mode", "observe: "),
        capabilities: NAMES,
        callers: PROGRAMS,
    },
    FallBack {
        settings: &[("option.mode", "'tc-clone'")],
        fail: "programs",
        row: ("connection", "packet and diagnostic sockets"),
        capabilities: OWNERS,
        callers: LISTENERS,
    },
    FallBack {
        settings: &[("families.nat", "'on'")],
        fail: "tracking",
        row: ("nat", "off: "),
        capabilities: NAMES,
        callers: PROGRAMS,
    },
    FallBack {
        settings: &[],
        fail: "listeners",
        row: ("listener", "off: "),
        capabilities: NAMES,
        callers: &["scope", "tables"],
    },
    FallBack {
        settings: &[("families.listener", "'off'")],
        fail: "",
        row: ("listener", "off: families.listener asks for it"),
        capabilities: NAMES,
        callers: &["scope", "tables"],
    },
    FallBack {
        settings: &[("families.connection", "'off'")],
        fail: "",
        row: ("connection", "off: families.connection asks for it"),
        capabilities: OWNERS,
        callers: LISTENERS,
    },
];

/// After every fall-back: nothing of what only the given-up part needed is left, and `doctor` names
/// just what the kernel shows.
fn fall_backs(lab: &Lab) -> Result<()> {
    for (number, fall_back) in FALL_BACKS.iter().enumerate() {
        let host = lab.host(&format!("host-{number}"))?;
        let mut settings = Settings::default();
        for (key, value) in fall_back.settings {
            settings = settings.with(key, value)?;
        }
        let mut agent = prepare_to_suffer(lab, &host, None, &settings)?;
        agent.suffer(Some(&format!("fail@{}", fall_back.fail)));
        agent.start()?;
        let what = format!("{:?} without {:?}", fall_back.settings, fall_back.fail);
        is_left(&agent, fall_back).with_context(|| what.clone())?;
        agent.stop().context(what)?;
    }
    Ok(())
}

fn is_left(agent: &Agent, fall_back: &FallBack) -> Result<()> {
    let plan = agent.status()?.plan;
    let (name, words) = fall_back.row;
    let row = plan.iter().find(|(known, _)| known == name);
    ensure!(
        row.is_some_and(|(_, said)| said.starts_with(words)),
        "{plan:?}"
    );
    let own = PathBuf::from(format!("/proc/{}", agent.pid()?));
    let mounts = std::fs::read_to_string(own.join("mountinfo"))?;
    for gone in [" /sys/kernel/tracing ", " /sys/kernel/btf "] {
        ensure!(!mounts.contains(gone), "{gone} is still mounted: {mounts}");
    }
    let doctor = agent.ask_json(&["doctor"])?;
    let names = |list: &serde_json::Value, key: &str| -> Vec<String> {
        let entries = list.as_array().into_iter().flatten();
        let names = entries.filter_map(|one| one[key].as_str().map(str::to_owned));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    ensure!(doctor["jail"]["running"] == true, "{}", doctor["jail"]);
    let said = names(&doctor["jail"]["capabilities"], "name");
    let seen = doctor["confined"]["capabilities"]
        .as_str()
        .context("a text")?;
    let mut seen: Vec<&str> = seen
        .split_whitespace()
        .filter(|one| *one != "none")
        .collect();
    seen.sort_unstable();
    ensure!(said == seen, "doctor names {said:?}, the kernel {seen:?}");
    let more: Vec<_> = seen
        .iter()
        .filter(|one| !fall_back.capabilities.contains(one))
        .collect();
    ensure!(more.is_empty(), "{more:?} should be gone");
    let callers = names(&doctor["jail"]["seccomp"]["allowed"], "by");
    let mut expected: Vec<&str> = [&ALWAYS[..], fall_back.callers].concat();
    // Some kernels refuse an iterator, and are asked for their lists at each interval instead.
    let lists = |(_, said): &(String, String)| said.contains("by diagnostic sockets");
    if plan.iter().any(lists) {
        expected.push("packet and diagnostic sockets");
    }
    expected.sort_unstable();
    expected.dedup();
    ensure!(
        callers == expected,
        "system calls of {callers:?} instead of {expected:?}"
    );
    ensure!(
        doctor["running"]["keeper"].is_null(),
        "{}",
        doctor["running"]["keeper"]
    );
    Ok(())
}
