//! Rows of a batch that belong to flows: what edges counted, and sightings.

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::{EdgeRow, Endpoint, Life, Role, SightingRow};

use super::context::{Context, signed};
use super::sample::Flows;
use super::series::{self, Late, Series};
use crate::counters::Counters;

/// When a sighted connection ended that has not.
const STILL_OPEN: i64 = i64::MAX;

/// The key of a flow: endpoints without the ephemeral port, and that port.
struct FlowKey {
    process_id: u32,
    role: Role,
    netns: u32,
    local: Endpoint,
    remote: Endpoint,
}

/// Stores what one row of edges says of its subject.
pub(super) fn put_edge(
    db: &Connection,
    context: Context,
    row: &EdgeRow,
    late: &mut Late,
) -> Result<()> {
    let flow = put_flow(
        db,
        context,
        &FlowKey {
            process_id: row.process_id,
            role: row.role,
            netns: row.netns,
            local: row.local,
            remote: row.remote,
        },
    )?;
    let since_ms = signed(row.since_ms);
    let known: Option<Series> = db
        .prepare_cached(
            "SELECT id, last_ms, cut FROM subject WHERE flow_id = ?1 AND since_ms = ?2",
        )?
        .query_row([flow, since_ms], Series::of)
        .optional()?;
    let subject = match known {
        Some(subject) => subject,
        None => Series::new(
            db.prepare_cached(
                "INSERT INTO subject (flow_id, since_ms, last_ms, open) VALUES (?1, ?2, 0, 0)",
            )?
            .insert([flow, since_ms])?,
            context.is_cut(since_ms),
        ),
    };
    let counted = (row.total, Counters::from(row));
    let newest = series::put::<Flows>(db, context, subject, counted, late)?;
    db.prepare_cached(
        "UPDATE subject SET last_ms = max(last_ms, ?2), open = coalesce(?3, open), cut = ?4
         WHERE id = ?1",
    )?
    .execute(params![
        subject.id,
        context.end_ms,
        newest.map(|counters| signed(counters.open())),
        subject.cut && !row.total,
    ])?;
    Ok(())
}

/// Stores one sighting, or what is new of it.
pub(super) fn put_sighting(db: &Connection, context: Context, row: &SightingRow) -> Result<()> {
    let (key, port) = split(row.process_id, row.role, row.netns, row.local, row.remote);
    let flow = put_flow(db, context, &key)?;
    // An agent repeats the sighting of what outlived its interval when it ends: nothing is added,
    // and the interval that told of it first stays, whichever batch comes first. The
    // lowest `kept` is "sampled", and the lowest level is the one of when it began.
    db.prepare_cached(
        "INSERT INTO sighting (token, flow_id, part, port, answer, kept, sample_level, start_us,
             first_ms, last_ms, ended_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (token, flow_id, part, port) DO UPDATE SET
             kept = min(kept, excluded.kept),
             sample_level = min(sample_level, excluded.sample_level),
             start_us = min(start_us, excluded.start_us),
             first_ms = min(first_ms, excluded.first_ms),
             last_ms = min(last_ms, excluded.last_ms),
             ended_ms = min(coalesce(ended_ms, excluded.ended_ms),
                 coalesce(excluded.ended_ms, ended_ms))",
    )?
    .execute(params![
        row.token.cast_signed(),
        flow,
        row.part as u8,
        port,
        row.answer,
        row.kept as u8,
        row.sample_level,
        signed(row.start_us),
        context.start_ms,
        context.end_ms,
        match row.life {
            Life::Unknown => None,
            Life::Open => Some(STILL_OPEN),
            Life::Ended => Some(context.end_ms),
        },
    ])?;
    Ok(())
}

/// The flow's id, made when it is new.
fn put_flow(db: &Connection, context: Context, key: &FlowKey) -> Result<i64> {
    let values = params![
        context.boot,
        key.process_id,
        key.role as u8,
        key.netns,
        key.local.addr,
        key.local.port,
        key.remote.addr,
        key.remote.port,
    ];
    let known: Option<i64> = db
        .prepare_cached(
            "SELECT id FROM flow WHERE boot_id = ?1 AND process_id = ?2 AND role = ?3
                 AND netns = ?4 AND local_addr = ?5 AND local_port = ?6 AND remote_addr = ?7
                 AND remote_port = ?8",
        )?
        .query_row(values, |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    db.prepare_cached(
        "INSERT INTO flow (boot_id, process_id, role, netns, local_addr, local_port, remote_addr,
             remote_port)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .insert(values)
}

/// Takes the ephemeral port out of a connection's addresses: what is left names its flow.
fn split(
    process_id: u32,
    role: Role,
    netns: u32,
    mut local: Endpoint,
    mut remote: Endpoint,
) -> (FlowKey, u16) {
    let ephemeral = match role {
        Role::Client => &mut local.port,
        Role::Server => &mut remote.port,
    };
    let port = std::mem::take(ephemeral);
    let key = FlowKey {
        process_id,
        role,
        netns,
        local,
        remote,
    };
    (key, port)
}
