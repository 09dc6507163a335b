//! One ability taken from the host at a time: `doctor` says what is missing and what is done
//! without it, and the agent does just that.
//!
//! `clsact` cannot be hidden from a process; kernels without it are in the compatibility matrix.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};

const SETPRIV: &[Need] = &[Need::Program("setpriv")];

/// Names one trial.
macro_rules! without {
    ($name:literal, $needs:expr, $ability:expr) => {
        case(concat!("abilities::", $name), |lab| prove(lab, &$ability)).needing($needs)
    };
}

/// What is taken, and what must be said and done then.
struct Ability {
    /// Options of the lab's program `without`.
    less: &'static [&'static str],
    /// Keys of the configuration and their values.
    settings: &'static [(&'static str, &'static str)],
    /// The fact that names it, and words of its text.
    fact: (&'static str, &'static str),
    /// Rows of the plan, and words of their texts.
    plan: &'static [(&'static str, &'static str)],
    /// Mode in force; or what is said by an agent that cannot be confined.
    outcome: Result<&'static str, &'static str>,
}

const NO_CGROUP2: &[&str] = &[
    "--file-system",
    "cgroup2",
    "--hide",
    "/sys/fs/cgroup",
    "--hide",
    "/proc/1",
];

const WITHOUT_CGROUP2: Ability = Ability {
    less: NO_CGROUP2,
    settings: &[],
    fact: ("cgroup2", "missing: the kernel was built without cgroup2"),
    plan: &[(
        "connection",
        "without programs, the option is only read: the scope's cgroup is out of reach",
    )],
    outcome: Ok("observe"),
};

/// Everything is in scope, so that no cgroup has to be found.
const WITHOUT_CGROUP2_AND_SCOPE: Ability = Ability {
    less: NO_CGROUP2,
    settings: &[("scope.cgroup", "'/'")],
    fact: ("scope", "no: the kernel was built without cgroup2"),
    plan: &[
        ("connection", "raw tracepoints and packet filters: "),
        ("mode", "sockops programs hang on a cgroup"),
    ],
    outcome: Ok("tc-clone"),
};

const WITHOUT_TRACEFS: Ability = Ability {
    less: &["--file-system", "tracefs"],
    settings: &[],
    fact: ("tracefs", "no: the kernel was built without tracefs"),
    plan: &[("accept", "on: accepted connections belong to the process ")],
    outcome: Ok("sockops"),
};

const WITHOUT_BTF: Ability = Ability {
    less: &["--hide", "/sys/kernel/btf"],
    settings: &[],
    fact: ("btf", "no: no /sys/kernel/btf/vmlinux to be read"),
    plan: &[(
        "connection",
        "without programs, the option is only read: the kernel does not describe its structures (BTF)",
    )],
    outcome: Ok("observe"),
};

const WITHOUT_BPF: Ability = Ability {
    less: &["--refuse", "bpf"],
    settings: &[],
    fact: ("bpf", "not permitted"),
    plan: &[(
        "connection",
        "without programs, the option is only read: BPF programs cannot be loaded",
    )],
    outcome: Ok("observe"),
};

const WITHOUT_PERF_EVENTS: Ability = Ability {
    less: &["--refuse", "perf_event_open"],
    settings: &[("agent.transport", "'perf'")],
    fact: ("perf_events", "no: opening one fails"),
    plan: &[
        (
            "accept",
            "on: accepted connections belong to the process that reads first",
        ),
        ("transport", "ring buffer: "),
    ],
    outcome: Ok("sockops"),
};

const WITHOUT_NETLINK: Ability = Ability {
    less: &["--refuse", "netlink"],
    settings: &[("option.mode", "'tc-clone'")],
    fact: ("clsact", "no: the kernel refuses filters on clsact"),
    plan: &[(
        "mode",
        "observe: option.mode asks for tc-clone, but packet filters cannot",
    )],
    outcome: Ok("observe"),
};

const WITHOUT_SECCOMP: Ability = Ability {
    less: &["--refuse", "seccomp"],
    settings: &[],
    fact: ("seccomp", "no: a filter is refused"),
    plan: &[("seccomp", "off: the kernel cannot filter system calls")],
    outcome: Ok("sockops"),
};

/// Kernels before 5.11 charge tables to the user, and there libbpf raises the limit.
const WITHOUT_MEMLOCK: Ability = Ability {
    less: &["--memlock", "0"],
    settings: &[],
    fact: ("memlock", "0"),
    plan: &[("connection", "raw tracepoints and sockops: ")],
    outcome: Ok("sockops"),
};

/// The kernel takes `CAP_SYS_ADMIN` for it where bpf(2) is concerned.
const WITHOUT_NET_ADMIN: Ability = Ability {
    less: &["--capability", "net_admin"],
    settings: &[],
    fact: ("clsact", "no: not permitted: attaching needs CAP_NET_ADMIN"),
    plan: &[("connection", "raw tracepoints and sockops: ")],
    outcome: Ok("sockops"),
};

const WITHOUT_NET_ADMIN_AND_SOCKOPS: Ability = Ability {
    less: &["--capability", "net_admin"],
    settings: &[("option.mode", "'tc-clone'")],
    fact: ("clsact", "no: not permitted: attaching needs CAP_NET_ADMIN"),
    plan: &[
        (
            "connection",
            "raw tracepoints: connections are measured, the option is not read",
        ),
        ("mode", "observe: "),
    ],
    outcome: Ok("observe"),
};

/// Since 5.8 of this mount alone; before, of every one of the namespace, which a lab leaves alone.
const WITH_HIDEPID: Ability = Ability {
    less: &["--hidepid"],
    settings: &[],
    fact: ("least_for_executables", "CAP_SYS_PTRACE"),
    plan: &[("connection", "raw tracepoints and sockops: ")],
    outcome: Ok("sockops"),
};

/// The same for who looks for the owners of sockets.
const WITH_HIDEPID_BY_SOCKETS: Ability = Ability {
    less: &["--hidepid"],
    settings: &[("agent.hooks", "'sockets'")],
    fact: ("least_for_descriptors", "CAP_SYS_PTRACE"),
    plan: &[("connection", "packet and diagnostic sockets: ")],
    outcome: Ok("observe"),
};

/// `CAP_SYS_ADMIN` stands in for each of these, as it did before 5.8.
const WITHOUT_BPF_AND_PERFMON: Ability = Ability {
    less: &["--capability", "bpf", "--capability", "perfmon"],
    settings: &[],
    fact: ("bpf", "yes"),
    plan: &[("connection", "raw tracepoints and sockops: ")],
    outcome: Ok("sockops"),
};

const WITHOUT_PTRACE: Ability = Ability {
    less: &["--capability", "sys_ptrace"],
    settings: &[],
    fact: ("capabilities", "all but CAP_SYS_PTRACE"),
    plan: &[("connection", "raw tracepoints and sockops: ")],
    outcome: Ok("sockops"),
};

const WITHOUT_SYS_ADMIN: Ability = Ability {
    less: &["--capability", "sys_admin"],
    settings: &[],
    fact: ("private_mounts", "no: the jail needs CAP_SYS_ADMIN"),
    plan: &[],
    outcome: Err("the jail needs CAP_SYS_ADMIN: run the agent as root"),
};

const WITHOUT_MOUNT: Ability = Ability {
    less: &["--refuse", "mount"],
    settings: &[],
    fact: ("private_mounts", "no: make mounts private"),
    plan: &[],
    outcome: Err("make mounts private"),
};

pub(crate) const CASES: &[Case] = &[
    without!(
        "without_cgroup2_sockets_look_for_the_scope",
        &[],
        WITHOUT_CGROUP2
    ),
    without!(
        "without_cgroup2_filters_still_carry_all_there_is",
        &[],
        WITHOUT_CGROUP2_AND_SCOPE
    ),
    without!(
        "without_tracefs_who_accepts_is_still_told",
        &[],
        WITHOUT_TRACEFS
    ),
    without!("without_btf_sockets_measure", &[], WITHOUT_BTF),
    without!("without_bpf_sockets_measure", &[], WITHOUT_BPF),
    without!(
        "without_perf_events_the_ring_is_taken",
        &[],
        WITHOUT_PERF_EVENTS
    ),
    without!(
        "without_netlink_no_filter_is_attached",
        &[],
        WITHOUT_NETLINK
    ),
    without!(
        "without_seccomp_the_agent_runs_unfiltered",
        &[],
        WITHOUT_SECCOMP
    ),
    without!(
        "without_locked_memory_nothing_is_lost",
        &[],
        WITHOUT_MEMLOCK
    ),
    without!(
        "without_net_admin_sys_admin_does",
        SETPRIV,
        WITHOUT_NET_ADMIN
    ),
    without!(
        "without_net_admin_no_filter_is_attached",
        SETPRIV,
        WITHOUT_NET_ADMIN_AND_SOCKOPS
    ),
    without!(
        "without_bpf_and_perfmon_sys_admin_does",
        SETPRIV,
        WITHOUT_BPF_AND_PERFMON
    ),
    without!(
        "without_ptrace_names_come_from_the_kernel",
        SETPRIV,
        WITHOUT_PTRACE
    ),
    without!("with_hidepid_names_are_read", &[], WITH_HIDEPID),
    without!(
        "with_hidepid_owners_of_sockets_are_found",
        &[],
        WITH_HIDEPID_BY_SOCKETS
    ),
    without!(
        "without_sys_admin_the_agent_says_so_and_ends_with_4",
        SETPRIV,
        WITHOUT_SYS_ADMIN
    ),
    without!(
        "without_mounts_the_agent_says_so_and_ends_with_4",
        &[],
        WITHOUT_MOUNT
    ),
];

const PORT: u16 = 7000;

fn prove(lab: &Lab, ability: &Ability) -> Result<()> {
    let host = lab.host("host")?;
    host.hinder(ability.less);
    let mut settings = Settings::default();
    for (key, value) in ability.settings {
        settings = settings.with(key, value)?;
    }
    let mut agent = Agent::prepare(lab, &host, None, &settings)?;
    let doctor = examined(&agent, ability)?;
    match ability.outcome {
        Ok(mode) => {
            agent.start()?;
            degraded(&host, &agent, mode, &rows(&doctor["plan"])?)?;
            agent.stop()
        }
        Err(words) => {
            let warnings = doctor["warnings"].to_string();
            let told = format!("would end with 4: {words}");
            ensure!(warnings.contains(&told), "doctor warns of {warnings}");
            refuses(&mut agent, words)
        }
    }
}

/// The report of `doctor`, which says what is missing and what is done without it.
fn examined(agent: &Agent, ability: &Ability) -> Result<Value> {
    let output = agent.ask(&["doctor"])?;
    ensure!(
        output.status.success(),
        "doctor ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let doctor = agent.ask_json(&["doctor"])?;
    let (name, words) = ability.fact;
    let fact = &doctor["facts"][name];
    let said = fact.as_str().with_context(|| format!("no fact {name}"))?;
    ensure!(said.contains(words), "fact {name}: {said}");
    let plan = rows(&doctor["plan"])?;
    for (name, words) in ability.plan {
        let row = plan.iter().find(|(known, _)| known == name);
        let (_, said) = row.with_context(|| format!("no row {name} in {plan:?}"))?;
        ensure!(said.contains(words), "row {name}: {said}");
    }
    Ok(doctor)
}

fn rows(plan: &Value) -> Result<Vec<(String, String)>> {
    serde_json::from_value(plan.clone()).context("a plan has rows of two texts")
}

/// Demands that a running agent does what `doctor` said, and measures what it can.
fn degraded(host: &Host, agent: &Agent, mode: &str, said: &[(String, String)]) -> Result<()> {
    let status = agent.status()?;
    ensure!(
        status.mode == mode,
        "mode {}: {:?}",
        status.mode,
        status.plan
    );
    ensure!(status.plan == said, "{:?} instead of {said:?}", status.plan);
    let skipped = said.iter().any(|(_, text)| text.starts_with("skipped: "));
    host.ip("link set lo up\n")?;
    let _server = programs::serve(host, PORT, &[])?;
    let seen = host.connect(([127, 0, 0, 1], PORT).into(), &["--count", "3"])?;
    ensure!(seen.iter().all(|one| one.error.is_empty()), "{seen:?}");
    wait_for(SOON, "connections in the agent's counters", || {
        agent.flush()?;
        let status = agent.status()?;
        let records = status.counter("record_decoded_total")?;
        let packets = status.counter("observe_packets_total")?;
        ensure!(
            (records + packets > 0) != skipped,
            "{records} records, {packets} packets"
        );
        Ok(())
    })
}

fn refuses(agent: &mut Agent, words: &str) -> Result<()> {
    agent.start_unready()?;
    let running = agent.running_mut()?;
    let status = running.wait(STOP_DEADLINE)?;
    let errors = running.errors()?;
    if status.code() != Some(4) {
        bail!("the agent ended with {status}: {errors}");
    }
    ensure!(errors.contains(words), "{errors}");
    Ok(())
}
