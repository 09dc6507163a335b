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
];

/// Longer than the demo takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

fn start(lab: &Lab, arguments: &[&str]) -> Result<Running> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_waybill-demo"));
    let binaries = lab
        .binaries()
        .agent
        .parent()
        .context("a binary is in a directory")?;
    demo.args(arguments).env("WAYBILL_BIN_DIR", binaries);
    Running::start(demo, &lab.directory().join("demo"))
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
    let process = demo.pid().as_raw();
    let report: Value = serde_json::from_str(&demo.succeed(DEADLINE)?)?;
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
    let process = demo.pid().as_raw();
    demo.wait_for_output("connections counted by the programs", DEADLINE)?;
    ensure!(
        !traces(lab, process)?.is_empty(),
        "the demo runs without any trace"
    );
    the_link_logs_in(&mut demo)?;
    demo.signal(Signal::SIGINT)?;
    let status = demo.wait(DEADLINE)?;
    ensure!(status.success(), "ended with {status}: {}", demo.errors()?);
    let left = traces(lab, process)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The link that is shown leads from this machine to the page, and logs in once.
fn the_link_logs_in(demo: &mut Running) -> Result<()> {
    let mark = "log in, once: ";
    let line = wait_until(DEADLINE, "link of the page", || {
        let said = demo.errors()?;
        let line = said.lines().find_map(|line| line.split_once(mark));
        Ok(line.map(|(_, link)| link.to_owned()))
    })?;
    let (url, link) = line.split_once("/#login=").context("no link")?;
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
