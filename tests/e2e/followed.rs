//! What is read at the start and can change: files, names, signals.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{self, Collector, write_secret};
use tests::lab::command;
use tests::lab::needs::Need;
use tests::lab::wait::wait_for;
use tests::lab::{Lab, programs};

use crate::case::{Case, case};
use crate::scene::SETTLE;

pub(crate) const CASES: &[Case] = &[
    case(
        "followed::a_new_token_is_used_at_once_and_a_broken_one_changes_nothing",
        tokens,
    ),
    case(
        "followed::names_of_the_host_and_of_the_collector_are_those_of_now",
        names,
    )
    .needing(&[Need::Program("unshare"), Need::Program("nsenter")]),
    case(
        "followed::a_scope_that_comes_later_and_comes_back_is_measured",
        scope,
    ),
    case(
        "followed::no_signal_of_habit_ends_agent_or_collector",
        habits,
    ),
];

/// Whether the plan of the running agent says this of `name`.
fn says(agent: &Agent, name: &str, what: &str) -> Result<bool> {
    agent.flush()?;
    let plan = agent.status()?.plan;
    let mut rows = plan.iter().filter(|(row, _)| row == name);
    Ok(rows.any(|(_, said)| said.contains(what)))
}

/// The scope's cgroup is made after the agent has started, goes, and comes back as another one.
fn scope(lab: &Lab) -> Result<()> {
    let settings = Settings::default().with("option.loopback", "true")?;
    let host = lab.host("host")?;
    let cgroup = host.cgroup().to_owned();
    fs::remove_dir(&cgroup)?;
    let agent = Agent::start_on(lab, &host, None, &settings)?;
    let missing = |is: bool| {
        wait_for(SETTLE, "word of the scope", || {
            let said = says(&agent, "scope", "is not there")?;
            ensure!(said == is, "said: {said}");
            Ok(())
        })
    };
    for round in 0..2 {
        missing(true)?;
        fs::create_dir(&cgroup)?;
        missing(false)?;
        let counter = |name: &str| agent.status()?.counter(name);
        let before = counter("option_written_total")?;
        let server = programs::serve(&host, 5000, &[])?;
        host.connect("127.0.0.1:5000".parse()?, &["--count", "3"])?;
        drop(server);
        let writes = agent.status()?.mode == "sockops";
        wait_for(SETTLE, "connections in the scope", || {
            agent.flush()?;
            let inserted = counter("kernel_connections_inserted_total")?;
            ensure!(inserted >= 6 * (round + 1), "{inserted} connections");
            let written = counter("option_written_total")?;
            ensure!(
                !writes || written >= before + 3,
                "round {round}: {written} of {before}"
            );
            Ok(())
        })?;
        // What ran in it may take a moment to be gone.
        wait_for(SETTLE, "an empty cgroup", || Ok(fs::remove_dir(&cgroup)?))?;
    }
    missing(true)?;
    fs::create_dir(&cgroup)?;
    Ok(())
}

/// Replaces a file as programs that manage secrets do.
fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    write_secret(&fresh, text)?;
    fs::rename(&fresh, path).context("rename")
}

fn acked(agent: &Agent) -> Result<u64> {
    agent.status()?.counter("upload_acked_total")
}

/// Waits until a counter of the agent is above `than`; it writes its status when it is asked.
fn grows(agent: &Agent, counter: &str, than: u64) -> Result<u64> {
    wait_for(SETTLE, counter, || {
        agent.flush()?;
        let count = agent.status()?.counter(counter)?;
        ensure!(count > than, "{counter} is {count}");
        Ok(())
    })?;
    agent.status()?.counter(counter)
}

fn tokens(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let file = lab.directory().join("agent-token");
    write_secret(&file, "not-a-token-of-this-collector")?;
    let settings = Settings::default()
        .with("upload.token_file", &format!("'{}'", file.display()))?
        .with("agent.interval", "\"1h\"")?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    grows(&agent, "upload_unauthorized_total", 0)?;
    ensure!(acked(&agent)? == 0, "acknowledged");
    // From here on nothing but the new token ends the back-off of at least a minute.
    replace(&file, collector::TOKEN)?;
    wait_for(SETTLE, "token in force", || {
        let hosts = collector.hosts()?.to_string();
        ensure!(hosts.contains("\"host\""), "nothing arrived: {hosts}");
        Ok(())
    })?;
    // A broken file keeps the old token, and is said.
    let before = grows(&agent, "upload_acked_total", 0)?;
    replace(&file, "two words\n")?;
    grows(&agent, "followed_refused_total", 0)?;
    grows(&agent, "upload_acked_total", before)?;
    let status = agent.status()?;
    let said = status.plan.iter().find(|(name, _)| name == "changed_files");
    let (_, said) = said.context("the plan does not say it")?;
    ensure!(said.contains("token"), "{said}");
    let log = agent.running()?.errors()?;
    ensure!(
        !log.contains("two words"),
        "the secret is in the log: {log}"
    );
    // A token that the collector does not list any more stops working.
    replace(&file, collector::TOKEN)?;
    let refused = agent.status()?.counter("upload_unauthorized_total")?;
    let list = collector.host.directory().join("tokens");
    replace(&list, "another-token-of-nobody shared\n")?;
    grows(&agent, "upload_unauthorized_total", refused)?;
    let doctor = agent.ask_json(&["doctor"])?;
    ensure!(doctor["reader"]["uid"].is_string(), "{}", doctor["reader"]);
    Ok(())
}

/// The agent's `/etc` is a directory of the lab, and its host name is one of its own.
fn names(lab: &Lab) -> Result<()> {
    const NAME: &str = "collector.followed.test";
    let collector = Collector::start_in(lab)?;
    let etc = lab.directory().join("etc");
    fs::create_dir(&etc)?;
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n")?;
    let port = collector::ADDRESS.port();
    let address = collector::ADDRESS.ip();
    let settings = Settings::default()
        .with("upload.url", &format!("\"https://{NAME}:{port}\""))?
        .with("upload.server_name", &format!("\"{address}\""))?
        .without("agent.hostname");
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, Some(&collector), &settings)?;
    let inside = format!(
        "mount --bind {} /etc && echo localhost > /proc/sys/kernel/hostname && exec \"$@\"",
        etc.display()
    );
    let private = ["unshare", "--mount", "--uts", "--propagation", "private"];
    agent.wrap(&[&private[..], &["sh", "-c", &inside, "sh"]].concat());
    agent.start()?;
    grows(&agent, "upload_retried_total", 0)?;
    let copy = agent.rootfs().join("etc");
    ensure!(
        !copy.join("resolv.conf").metadata()?.len() > 0,
        "a copy of nothing"
    );
    // Made later, and renamed over what is there.
    fs::write(etc.join("resolv.conf"), "options timeout:1 attempts:1\n")?;
    replace(&etc.join("hosts"), &format!("{address} {NAME}\n"))?;
    wait_for(SETTLE, "the jail's copies", || {
        let read = |name: &str| fs::read_to_string(copy.join(name));
        ensure!(read("hosts")?.contains(NAME), "hosts");
        ensure!(read("resolv.conf")?.contains("timeout:1"), "resolv.conf");
        Ok(())
    })?;
    grows(&agent, "upload_acked_total", 0)?;
    let hosts = |name: &str| -> Result<usize> {
        let all = collector.hosts()?;
        let all = all["hosts"].as_array().context("hosts")?;
        ensure!(all.iter().any(|host| host["hostname"] == name), "{all:?}");
        Ok(all.len())
    };
    wait_for(SETTLE, "the first name", || hosts("localhost").map(drop))?;
    let mut rename = host.command_beside("nsenter");
    rename.args(["--uts", "--target", &agent.pid()?.to_string()]);
    rename.args(["sh", "-c", "echo db-7 > /proc/sys/kernel/hostname"]);
    command::finish(&mut rename, "")?;
    wait_for(SETTLE, "the new name", || {
        agent.flush()?;
        let count = hosts("db-7")?;
        ensure!(count == 1, "{count} hosts: the name is not who it is");
        Ok(())
    })
}

fn habits(lab: &Lab) -> Result<()> {
    const HABITS: [Signal; 8] = [
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
    ];
    let mut collector = Collector::start_in(lab)?;
    let host = lab.host("host")?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &Settings::default())?;
    for signal in HABITS {
        agent.running()?.signal(signal)?;
        collector.running()?.signal(signal)?;
    }
    // A real-time signal, which `kill` alone knows.
    for pid in [agent.pid()?, collector.running()?.pid().as_raw()] {
        let mut kill = host.command_beside("kill");
        kill.args(["-s", "RTMIN+3", &pid.to_string()]);
        command::finish(&mut kill, "")?;
    }
    grows(&agent, "upload_acked_total", 0)?;
    let log = agent.running()?.errors()?;
    ensure!(log.contains("files are read again"), "{log}");
    // One that asks for the end has the rest sent.
    let running = agent.running_mut()?;
    running.signal(Signal::SIGQUIT)?;
    ensure!(running.wait(SETTLE)?.success(), "{}", running.errors()?);
    ensure!(running.errors()?.contains("drained"), "no drain");
    ensure!(collector.stop()?, "the collector did not end well");
    Ok(())
}
