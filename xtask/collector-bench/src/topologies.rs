//! What topologies take inside the collector: of an hour and of a day of a fleet, step by step.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use collector::accept::Opened;
use collector::api::{Asking, Given, TOPOLOGY};
use collector::joined::{self, Kept};
use collector::meter::Meter;
use collector::store::{Bounds, Reader, Store, Window};
use collector::{digest, escape};

use crate::agents;

const MINUTE_MS: i64 = 60_000;
/// What may be left out at the ends of a window.
const SPARE_MS: i64 = 2 * MINUTE_MS;

/// Shows it for a store that is there, or that is made of so many agents with so many edges.
pub(crate) fn run(path: &Path, (count, edges): (u32, u32), out: &mut dyn Write) -> Result<()> {
    let source = path.to_owned();
    if !path.exists() {
        fill(path, count, edges)?;
    }
    let mut reader = Reader::open(path)?;
    let to_ms = agents::OFFLINE_MS + 24 * 60 * MINUTE_MS;
    for (name, minutes) in [("hour", 60), ("day", 24 * 60)] {
        let window = Window {
            from_ms: to_ms - minutes * MINUTE_MS,
            to_ms,
        };
        let begin = Instant::now();
        let read = (window, SPARE_MS);
        let picture = joined::topology_about(&mut reader, window, read, Meter::unlimited())?;
        let took = begin.elapsed();
        writeln!(
            out,
            "{name}: {} nodes, {} edges, made in {took:.3?}, {} bytes",
            picture.node_count(),
            picture.edge_count(),
            picture.bytes(),
        )?;
        let begin = Instant::now();
        escape::json(&mut io::sink(), &picture)?;
        writeln!(out, "{name}: document in {:.3?}", begin.elapsed())?;
        drop(picture);
        let kept = Kept::new(1 << 30, std::sync::Arc::default());
        for more in ["", "", "&limit=200", "&group=service"] {
            let begin = Instant::now();
            let text = format!("from_ms={}&to_ms={to_ms}&max_age=2m{more}", window.from_ms);
            let parts = collector::api::parts(&text).map_err(|_| anyhow::anyhow!("a query"))?;
            let given = Given::of(TOPOLOGY.parameters, parts, to_ms);
            let given = given.map_err(|_| anyhow::anyhow!("parameters"))?;
            let asking = Asking {
                store: &source,
                given: &given,
                now_ms: to_ms,
                meter: Meter::unlimited(),
                kept: Some(&kept),
                beside: None,
            };
            let answer = TOPOLOGY.answer.context("an answer")?;
            let mut bytes = Vec::new();
            let answered = answer(&asking, &mut bytes);
            answered.map_err(|_| anyhow::anyhow!("no answer"))?;
            let (took, length) = (begin.elapsed(), bytes.len());
            writeln!(
                out,
                "{name}: asked with {more:?} in {took:.3?}, {length} bytes"
            )?;
        }
    }
    Ok(())
}

/// A day in each hour of which all agents ran for an interval, in each ten minutes of the last hour
/// and in each minute of the last ten; joined.
fn fill(path: &Path, count: u32, edges: u32) -> Result<()> {
    let mut store = Store::open(
        path,
        Bounds {
            max_bytes: 1 << 40,
            hosts: 100_000,
        },
    )?;
    let mut agents = agents::offline(count, edges)?;
    let pauses = [(23, 60), (5, 10), (10, 1)];
    for (times, minutes) in pauses {
        for _ in 0..times {
            let batches = agents.interval()?.into_iter();
            let opened: Vec<Opened> = batches.map(opened).collect();
            for part in opened.chunks(100) {
                let part: Vec<_> = part.iter().collect();
                let stored = store.put(&part, agents.now_ms);
                stored.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            agents.pause(minutes * MINUTE_MS - i64::try_from(fleet::INTERVAL_MS)?);
        }
    }
    let mut reader = Reader::open(path)?;
    let later_ms = agents.now_ms + 60 * MINUTE_MS;
    while let Some(finished) = joined::next(&mut reader, later_ms, Meter::unlimited())? {
        store.put_joined(&finished, later_ms)?;
    }
    Ok(())
}

fn opened(batch: wire::Batch) -> Opened {
    let bytes = wire::encode(&batch);
    Opened {
        digest: digest::sha256(&bytes),
        bytes: bytes.len(),
        batch,
        credential: None,
        payload: None,
    }
}
