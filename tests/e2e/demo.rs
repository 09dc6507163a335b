//! The demo itself: what a newcomer sees first must be true and leave nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::command;
use tests::lab::needs::Need;
use tests::lab::netns;
use tests::lab::process::Running;
use tests::lab::wait::wait_until;

use crate::case::{Case, case};

const NEEDS: &[Need] = &[
    Need::Program("nginx"),
    Need::Program("curl"),
    Need::Program("python3"),
];

pub(crate) const CASES: &[Case] = &[
    case("demo::once_ends_with_every_expected_edge", once).needing(NEEDS),
    case("demo::ctrl_c_removes_every_trace", ctrl_c).needing(NEEDS),
    case(
        "demo::site_ends_with_every_edge_verdict_and_the_alert",
        site_once,
    )
    .needing(NEEDS),
    case("demo::site_is_shown_until_ctrl_c", site_ctrl_c).needing(NEEDS),
];

/// Longer than the demo takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The same for a site: its alert takes two minutes at least.
const SITE_DEADLINE: Duration = Duration::from_secs(420);

/// A demo that runs, and its process. Whatever becomes of a trial, the demo removes what it made:
/// its labs are its own, so nobody else would.
struct Demo {
    running: Option<Running>,
    process: i32,
}

impl Demo {
    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the demo has ended")
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    fn end(&mut self) -> Result<()> {
        let mut demo = self.running.take().context("the demo has ended")?;
        demo.signal(Signal::SIGINT)?;
        let status = demo.wait(DEADLINE)?;
        ensure!(status.success(), "ended with {status}: {}", demo.errors()?);
        Ok(())
    }

    /// What it says, after it has ended by itself.
    fn report(mut self, deadline: Duration) -> Result<Value> {
        let demo = self.running()?;
        demo.wait(deadline)?;
        let demo = self.running.take().context("the demo has ended")?;
        Ok(serde_json::from_str(&demo.succeed(deadline)?)?)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.running.is_some() {
            // What a trial failed by is told by the trial.
            self.end().ok();
        }
    }
}

fn start(lab: &Lab, arguments: &[&str]) -> Result<Demo> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_waybill-demo"));
    let binaries = lab
        .binaries()
        .agent
        .parent()
        .context("a binary is in a directory")?;
    demo.args(arguments).env("WAYBILL_BIN_DIR", binaries);
    let running = Running::start(demo, &lab.directory().join("demo"))?;
    let process = running.pid().as_raw();
    Ok(Demo {
        running: Some(running),
        process,
    })
}

/// What is left of the labs of one process.
fn traces(lab: &Lab, process: i32) -> Result<Vec<String>> {
    let begin = format!("wblab-{process}-");
    let mut found = netns::list(&begin);
    for directory in [
        lab.tree().root.as_path(),
        Path::new("/tmp"),
        &std::env::temp_dir(),
    ] {
        for entry in std::fs::read_dir(directory)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&begin) {
                found.push(name);
            }
        }
    }
    Ok(found)
}

fn once(lab: &Lab) -> Result<()> {
    let demo = start(lab, &["--once", "--format", "json"])?;
    let process = demo.process;
    let report = demo.report(DEADLINE)?;
    ensure!(report["agrees"] == true, "{report}");
    let edges = report["topology"]["edges"].as_array().context("edges")?;
    ensure!(
        edges.len() == 4,
        "two backends by two IP versions: {report}"
    );
    for edge in edges {
        let kinds = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|entry| entry["kind"].as_str().map(str::to_owned))
                .collect()
        };
        ensure!(edge["client"] == "client1/checkout", "{edge}");
        ensure!(
            kinds(&edge["evidence"]).contains(&"token".to_owned()),
            "{edge}"
        );
        let via = kinds(&edge["via"]);
        ensure!(
            via.contains(&"vip".into()) && via.contains(&"nat".into()),
            "{edge}"
        );
    }
    let left = traces(lab, process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn ctrl_c(lab: &Lab) -> Result<()> {
    let mut demo = start(lab, &[])?;
    let process = demo.process;
    let running = demo.running()?;
    running.wait_for_output("connections counted by the programs", DEADLINE)?;
    ensure!(
        !traces(lab, process)?.is_empty(),
        "the demo runs without any trace"
    );
    let link = link(|| running.errors())?;
    logs_in_once(&link)?;
    demo.end()?;
    let left = traces(lab, process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// A site with agents, NAT, a declared matrix and a fault: what the demo says of itself, looked at.
fn site_once(lab: &Lab) -> Result<()> {
    let demo = start(lab, &["--site", "--once", "--format", "json"])?;
    let process = demo.process;
    let report = demo.report(SITE_DEADLINE)?;
    ensure!(report["agrees"] == true, "{report}");
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let edges = all(&report["topology"]["edges"]);
    let edge = edges
        .iter()
        .find(|edge| edge["client"] == "desk-1/browser" && edge["server"] == "web-1/nginx");
    let edge = edge.with_context(|| format!("no edge through both: {report}"))?;
    let via: Vec<_> = all(&edge["via"])
        .iter()
        .filter_map(|via| via["address"].as_str().map(str::to_owned))
        .collect();
    ensure!(
        via.len() == 2 && via.contains(&"10.9.0.80:80".into()) && via.contains(&"10.0.0.2".into()),
        "{edge}"
    );
    let flows = all(&report["matrix"]["flows"]);
    let guard = flows.iter().find(|flow| flow["id"] == "guard");
    ensure!(
        guard.is_some_and(|flow| flow["verdict"] == "violated"),
        "{report}"
    );
    let alerts = all(&report["alerts"]);
    let about = |host: &str| {
        let of = |alert: &&Value| alert["rule"] == "demo-resets";
        let mut named = alerts
            .iter()
            .filter(of)
            .filter_map(|one| one["name"].as_str());
        named.any(|name| name.contains(host))
    };
    ensure!(about("stock-2") && !about("stock-1"), "{report}");
    let left = traces(lab, process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn site_ctrl_c(lab: &Lab) -> Result<()> {
    let mut demo = start(lab, &["--site"])?;
    let process = demo.process;
    let running = demo.running()?;
    running.wait_for_output("Ctrl-C ends it", SITE_DEADLINE)?;
    logs_in_once(&link(|| running.output())?)?;
    // A block stands there when something has changed, alerts as well, with a link of its own.
    running.wait_for_output("now: stock-2 resets", DEADLINE)?;
    let blocks = running.output()?.matches("log in, once").count();
    ensure!(blocks >= 2, "{}", running.output()?);
    demo.end()?;
    let left = traces(lab, process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The first link that is shown.
fn link(said: impl Fn() -> Result<String>) -> Result<String> {
    wait_until(DEADLINE, "link of the page", || {
        let said = said()?;
        let line = said
            .lines()
            .find_map(|line| line.split_once("log in, once: "));
        Ok(line.map(|(_, link)| link.to_owned()))
    })
}

/// A link leads from this machine to the page, and logs in once.
fn logs_in_once(link: &str) -> Result<()> {
    let (url, link) = link.split_once("/#login=").context("no link")?;
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        // The certificate is the lab's own, for the address within the lab.
        curl.args(["--silent", "--show-error", "--insecure", "--max-time", "20"]);
        command::run(curl.args(arguments))
    };
    let page = curl(&[&format!("{url}/")])?;
    ensure!(
        page.contains("<!doctype html>") || page.contains("without the web page"),
        "{page}"
    );
    let login = [
        "--header",
        "Content-Type: application/json",
        "--header",
        "Sec-Fetch-Site: same-origin",
        "--data",
        &format!("{{\"link\":\"{link}\"}}"),
        "--write-out",
        " %{http_code}",
        &format!("{url}/api/v1/login"),
    ];
    let answer = curl(&login)?;
    ensure!(
        answer.ends_with(" 200") && answer.contains("\"demo\""),
        "{answer}"
    );
    let again = curl(&login)?;
    ensure!(again.ends_with(" 401"), "a link logs in once: {again}");
    Ok(())
}
