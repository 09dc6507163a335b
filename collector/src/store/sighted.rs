//! Rows of a batch that say which connections were kept.

use rusqlite::{Connection, Result, params};
use wire::{Endpoint, Life, Role, SightingRow};

use super::block::{self, GoesOn, Kind, Lasting, Lastings, Sighted, Sightings};
use super::context::{Context, signed};
use super::flow::{BLOCK_ROWS, LATE_ROWS, Place};
use super::gone::gone;
use super::known::{FlowKey, Run, blocks_after};
use super::lasting::{self, Change};
use super::marks::{End, Marks};
use super::series::Late;
use super::tokens::Tokens;

/// Stores sightings, or what is new of them.
pub(super) fn put_sightings(
    place: Place<'_>,
    (run, tokens): (&mut Run, &mut Tokens),
    rows: &[SightingRow],
    (marks, late): (&mut Marks, &mut Late),
) -> Result<()> {
    let (db, context) = (place.db, place.context);
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for row in rows {
        let (key, port) = split(row.process_id, row.role, row.netns, row.local, row.remote);
        // It began and ended in this interval, so that nothing else is told of it.
        let is_short = row.life == Life::Ended
            && signed(row.start_us) / 1000 >= context.own_start_ms
            && row.start_us > 0;
        let told_ms = (row.life != Life::Unknown).then_some(context.end_ms);
        let Some(flow) = run.flow(db, context.boot, &key, told_ms)? else {
            late.refused += 1;
            continue;
        };
        let sighted = Sighted {
            flow,
            token: row.token,
            part: row.part as u8,
            answer: row.answer,
            kept: row.kept as u8,
            sample_level: row.sample_level,
            port,
            start_us: signed(row.start_us),
        };
        let is_told = !is_short && run.going.has(&lasting::key(&sighted));
        let end = End {
            port,
            is_told,
            goes_on_elsewhere: tokens.others(row.token, is_told),
        };
        marks.sighting(db, context, end, row)?;
        match row.life {
            _ if is_short => short.push(sighted),
            Life::Unknown => put_row(db, context, &sighted)?,
            Life::Ended if !is_told && marks.has_rows() && end_row(db, context, &sighted)? => {}
            life => long.push(Lasting {
                sighted,
                open: life == Life::Open,
                told: None,
            }),
        }
    }
    // One that is repeated in a batch is one.
    short.sort_unstable_by_key(lasting::order);
    short.dedup_by_key(|row| lasting::key(row));
    for rows in short.chunks(BLOCK_ROWS) {
        block::write(
            db,
            &place.head(),
            Kind::Sightings,
            &Sightings(rows.to_vec()),
        )?;
    }
    // What is told twice ends after it began.
    long.sort_unstable_by_key(|row| (lasting::order(&row.sighted), !row.open));
    long.dedup_by_key(|row| (lasting::key(&row.sighted), row.open));
    marks.goes_on = !run.going.is_empty();
    if place.is_newest {
        put_newest(place, (run, tokens), long, late)
    } else {
        put_between(place, (run, tokens), long, late)
    }
}

/// What the newest batch of a run tells of connections that outlive an interval.
fn put_newest(
    place: Place<'_>,
    (run, tokens): (&mut Run, &mut Tokens),
    mut rows: Vec<Lasting>,
    late: &mut Late,
) -> Result<()> {
    let context = place.context;
    for row in &mut rows {
        match run.going.apply((context.start_ms, context.end_ms), row) {
            Change::Began => tokens.add(row.sighted.token),
            Change::Ended => tokens.remove(row.sighted.token),
            Change::Full => late.unplaced += 1,
            Change::Nothing => {}
        }
    }
    let at = (context.sequence, context.end_ms);
    let gone_ms = gone(place.db)?.rows_ms;
    let goes_on = (run.told_going).tell(&run.going, at, rows.len(), gone_ms);
    if goes_on.is_some() {
        let flows = run.going.rows().map(|row| row.sighted.flow).collect();
        run.use_flows(&flows, context.end_ms);
    }
    write(place, rows, goes_on)
}

/// The same of one behind which others are there already: what they say follows from it.
fn put_between(
    place: Place<'_>,
    (run, tokens): (&mut Run, &mut Tokens),
    mut rows: Vec<Lasting>,
    late: &mut Late,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let (db, context) = (place.db, place.context);
    let mut going = lasting::at(db, context.boot, context.end_ms)?;
    for row in &mut rows {
        going.apply((context.start_ms, context.end_ms), row);
    }
    let (count, mut looked) = (rows.len() as u64, 0);
    write(place, rows, None)?;
    for blocks in blocks_after(db, context.boot, Some(context.sequence))? {
        for (head, was) in lasting::of_batch(db, blocks)? {
            looked += was.rows.len();
            if looked > LATE_ROWS {
                late.unplaced += count;
                return Ok(());
            }
            let mut all = was.clone();
            for row in &mut all.rows {
                going.apply((head.start_ms, head.end_ms), row);
            }
            if let Some(GoesOn::All(list)) = &mut all.goes_on {
                *list = going.list();
            }
            if all != was {
                block::rewrite(db, &head, &all)?;
            }
        }
    }
    tokens.replace(&run.going, &going);
    run.going = going;
    Ok(())
}

fn write(place: Place<'_>, rows: Vec<Lasting>, goes_on: Option<GoesOn>) -> Result<()> {
    let mut parts: Vec<Lastings> = rows
        .chunks(BLOCK_ROWS)
        .map(|rows| Lastings {
            rows: rows.to_vec(),
            goes_on: None,
        })
        .collect();
    if goes_on.is_some() && parts.is_empty() {
        parts.push(Lastings::default());
    }
    if let Some(last) = parts.last_mut() {
        last.goes_on = goes_on;
    }
    for part in &parts {
        block::write(place.db, &place.head(), Kind::Lasting, part)?;
    }
    Ok(())
}

/// Stores one of an agent that does not tell ends, or what is new of it: a window asks for the
/// newest ones of a flow.
fn put_row(db: &Connection, context: Context, row: &Sighted) -> Result<()> {
    // The interval that told of it first stays, whichever batch comes first.
    db.prepare_cached(
        "INSERT INTO sighting (token, flow_id, part, port, answer, kept, sample_level, start_us,
             first_ms, last_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (token, flow_id, part, port) DO UPDATE SET
             kept = min(kept, excluded.kept),
             sample_level = min(sample_level, excluded.sample_level),
             start_us = min(start_us, excluded.start_us),
             first_ms = min(first_ms, excluded.first_ms),
             last_ms = min(last_ms, excluded.last_ms)",
    )?
    .execute(params![
        row.token.cast_signed(),
        row.flow,
        row.part,
        row.port,
        row.answer,
        row.kept,
        row.sample_level,
        row.start_us,
        context.start_ms,
        context.end_ms,
    ])
    .map(drop)
}

/// Ends one that an older version stored as a row; whether there is one.
fn end_row(db: &Connection, context: Context, row: &Sighted) -> Result<bool> {
    let ended = db
        .prepare_cached(
            "UPDATE sighting SET ended_ms = min(coalesce(ended_ms, ?5), ?5)
             WHERE token = ?1 AND flow_id = ?2 AND part = ?3 AND port = ?4",
        )?
        .execute(params![
            row.token.cast_signed(),
            row.flow,
            row.part,
            row.port,
            context.end_ms
        ])?;
    Ok(ended > 0)
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
