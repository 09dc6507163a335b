//! `cargo xtask bench page`: how long the web page takes to show something and to answer, and what
//! its tab takes, for a small and a large site.
//!
//! A real `waybill-collector serve` with the page in it, filled through its API by agents of this
//! process; a headless Chromium that reaches nothing else (`collector/web/tests/page/bench.mjs`)
//! opens it, and prints what it measured.

#![forbid(unsafe_code)]

#[allow(dead_code, reason = "tests have clients with certificates as well")]
#[path = "../../../../collector/tests/suite/support/pki.rs"]
mod pki;
#[allow(dead_code, reason = "the bench of the collector measures more of it")]
#[path = "../server.rs"]
mod server;
mod site;
#[allow(dead_code, unreachable_pub, reason = "labs wait in more ways")]
#[path = "../../../../tests/src/lab/wait.rs"]
mod wait;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use collector::time;
use serde_json::Value;

use server::{READER, Server};
use site::Site;

/// How long the collector may take to join what it was told.
const JOINED: Duration = Duration::from_secs(300);

#[derive(Debug, Parser)]
#[command(about = "How long the web page takes, and what its tab takes", long_about = None)]
struct Arguments {
    /// Sizes of the site: nodes and edges, as `5000/20000`
    #[arg(long, value_delimiter = ',', default_value = "5/8,5000/20000", value_parser = size)]
    sites: Vec<(u32, u32)>,
    /// Minutes of traffic before the page is opened
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=60))]
    minutes: u32,
    /// Beats of live mode after which the tab is measured again: 360 are an hour
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(20..))]
    beats: u32,
    /// The collector that is measured
    #[arg(long)]
    collector: PathBuf,
    /// Sources of the page, with what npm installed
    #[arg(long)]
    web: PathBuf,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let expected = "expected nodes and edges such as 5000/20000";
    let (nodes, edges) = text.split_once('/').ok_or(expected)?;
    let pair = nodes.parse().ok().zip(edges.parse().ok());
    let fits = |(nodes, edges): &(u32, u32)| {
        (2..=10_000).contains(nodes) && (1..=nodes * site::CALLS.min(nodes - 1)).contains(edges)
    };
    let pair = pair.filter(fits);
    pair.ok_or_else(|| format!("{expected}, at most {} edges a node", site::CALLS))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut missed = false;
    for (nodes, edges) in &arguments.sites {
        missed |= !measure(&arguments, *nodes, *edges)?;
    }
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether every goal was met for a site of this size.
fn measure(arguments: &Arguments, nodes: u32, edges: u32) -> Result<bool> {
    let server = Server::start(&arguments.collector, "30d")?;
    let client = server.client()?;
    let mut answer = client.get(format!("https://{}/", server.at)).call()?;
    if answer.status().as_u16() == 404 {
        bail!(
            "{}: built without the web page",
            arguments.collector.display()
        );
    }
    answer.body_mut().read_to_string()?;
    let mut site = Site::new(nodes, edges);
    let end_ms = u64::try_from(time::now_ms())?;
    for minute in (0..arguments.minutes).rev() {
        site.minute(end_ms - u64::from(minute) * site::MINUTE_MS);
        site.send(&server)?;
    }
    // A collector that joins what it got would take the processor from what is measured.
    server.settle(JOINED)?;
    let (_, text) = server.ask(&client, "/api/v1/topology?from=-1h&limit=10000")?;
    let seen: Value = serde_json::from_str(&text).context("the topology")?;
    let count = |name: &str| seen[name].as_array().map_or(0, Vec::len);
    ensure!(
        (count("nodes"), count("edges")) == (usize::try_from(nodes)?, usize::try_from(edges)?),
        "the collector shows {} nodes and {} edges of {nodes} and {edges}",
        count("nodes"),
        count("edges")
    );
    let status = Command::new("node")
        .arg("tests/page/bench.mjs")
        .current_dir(&arguments.web)
        .env("WAYBILL_URL", format!("https://{}", server.at))
        .env("WAYBILL_TOKEN", READER)
        .env("WAYBILL_SITE", format!("{nodes} {edges}"))
        .env("WAYBILL_BEATS", arguments.beats.to_string())
        .status()
        .context("run node")?;
    Ok(status.success())
}
