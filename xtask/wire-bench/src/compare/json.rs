//! The rows as JSON lines, with the names of the row structs.

use serde_json::{Map, Value, json};
use wire::{
    Batch, EdgeRow, Endpoint, EventRow, Histogram, HostRow, NatRow, ProcessRow, SightingRow,
};

/// One object per line.
pub(crate) fn lines(batch: &Batch) -> Vec<u8> {
    let rows = batch
        .edges
        .iter()
        .map(edge)
        .chain(batch.sightings.iter().map(sighting))
        .chain(batch.processes.iter().map(process))
        .chain(batch.hosts.iter().map(host))
        .chain(batch.events.iter().map(event))
        .chain(batch.nats.iter().map(nat));
    let mut out = Vec::new();
    for row in rows {
        out.extend_from_slice(row.to_string().as_bytes());
        out.push(b'\n');
    }
    out
}

fn histogram(histogram: &Histogram) -> Value {
    let filled = histogram
        .buckets
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    let buckets: Map<_, _> = filled
        .map(|(bucket, count)| (bucket.to_string(), json!(count)))
        .collect();
    json!({ "buckets": buckets, "sum_us": histogram.sum_us })
}

fn edge(row: &EdgeRow) -> Value {
    json!({
        "total": row.total, "process_id": row.process_id, "role": format!("{:?}", row.role),
        "local": row.local.to_string(), "remote": row.remote.to_string(), "netns": row.netns,
        "since_ms": row.since_ms, "opened": row.opened, "adopted": row.adopted, "closed": row.closed,
        "failed": row.failed, "refused": row.refused, "reset_local": row.reset_local,
        "reset_remote": row.reset_remote, "bytes_sent": row.bytes_sent,
        "bytes_received": row.bytes_received, "segments_sent": row.segments_sent,
        "segments_received": row.segments_received, "retransmits": row.retransmits,
        "out_of_order": row.out_of_order, "zero_windows": row.zero_windows,
        "connect_latency": histogram(&row.connect_latency), "rtt": histogram(&row.rtt),
        "absent": row.absent.bits(),
    })
}

fn sighting(row: &SightingRow) -> Value {
    json!({
        "token": row.token, "part": format!("{:?}", row.part), "answer": row.answer,
        "role": format!("{:?}", row.role), "kept": format!("{:?}", row.kept),
        "life": format!("{:?}", row.life), "sample_level": row.sample_level, "process_id": row.process_id,
        "local": row.local.to_string(), "remote": row.remote.to_string(), "netns": row.netns,
        "start_us": row.start_us,
    })
}

fn process(row: &ProcessRow) -> Value {
    json!({
        "process_id": row.process_id, "tgid": row.tgid, "started_ms": row.started_ms,
        "comm": row.comm, "exe": row.exe, "cgroup": row.cgroup, "container": row.container,
        "unit": row.unit, "service": row.service,
        "tags": row.tags.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn host(row: &HostRow) -> Value {
    json!({
        "hostname": row.hostname, "kernel": row.kernel, "agent": row.agent, "mode": row.mode,
        "plan": row.plan, "facts": row.facts, "paths_off": row.paths_off,
        "counters": row.counters, "started_ms": row.started_ms,
    })
}

fn event(row: &EventRow) -> Value {
    json!({
        "kind": format!("{:?}", row.kind), "time_us": row.time_us,
        "role": format!("{:?}", row.role), "process_id": row.process_id,
        "local": row.local.to_string(), "remote": row.remote.to_string(), "netns": row.netns,
        "token": row.token, "errno": row.errno, "duration_us": row.duration_us,
        "bytes_sent": row.bytes_sent, "bytes_received": row.bytes_received,
        "retransmits": row.retransmits,
    })
}

fn nat(row: &NatRow) -> Value {
    let ip = |addr| Endpoint { addr, port: 0 }.ip().to_string();
    json!({
        "netns": row.netns, "client": ip(row.client), "dialled": row.dialled.to_string(),
        "source": ip(row.source), "server": row.server.to_string(), "since_ms": row.since_ms,
        "opened": row.opened,
    })
}
