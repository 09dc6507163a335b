//! Rows of a batch that say which connections were kept.

use rusqlite::{Connection, Result, params};
use wire::{Endpoint, Life, Role, SightingRow};

use super::block::{self, Kind, Sighted, Sightings};
use super::context::{Context, signed};
use super::flow::{BLOCK_ROWS, Place};
use super::known::{FlowKey, Run};
use super::marks::{End, Marks};
use super::series::Late;

/// When a sighted connection ended that has not.
const STILL_OPEN: i64 = i64::MAX;

/// Stores sightings, or what is new of them.
pub(super) fn put_sightings(
    place: Place<'_>,
    run: &mut Run,
    rows: &[SightingRow],
    (marks, late): (&mut Marks, &mut Late),
) -> Result<()> {
    let (db, context) = (place.db, place.context);
    for rows in rows.chunks(BLOCK_ROWS) {
        let mut short = Vec::new();
        for row in rows {
            let (key, port) = split(row.process_id, row.role, row.netns, row.local, row.remote);
            // It began and ended in this interval, so that nothing else is told of it.
            let is_short = row.life == Life::Ended
                && signed(row.start_us) / 1000 >= context.own_start_ms
                && row.start_us > 0;
            let told_ms = is_short.then_some(context.end_ms);
            let Some(flow) = run.flow(db, context.boot, &key, told_ms)? else {
                late.refused += 1;
                continue;
            };
            let end = End { port, is_short };
            marks.sighting(db, context, end, row)?;
            if !is_short {
                put_sighting(db, context, row, (flow, port))?;
                continue;
            }
            short.push(Sighted {
                flow,
                token: row.token,
                part: row.part as u8,
                answer: row.answer,
                kept: row.kept as u8,
                sample_level: row.sample_level,
                port,
                start_us: signed(row.start_us),
            });
        }
        // One that is repeated in a batch is one.
        short.sort_unstable_by_key(|row| (row.flow, row.start_us, row.token, row.part, row.port));
        short.dedup_by_key(|row| (row.flow, row.token, row.part, row.port));
        if !short.is_empty() {
            block::write(db, &place.head(), Kind::Sightings, &Sightings(short))?;
        }
    }
    Ok(())
}

/// Stores one sighting of a connection that outlives the interval, or what is new of it.
fn put_sighting(
    db: &Connection,
    context: Context,
    row: &SightingRow,
    (flow, port): (i64, u16),
) -> Result<()> {
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
    ])
    .map(drop)
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
        role: role as u8,
        netns,
        local,
        remote,
    };
    (key, port)
}
