//! Three cases of the field: what an operator is told of a fault behind nginx.
//!
//! ```text
//! client1 (shop) ── client2 (front: nginx) ── gateway ── backend1, 2, 3 (stock)
//! ```

mod traffic;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::command;
use tests::lab::needs::Need;
use tests::lab::process::Running;
use tests::lab::programs::{self, Server};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_until;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::{SHOP, STOCK, Scene, rule};
use traffic::{BACKEND, CLIENT};

const NEEDS: &[Need] = &[
    Need::Program("python3"),
    Need::Program("nginx"),
    Need::Program("tc"),
];

pub(crate) const CASES: &[Case] = &[
    case(
        "field::a_backend_that_resets_30_of_30000_requests_behind_nginx_is_named",
        resets,
    )
    .needing(NEEDS),
    case(
        "field::a_limit_of_bandwidth_on_the_way_is_told_from_an_unbalanced_proxy",
        narrow,
    )
    .needing(NEEDS),
    case(
        "field::an_unbalanced_proxy_is_told_from_a_limit_of_bandwidth",
        uneven,
    )
    .needing(NEEDS),
    case("field::a_worker_of_nginx_that_is_stuck_is_named", stuck).needing(NEEDS),
];

/// Service name of the proxy.
const FRONT: &str = "front";

/// A minute is judged when it has ended and was joined; a fault is in the next one at the latest.
const JUDGED: Duration = Duration::from_secs(420);

/// So long so many requests may take on a busy machine.
const ASKED: Duration = Duration::from_secs(420);

/// Of the rules that ship: what is found fires at once, instead of when it was found for minutes.
const AT_ONCE: [&str; 5] = [STUCK, "server-resets", "edge-reset-by-peer", NARROW, UNEVEN];

/// Answers of several servers get lost on their way to one host.
const NARROW: &str = "host-losing-answers";

/// A process sends nothing while its siblings do.
const STUCK: &str = "worker-stuck";

/// A client chooses one server more often than the others.
const UNEVEN: &str = "client-spreads-unevenly";

/// A site with a proxy, agents everywhere, and backends that answer.
struct Field<'a> {
    scene: Scene<'a>,
    proxy: Server,
    _backends: Vec<Running>,
}

/// Backends answer with so many bytes; of each, of how many requests it resets one. `front`: of the
/// proxy's agent.
fn field<'a>(lab: &'a Lab, size: usize, resets: [u32; 3], front: &Settings) -> Result<Field<'a>> {
    let site = Site::build(lab, 2, resets.len(), Nat::Direct, Middlebox::Plain)?;
    let place = lab.directory().join("rules");
    std::fs::create_dir(&place)?;
    let changed = |name: &&str| format!("[change.{name}]\nfor = \"0s\"\n");
    let changed: String = AT_ONCE.iter().map(changed).collect();
    std::fs::write(place.join("lab.toml"), changed)?;
    let settings = format!(
        "[alerts]\nsettle = \"10s\"\nrules = \"{}\"\n",
        place.display()
    );
    let mut collector = Collector::prepare(lab, &settings)?;
    collector.start()?;
    let (mut servers, mut running) = (Vec::new(), Vec::new());
    for (at, one_in) in resets.into_iter().enumerate() {
        let host = &site.backends[at];
        let mut command = host.command(programs::python());
        command.args(["-c", BACKEND, &SERVICE_PORT.to_string()]);
        command.args([size.to_string(), one_in.to_string()]);
        let mut backend = host.start("backend", command)?;
        backend.wait_for_output("listening", SOON)?;
        running.push(backend);
        servers.push((site.backend(at, Family::V4), 1));
    }
    let proxy = programs::nginx_before(&site.clients[1], SERVICE_PORT, &servers)?;
    let mut scene = Scene {
        lab,
        site,
        collector,
        agents: Vec::new(),
    };
    let Site {
        clients, backends, ..
    } = &scene.site;
    let usual = &Settings::default();
    let fronts = [(&clients[0], SHOP, usual), (&clients[1], FRONT, front)];
    let stocks = backends.iter().map(|host| (host, STOCK, usual));
    for (host, name, settings) in fronts.into_iter().chain(stocks) {
        let settings = settings.clone().with("agent.interval", "\"5s\"")?;
        let settings = settings.with("service", &rule(name))?;
        let agent = Agent::start_on(lab, host, Some(&scene.collector), &settings)?;
        scene.agents.push(agent);
    }
    Ok(Field {
        scene,
        proxy,
        _backends: running,
    })
}

impl Field<'_> {
    /// Starts a client that asks so often, over so many connections, with a pause of so many seconds
    /// between two requests.
    fn ask(&self, lanes: usize, count: usize, pause: f64) -> Result<Running> {
        let client = &self.scene.site.clients[0];
        let proxy = self.scene.site.client_ip(1, Family::V4).to_string();
        let mut command = client.command(programs::python());
        command.args(["-c", CLIENT, &proxy, &SERVICE_PORT.to_string()]);
        command.args([lanes.to_string(), count.to_string(), pause.to_string()]);
        client.start("client", command)
    }

    fn answer(&self, words: &[&str]) -> Result<Value> {
        let text = self
            .scene
            .collector
            .ask(&[words, &["--format", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{words:?}: {text}"))
    }

    /// What fires of these rules.
    fn firing(&self, rules: &[&str]) -> Result<Vec<Value>> {
        let answer = self.answer(&["alerts", "list", "--phase", "firing"])?;
        let all = answer["alerts"].as_array().cloned().unwrap_or_default();
        let ours = |one: &Value| {
            one["rule"]
                .as_str()
                .is_some_and(|name| rules.contains(&name))
        };
        Ok(all.into_iter().filter(ours).collect())
    }

    /// Waits for the alert of a rule; where none comes, says what there is instead.
    fn alert(&self, rule: &str) -> Result<Value> {
        let found = wait_until(JUDGED, "the alert", || Ok(self.firing(&[rule])?.pop()));
        found.with_context(|| {
            let alerts = self.answer(&["alerts", "list"]);
            let edges = self.scene.collector.query("topology", "table");
            format!("alerts: {alerts:?}\n{}", edges.unwrap_or_default())
        })
    }

    /// What is wrong between the proxy and a backend (from 0), by an operator's way to it.
    fn diagnosis(&self, backend: usize, more: &[&str]) -> Result<Value> {
        let endpoint = self.scene.site.backend(backend, Family::V4).to_string();
        let found = self.answer(&["search", &endpoint])?;
        let mut hits = found["hits"].as_array().into_iter().flatten();
        let edge = hits.find_map(|hit| hit["href"].as_str()?.strip_prefix("/api/v1/edges/"));
        let edge = edge.with_context(|| format!("no edge: {found}"))?;
        self.answer(&[&["diagnose", edge], more].concat())
    }
}

/// A statement of a diagnosis.
fn statement<'v>(diagnosis: &'v Value, cause: &str) -> Result<&'v Value> {
    let all = diagnosis["statements"].as_array();
    all.and_then(|all| all.iter().find(|one| one["cause"] == cause))
        .with_context(|| format!("no {cause}: {diagnosis}"))
}

fn resets(lab: &Lab) -> Result<()> {
    let field = field(lab, 100, [0, 333, 0], &Settings::default())?;
    let said = field.ask(8, 30_000, 0.0)?.succeed(ASKED)?;
    let said: Value = serde_json::from_str(&said)?;
    ensure!(said["502"] == 30 && said["200"] == 29_970, "{said}");
    let bad = field.scene.site.backends[1].name();
    let named = wait_until(JUDGED, "the alert", || {
        let all = field.firing(&["server-resets", "edge-reset-by-peer"])?;
        Ok((all.len() == 2).then_some(all))
    })?;
    for one in &named {
        let name = one["name"].as_str().unwrap_or_default();
        ensure!(name.contains(bad), "{one}");
    }
    let diagnosis = field.diagnosis(1, &[])?;
    let reset = statement(&diagnosis, "reset_by_server")?;
    ensure!(reset["verdict"] == "likely", "{diagnosis}");
    let text = reset["text"].as_str().unwrap_or_default();
    ensure!(
        text.contains(bad) && text.contains("and it alone"),
        "{text}"
    );
    let siblings = diagnosis["siblings"].as_array().context("siblings")?;
    for one in siblings {
        let its = if one["server"]
            .as_str()
            .is_some_and(|name| name.contains(bad))
        {
            30
        } else {
            0
        };
        ensure!(one["resets"] == its, "{diagnosis}");
    }
    ensure!(siblings.len() == 3, "{diagnosis}");
    for at in [0, 2] {
        let sibling = field.diagnosis(at, &[])?;
        let reset = statement(&sibling, "reset_by_server")?;
        ensure!(reset["verdict"] == "ruled_out", "{sibling}");
    }
    Ok(())
}

/// A healthy time of a field, and its end; Unix milliseconds.
struct Healthy {
    lasted_ms: i64,
    end_ms: i64,
}

impl Healthy {
    /// A diagnosis of the same length that begins so long after it, so that it is what was before.
    fn window(&self, later_ms: i64) -> [String; 2] {
        let from = self.end_ms + later_ms;
        [from, from + self.lasted_ms].map(|ms| ms.to_string())
    }
}

fn now_ms() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}

/// Waits until the proxy has opened so many connections to each backend.
fn healthy(field: &Field<'_>, least: u64) -> Result<Healthy> {
    let begin_ms = now_ms()?;
    wait_until(SOON * 3, "healthy traffic", || {
        let topology = field.scene.collector.topology()?;
        let edges = topology.edges.iter();
        let fed = edges.filter(|edge| edge.server.ends_with(STOCK) && edge.connections >= least);
        Ok((fed.count() == 3).then_some(()))
    })?;
    let end_ms = now_ms()?;
    Ok(Healthy {
        lasted_ms: end_ms - begin_ms,
        end_ms,
    })
}

/// An interval of agents, milliseconds: what changed within one is in both windows.
const INTERVAL_MS: i64 = 5000;

fn narrow(lab: &Lab) -> Result<()> {
    let field = field(lab, 100_000, [0; 3], &Settings::default())?;
    let _client = field.ask(8, 1_000_000, 0.1)?;
    let healthy = healthy(&field, 300)?;
    // What the gateway sends to the proxy, so that answers of all backends share it.
    let mut limit = field.scene.site.gateway.command_beside("tc");
    let device = field.scene.site.clients[1].name();
    limit.args(["qdisc", "add", "dev", device, "root", "tbf"]);
    limit.args(["rate", "8mbit", "burst", "16k", "latency", "20ms"]);
    command::run(&mut limit)?;
    let told = field.alert(NARROW)?;
    ensure!(
        told["name"] == device,
        "the host before which it is: {told}"
    );
    ensure!(field.firing(&[UNEVEN])?.is_empty(), "spread evenly");
    // As many connections as a distribution needs take a while; before it, all was well.
    let (from, to) = (healthy.end_ms + INTERVAL_MS, now_ms()?);
    let [from, to] = [from, to].map(|ms| ms.to_string());
    for backend in 0..3 {
        let diagnosis = field.diagnosis(backend, &["--from", &from, "--to", &to])?;
        ensure!(
            statement(&diagnosis, "narrow_path")?["verdict"] == "likely",
            "{diagnosis}"
        );
        ensure!(
            statement(&diagnosis, "unbalanced")?["verdict"] == "ruled_out",
            "{diagnosis}"
        );
        let siblings = diagnosis["siblings"].as_array().context("siblings")?;
        let is_fair = |one: &Value| {
            one["share"]
                .as_f64()
                .is_some_and(|part| (30.0..37.0).contains(&part))
        };
        ensure!(
            siblings.len() == 3 && siblings.iter().all(is_fair),
            "{diagnosis}"
        );
    }
    Ok(())
}

fn uneven(lab: &Lab) -> Result<()> {
    let field = field(lab, 10_000, [0; 3], &Settings::default())?;
    let _client = field.ask(12, 1_000_000, 0.1)?;
    let healthy = healthy(&field, 400)?;
    programs::nginx_weigh(&field.proxy, field.scene.site.backend(0, Family::V4), 18)?;
    let told = field.alert(UNEVEN)?;
    let hot = field.scene.site.backends[0].name();
    ensure!(
        told["name"].as_str().is_some_and(|name| name.contains(hot)),
        "{told}"
    );
    ensure!(field.firing(&[NARROW])?.is_empty(), "nothing is lost");
    let [from, to] = healthy.window(INTERVAL_MS);
    let diagnosis = field.diagnosis(0, &["--from", &from, "--to", &to])?;
    ensure!(
        statement(&diagnosis, "unbalanced")?["verdict"] == "likely",
        "{diagnosis}"
    );
    ensure!(
        statement(&diagnosis, "narrow_path")?["verdict"] != "likely",
        "{diagnosis}"
    );
    let first = &diagnosis["siblings"][0];
    let share = |name: &str| first[name].as_f64().unwrap_or_default();
    ensure!((70.0..95.0).contains(&share("share")), "{diagnosis}");
    // The interval in which it changed is in the window before.
    ensure!((30.0..60.0).contains(&share("usual_share")), "{diagnosis}");
    Ok(())
}

/// A process that is stopped, until this is dropped.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGCONT).ok();
    }
}

fn stuck(lab: &Lab) -> Result<()> {
    let field = field(lab, 1000, [0; 3], &sockets()?)?;
    let _client = field.ask(24, 1_000_000, 0.1)?;
    healthy(&field, 100)?;
    let master = field.proxy.running.pid();
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    let workers: Vec<&str> = children.split_whitespace().collect();
    ensure!(workers.len() == 2, "{children}");
    let bad = Pid::from_raw(workers[0].parse()?);
    kill(bad, Signal::SIGSTOP)?;
    let _stopped = Stopped(bad);
    let told = field.alert(STUCK)?;
    let host = field.scene.site.clients[1].name();
    let summary = told["summary"].as_str().unwrap_or_default();
    let begin = format!("Process {bad} of {FRONT} on {host} sent nothing");
    ensure!(summary.starts_with(&begin), "{told}");
    ensure!(field.firing(&[STUCK])?.len() == 1, "its sibling works");
    Ok(())
}
