//! Family `listener`: real accept queues, beside what the kernel itself counts of them.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::agent::{Agent, Settings};
use tests::lab::counters::Counters;
use tests::lab::needs::Need;
use tests::lab::process::Running;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::wait::wait_until;
use tests::lab::{Lab, netns, programs};

use crate::case::{Case, SOON};
use crate::observe::sockets;
use crate::scene::{SETTLE, STOCK, Scene, rule};

const PYTHON: &[Need] = &[Need::Program("python3"), Need::Program("ss")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "listener::queues_overflows_and_drops_are_what_the_kernel_counts",
        needs: PYTHON,
        alone: false,
        run: |lab| queues(lab, &Settings::default(), true),
    },
    Case {
        name: "listener::queues_overflows_and_drops_are_counted_beside_copied_packets",
        needs: PYTHON,
        alone: false,
        run: |lab| queues(lab, &crate::clone::mode(crate::clone::CLONE)?, true),
    },
    Case {
        name: "listener::queues_overflows_and_drops_are_counted_in_the_scope_where_nobody_follows_connections",
        needs: PYTHON,
        alone: false,
        run: |lab| {
            let off = Settings::default().with("families.connection", "\"off\"")?;
            queues(lab, &off, true)
        },
    },
    Case {
        name: "listener::queues_overflows_and_drops_are_counted_without_programs",
        needs: PYTHON,
        alone: false,
        run: |lab| queues(lab, &sockets()?, false),
    },
    Case {
        name: "listener::several_processes_and_those_older_than_the_agent_are_named",
        needs: PYTHON,
        alone: false,
        run: |lab| shared(lab, &Settings::default()),
    },
    Case {
        name: "listener::several_processes_and_those_older_than_the_agent_are_named_without_programs",
        needs: PYTHON,
        alone: false,
        run: |lab| shared(lab, &sockets()?),
    },
];

/// Listens with a backlog, in so many processes; each accepts all that waits on SIGUSR1.
const SERVER: &str = r#"
import os, signal, socket, sys
how, port, backlog = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def listen():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if how == 'reuse':
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(('0.0.0.0', port))
    listener.listen(backlog)
    listener.setblocking(False)
    return listener
taken = []
def accept(*_):
    while True:
        try:
            taken.append(listener.accept())
        except BlockingIOError:
            return print('taken', len(taken), flush=True)
if how == 'fork':
    listener = listen()
if how == 'one' or not os.fork():
    if how == 'reuse' or how == 'one':
        listener = listen()
elif how == 'reuse':
    listener = listen()
signal.signal(signal.SIGUSR1, accept)
print('listening', flush=True)
while True:
    signal.pause()
"#;

/// Of the agent, which ends an interval when it is told to, so that what is between two looks is known.
fn settings(settings: &Settings) -> Result<Settings> {
    let long = settings.clone().with("agent.interval", "\"1h\"")?;
    long.with("service", &rule(STOCK))
}

fn serve(scene: &Scene<'_>, how: &str, backlog: u32) -> Result<Running> {
    let backend = &scene.site.backends[0];
    let mut command = backend.command(programs::python());
    command.args(["-c", SERVER, how]);
    command.args([SERVICE_PORT.to_string(), backlog.to_string()]);
    let running = backend.start("server", command)?;
    let lines = if how == "one" { 1 } else { 2 };
    wait_until(SOON, "listeners", || {
        let said = running.output()?.matches("listening").count();
        Ok((said == lines).then_some(()))
    })?;
    Ok(running)
}

/// Connections of a client, in its namespace; `None` for each that is not answered at its first SYN.
fn connect(scene: &Scene<'_>, to: SocketAddr, count: usize) -> Result<Vec<Option<TcpStream>>> {
    const BEFORE_A_SECOND_SYN: Duration = Duration::from_millis(500);
    netns::inside(scene.site.clients[0].netns(), || {
        let one = |_| TcpStream::connect_timeout(&to, BEFORE_A_SECOND_SYN).ok();
        Ok((0..count).map(one).collect())
    })
}

/// What `ss` says of the listener: what waits, the limit, and drops.
fn ss(scene: &Scene<'_>) -> Result<[u64; 3]> {
    let filter = format!("sport = :{SERVICE_PORT}");
    let text = scene.site.backends[0].run("ss", &["-lntmH", &filter])?;
    let mut words = text.split_whitespace().skip(1);
    let mut number = || -> Result<u64> { Ok(words.next().context("a number")?.parse()?) };
    let (waiting, limit) = (number()?, number()?);
    let drops = text.rsplit_once(",d").context("drops")?.1;
    let digits = drops.split(')').next().unwrap_or_default();
    Ok([waiting, limit, digits.parse()?])
}

/// What the collector has of a table, as it answers.
pub(crate) fn rows(scene: &Scene<'_>, table: &str, intervals: bool) -> Result<Vec<Value>> {
    let mut arguments = vec!["rows", table, "--format", "json"];
    if intervals {
        arguments.push("--intervals");
    }
    let text = scene.collector.ask(&arguments)?;
    let answer: Value = serde_json::from_str(&text)?;
    let tables = answer["tables"].as_array().cloned().unwrap_or_default();
    let all = tables.iter().filter_map(|table| table["rows"].as_array());
    Ok(all.flatten().cloned().collect())
}

/// Rows that intervals had of the service's listener, the newest last.
fn told(scene: &Scene<'_>) -> Result<Vec<Value>> {
    let mut all = rows(scene, "listener", true)?;
    all.retain(|row| row["values"]["local_port"] == SERVICE_PORT);
    all.sort_by_key(|row| row["end_ms"].as_u64());
    Ok(all)
}

/// Ends intervals until the newest row has this value, and gives that row: without a program a socket is
/// told once its process is found.
fn settled(scene: &Scene<'_>, agent: &Agent, (column, value): (&str, u64)) -> Result<Value> {
    wait_until(SETTLE, "row of the new sockets", || {
        agent.flush()?;
        let last = told(scene)?.pop();
        Ok(last.filter(|row| row["values"][column] == value))
    })
}

/// Queue at the end, longest queue, limit and drops of a row; `None` where it was not measured.
fn numbers(row: &Value) -> [Option<u64>; 4] {
    ["queue", "queue_most", "backlog", "drops"].map(|name| row["values"][name].as_u64())
}

fn queues(lab: &Lab, wanted: &Settings, watched: bool) -> Result<()> {
    let scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = &scene.site.backends[0];
    let mut agent = Agent::start_on(lab, backend, Some(&scene.collector), &settings(wanted)?)?;
    let most = |most| watched.then_some(most);
    let before = Counters::of(backend)?;
    let mut server = serve(&scene, "one", 2)?;
    let to = scene.site.backend(0, Family::V4);
    // Two come and go between two looks.
    let open = connect(&scene, to, 2)?;
    ensure!(open.iter().all(Option::is_some), "they have room");
    server.signal(Signal::SIGUSR1)?;
    server.wait_for_output("taken 2", SOON)?;
    let row = settled(&scene, &agent, ("sockets", 1))?;
    ensure!(
        numbers(&row) == [Some(0), most(2), Some(2), Some(0)],
        "drained: {row}"
    );
    ensure!(row["process"]["service"] == STOCK, "whose: {row}");
    // One more than the limit has room; the next two are turned away, a SYN each.
    let full = connect(&scene, to, 5)?;
    let taken = full.iter().flatten().count();
    ensure!(taken == 3, "{taken} have room");
    let [waiting, limit, drops] = ss(&scene)?;
    ensure!(drops >= 2, "ss counts {drops}");
    wait_until(SETTLE, "the full queue, as ss has it", || {
        agent.flush()?;
        let all = told(&scene)?;
        let sum: u64 = all.iter().filter_map(|row| numbers(row)[3]).sum();
        let [queue, longest, backlog, _] = all.last().map(numbers).unwrap_or_default();
        let is_full = [queue, longest, backlog] == [Some(waiting), most(waiting), Some(limit)];
        Ok((is_full && sum == drops).then_some(()))
    })?;
    let grown = Counters::of(backend)?.since(&before);
    wait_until(SETTLE, "what the namespace counts", || {
        let all = rows(&scene, "listener_namespace", false)?;
        let told = all.iter().any(|row| {
            let counted = |name: &str| row["values"][name].as_u64();
            counted("overflows") == Some(grown.value("TcpExt.ListenOverflows"))
                && counted("drops") == Some(grown.value("TcpExt.ListenDrops"))
        });
        Ok(told.then_some(()))
    })?;
    server.signal(Signal::SIGUSR1)?;
    server.wait_for_output("taken 5", SOON)?;
    let row = settled(&scene, &agent, ("queue", 0))?;
    ensure!(
        numbers(&row) == [Some(0), most(3), Some(2), Some(0)],
        "accepted: {row}"
    );
    // Another socket has another count, and another limit.
    server.kill()?;
    let server = serve(&scene, "one", 7)?;
    let row = settled(&scene, &agent, ("backlog", 7))?;
    ensure!(row["values"]["sockets"] == 1, "again: {row}");
    agent.stop()?;
    let sum = wait_until(SETTLE, "totals", || {
        let mut all = rows(&scene, "listener", false)?;
        all.retain(|row| row["values"]["local_port"] == SERVICE_PORT);
        let sum: u64 = all
            .iter()
            .filter_map(|row| row["values"]["drops"].as_u64())
            .sum();
        Ok((sum >= drops).then_some(sum))
    })?;
    ensure!(sum == drops, "{sum} in all, and the kernel counted {drops}");
    drop((server, open, full));
    Ok(())
}

/// Sockets of one address in two processes, a socket that two processes have, and an agent that comes
/// after them.
fn shared(lab: &Lab, wanted: &Settings) -> Result<()> {
    let scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = &scene.site.backends[0];
    let mut forked = serve(&scene, "fork", 4)?;
    let agent = Agent::start_on(lab, backend, Some(&scene.collector), &settings(wanted)?)?;
    let row = settled(&scene, &agent, ("sockets", 1))?;
    ensure!(row["process"]["service"] == STOCK, "whose: {row}");
    // It is gone with the last of those that have it, which ends with the first one's output.
    for process in children(&forked)? {
        nix::sys::signal::kill(process, Signal::SIGKILL)?;
    }
    forked.kill()?;
    let reused = serve(&scene, "reuse", 4)?;
    let row = settled(&scene, &agent, ("sockets", 2))?;
    ensure!(row["process"]["service"] == STOCK, "whose: {row}");
    drop(reused);
    Ok(())
}

/// The processes that a program started.
fn children(running: &Running) -> Result<Vec<nix::unistd::Pid>> {
    let pid = running.pid();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let numbers = text.split_whitespace().map(str::parse);
    let numbers: Result<Vec<i32>, _> = numbers.collect();
    Ok(numbers?
        .into_iter()
        .map(nix::unistd::Pid::from_raw)
        .collect())
}
