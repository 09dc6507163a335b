//! What people ask while batches arrive, and how long they wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::agents::{Agents, Rows, Sent};
use crate::progress::progress;
use crate::server::Server;

/// What has a goal: the map of the page, which takes one that is up to two minutes old.
pub(crate) const HOUR: &str = "map of an hour, 2m old";
pub(crate) const DAY: &str = "map of a day, 2m old";
/// The same of the very moment.
pub(crate) const HOUR_NOW: &str = "map of an hour, now";
pub(crate) const DAY_NOW: &str = "map of a day, now";

/// How often each is asked.
const TIMES: usize = 8;

/// How long a question took.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Waited {
    pub(crate) name: &'static str,
    pub(crate) status: u16,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) answer_bytes: usize,
}

/// Asks each question several times while the agents go on.
pub(crate) fn ask(server: &Server, agents: &mut Agents) -> Result<(Vec<Waited>, Sent)> {
    let now_ms = agents.now_ms;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let asked = all(server, now_ms);
            over.store(true, Ordering::Relaxed);
            asked
        });
        let mut sent = Sent::default();
        // As agents do: each once in an interval.
        let interval = Duration::from_millis(fleet::INTERVAL_MS);
        while !over.load(Ordering::Relaxed) {
            sent.add(&agents.interval_within(Rows::All, interval)?);
        }
        match asking.join() {
            Ok(asked) => Ok((asked?, sent)),
            Err(_) => anyhow::bail!("the thread that asks ended"),
        }
    })
}

fn all(server: &Server, now_ms: i64) -> Result<Vec<Waited>> {
    let client = server.client()?;
    let window = |minutes: i64| {
        let from_ms = now_ms - minutes * 60_000;
        format!("/api/v1/topology?from_ms={from_ms}&to_ms={now_ms}")
    };
    // As the page asks.
    let map = |minutes: i64| format!("/api/v1/topology?from=-{minutes}m&limit=200");
    let older = |minutes: i64| format!("{}&max_age=2m", map(minutes));
    let hour = "from=-1h&max_age=2m";
    let node = node(server, &client, &older(60))?;
    let questions = [
        ("topology of a minute", window(1)),
        (HOUR, older(60)),
        (DAY, older(24 * 60)),
        (HOUR_NOW, map(60)),
        (DAY_NOW, map(24 * 60)),
        ("whole document of an hour, now", window(60)),
        ("whole document of a day, now", window(24 * 60)),
        (
            "whole document of an hour, 2m old",
            format!("/api/v1/topology?{hour}"),
        ),
        (
            "groups of an hour, 2m old",
            format!("/api/v1/topology?{hour}&group=service"),
        ),
        ("a node of an hour", format!("/api/v1/nodes/{node}?{hour}")),
        (
            "search in an hour",
            format!("/api/v1/search?q=nginx&{hour}"),
        ),
        ("hosts", String::from("/api/v1/hosts")),
    ];
    questions
        .into_iter()
        .map(|(name, path)| one(server, &client, name, &path))
        .collect()
}

/// The key of a node; where there is no answer, of none, whose own answer shows that.
fn node(server: &Server, client: &ureq::Agent, topology: &str) -> Result<String> {
    let (_, text) = server.ask(client, topology)?;
    let document: serde_json::Value = serde_json::from_str(&text)?;
    let key = document["nodes"][0]["key"].as_str();
    Ok(key.map_or_else(|| String::from("none"), String::from))
}

fn one(server: &Server, client: &ureq::Agent, name: &'static str, path: &str) -> Result<Waited> {
    let mut waited = Vec::new();
    let mut last = (0, 0);
    for _ in 0..TIMES {
        let begin = Instant::now();
        let (status, body) = server.ask(client, path)?;
        waited.push(begin.elapsed());
        if status >= 400 && waited.len() == 1 {
            progress(&format!("{name}: {status} {body}"));
        }
        last = (status, body.len());
        // Those that take long are asked less often.
        if begin.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    waited.sort();
    let at = |per_cent: usize| {
        let rank = (waited.len() * per_cent).div_ceil(100).max(1) - 1;
        waited[rank].as_secs_f64() * 1000.0
    };
    Ok(Waited {
        name,
        status: last.0,
        p50_ms: at(50),
        p95_ms: at(95),
        answer_bytes: last.1,
    })
}
