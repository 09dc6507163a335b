//! A real fault, from the host on which it happens to whoever is told.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::collector::Collector;
use tests::lab::needs::Need;
use tests::lab::process::Running;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_until;

use crate::case::{Case, SOON, case};
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[case(
    "alerts::a_listener_that_goes_away_is_told_once_known_and_over_after_the_mend",
    goes_away,
)
.needing(&[
    Need::Program("python3"),
    Need::Program("curl"),
    Need::Program("prometheus-alertmanager"),
])];

/// A minute is judged when it has ended and was joined; a fault is in the next one at the latest.
const JUDGED: Duration = Duration::from_secs(240);

/// As the rule that ships, for a minute instead of five: what is mended is over sooner.
const RULES: &str = r#"
[[rule]]
name = "lab-refused"
of = "edge"
window = "1m"
keep_for = "1s"
limits = { least = 5 }
value = "d(refused)"
critical = "value >= limit.least"
[rule.en]
summary = "{server} refuses {value} connections of {client} in {window}."
meaning = "Somebody answers each attempt with a reset."
causes = ["The service stopped."]
next = "Look whether the listener is there."
[rule.zh]
summary = "{server} 在 {window} 内拒绝了 {client} 的 {value} 个连接。"
meaning = "每次尝试都被复位应答。"
causes = ["服务已停止。"]
next = "查看监听是否存在。"
[[rule.test]]
rows = [{ client = "a/shop", server = "b/stock", endpoint = "10.0.0.2:80", opened = 0, failed = 9, refused = 9 }]
fires = "critical"
[[rule.test]]
rows = [{ client = "a/shop", server = "b/stock", endpoint = "10.0.0.2:80", opened = 9 }]
"#;

/// Connects again and again, and hears the end.
const CLIENT: &str = r"
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) as peer:
            peer.recv(1)
    except OSError:
        pass
    time.sleep(0.2)
";

/// Accepts, says something, and closes.
const SERVER: &str = r"
import socket, sys
listener = socket.create_server(('0.0.0.0', int(sys.argv[1])), backlog=64)
print('listening', flush=True)
while True:
    peer, _ = listener.accept()
    with peer:
        peer.sendall(b'x')
";

fn serve(site: &Site) -> Result<Running> {
    let backend = &site.backends[0];
    let mut command = backend.command(programs::python());
    command.args(["-c", SERVER, &SERVICE_PORT.to_string()]);
    let mut running = backend.start("server", command)?;
    running.wait_for_output("listening", SOON)?;
    Ok(running)
}

/// The collector's own Alertmanager.
fn manager(collector: &Collector) -> Result<Running> {
    let directory = collector.host.directory();
    std::fs::write(
        directory.join("am.yml"),
        "route: {receiver: none}\nreceivers: [{name: none}]\n",
    )?;
    let mut command = collector.host.command_beside("prometheus-alertmanager");
    command
        .arg(format!(
            "--config.file={}",
            directory.join("am.yml").display()
        ))
        .arg(format!("--storage.path={}", directory.join("am").display()))
        .arg("--web.listen-address=127.0.0.1:9093")
        .arg("--cluster.listen-address=");
    collector.host.start("alertmanager", command)
}

/// What Alertmanager has of the rule.
fn managed(collector: &Collector) -> Result<Vec<Value>> {
    let address = "http://127.0.0.1:9093/api/v2/alerts";
    let text = collector
        .host
        .run("curl", &["-s", "--max-time", "5", address])?;
    let all: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let ours = |one: &Value| one["labels"]["alertname"] == "lab-refused";
    Ok(all.into_iter().filter(ours).collect())
}

/// Alerts of the rule, as the command lists them.
fn listed(collector: &Collector, phase: &str) -> Result<Vec<Value>> {
    let words = ["alerts", "list", "--phase", phase, "--rule", "lab-refused"];
    let text = collector.ask(&[&words[..], &["--format", "json"]].concat())?;
    let answer: Value = serde_json::from_str(&text)?;
    Ok(answer["alerts"].as_array().cloned().unwrap_or_default())
}

/// Notices of the rule in the file: alerts that began to fire, and that are over.
fn told(lab: &Lab) -> Result<(usize, usize)> {
    let file = lab.directory().join("alerts.jsonl");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let (mut firing, mut over) = (0, 0);
    for line in text.lines() {
        let notice: Value = serde_json::from_str(line)?;
        let count = |name: &str| {
            let all = notice[name].as_array().into_iter().flatten();
            all.filter(|one| one["rule"] == "lab-refused").count()
        };
        firing += count("firing");
        over += count("resolved");
    }
    Ok((firing, over))
}

/// A site with agents, a collector with the rule, and an Alertmanager beside it.
fn scene(lab: &Lab) -> Result<(Scene<'_>, Running)> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let place = lab.directory().join("rules");
    std::fs::create_dir(&place)?;
    std::fs::write(place.join("lab.toml"), RULES)?;
    let settings = format!(
        "[alerts]\nsettle = \"10s\"\nrules = \"{}\"\n\
         [alerts.outputs.file]\nkind = \"file\"\npath = \"{}\"\n\
         [alerts.outputs.manager]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"\n\
         every = \"2s\"\n",
        place.display(),
        lab.directory().join("alerts.jsonl").display(),
    );
    let mut collector = Collector::prepare(lab, &settings)?;
    let manager = manager(&collector)?;
    collector.start()?;
    let mut scene = Scene {
        lab,
        site,
        collector,
        agents: Vec::new(),
    };
    scene.start_with(
        &Settings::default().with("agent.interval", "\"5s\"")?,
        &Settings::default().with("agent.interval", "\"5s\"")?,
    )?;
    Ok((scene, manager))
}

fn goes_away(lab: &Lab) -> Result<()> {
    let (mut scene, _manager) = scene(lab)?;
    let mut server = serve(&scene.site)?;
    let client = &scene.site.clients[0];
    let to = scene.site.backend(0, Family::V4);
    let mut command = client.command(programs::python());
    command.args(["-c", CLIENT, &to.ip().to_string(), &to.port().to_string()]);
    let client = client.start("client", command)?;
    // So that the edge is known before it breaks.
    wait_until(SOON, "the edge", || {
        let edges = scene.collector.topology()?.edges.len();
        Ok((edges > 0).then_some(()))
    })?;
    server.kill()?;
    let firing = wait_until(JUDGED, "the alert", || {
        Ok(listed(&scene.collector, "firing")?.pop())
    })?;
    let id = firing["id"].as_str().context("an id")?.to_owned();
    ensure!(firing["severity"] == "critical", "{firing}");
    ensure!(firing["kind"] == "edge", "{firing}");
    let name = firing["name"].as_str().unwrap_or_default();
    ensure!(name.contains("shop"), "who calls: {name}");
    wait_until(SOON, "what is told of it", || {
        let has = managed(&scene.collector)?.len() == 1;
        Ok((has && told(lab)? == (1, 0)).then_some(()))
    })?;
    scene
        .collector
        .ask(&["alerts", "ack", &id, "--why", "looking"])?;
    let words = [
        "alerts",
        "list",
        "--rule",
        "lab-refused",
        "--fail-on",
        "critical",
    ];
    scene
        .collector
        .ask(&words)
        .context("somebody knows of it")?;
    // It is one alert, however long it lasts and though the collector starts again.
    ensure!(scene.collector.stop()?, "it ends well");
    scene.collector.start()?;
    let mended = serve(&scene.site)?;
    wait_until(JUDGED, "the end of the alert", || {
        let over = listed(&scene.collector, "resolved")?;
        Ok((over.len() == 1 && over[0]["id"] == firing["id"]).then_some(()))
    })?;
    wait_until(SOON, "what is told of its end", || {
        let gone = managed(&scene.collector)?.is_empty();
        Ok((gone && told(lab)? == (1, 1)).then_some(()))
    })?;
    let shown = scene
        .collector
        .ask(&["alerts", "show", &id, "--format", "json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let steps = shown["history"].as_array().context("a history")?;
    let of = |what: &str| steps.iter().filter(|step| step["what"] == what).count();
    ensure!(of("firing") == 1 && of("resolved") == 1, "once: {shown}");
    drop((client, mended));
    Ok(())
}
