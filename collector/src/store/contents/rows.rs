//! The rows of some batches of a run.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};
use wire::{EdgeRow, Endpoint, HostRow, Kept, Life, NatRow, Part, Role, SightingRow};

use super::chunk::Chunk;
use crate::counters::Counters;
use crate::store::block::{self, Edge, Edges, Kind, Lastings, Sighted, Sightings};
use crate::store::edges::subject;
use crate::store::{described, row};

/// Puts their rows into the batches of a chunk.
pub(super) fn fill(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    blocks(db, chunk)?;
    lasting(db, chunk)?;
    nats(db, chunk)?;
    processes(db, chunk)?;
    host(db, chunk)?;
    let range = (chunk.after_ms, chunk.upto_ms());
    for (end_ms, table) in described::series_told(db, chunk.run, range)? {
        if let Some(batch) = chunk.at_end(end_ms) {
            drop(batch.put(table));
        }
    }
    Ok(())
}

/// A flow without the port that it does not hold.
#[derive(Clone, Copy)]
struct Ends {
    process_id: u32,
    role: Role,
    netns: u32,
    local: Endpoint,
    remote: Endpoint,
}

/// Flows that were looked up.
struct Flows<'a> {
    db: &'a Connection,
    known: HashMap<i64, Option<Ends>>,
}

impl Flows<'_> {
    /// `None` where it was evicted.
    fn get(&mut self, id: i64) -> Result<Option<Ends>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let found = self
            .db
            .prepare_cached(
                "SELECT process_id, role, netns, local_addr, local_port, remote_addr, remote_port
                 FROM flow WHERE id = ?1",
            )?
            .query_row([id], |row| ends(row, 0))
            .optional()?;
        self.known.insert(id, found);
        Ok(found)
    }
}

fn ends(row: &Row<'_>, at: usize) -> Result<Ends> {
    let role: u8 = row.get(at + 1)?;
    let endpoint = |at| {
        Ok::<_, rusqlite::Error>(Endpoint {
            addr: row.get(at)?,
            port: row.get(at + 1)?,
        })
    };
    Ok(Ends {
        process_id: row.get(at)?,
        role: if role == Role::Client as u8 {
            Role::Client
        } else {
            Role::Server
        },
        netns: row.get(at + 2)?,
        local: endpoint(at + 3)?,
        remote: endpoint(at + 5)?,
    })
}

impl Ends {
    fn edge(&self, edge: &Edge, since_ms: i64) -> EdgeRow {
        let absent = row::columns(edge.absent).unwrap_or_default();
        let (total, values) = match &edge.told {
            Some(told) => (true, &**told),
            None => (false, &edge.added),
        };
        let Counters {
            plain,
            connect_latency,
            rtt,
            ..
        } = values.counters(absent).counters();
        let [
            opened,
            closed,
            failed,
            refused,
            reset_local,
            reset_remote,
            bytes_sent,
            bytes_received,
            segments_sent,
            segments_received,
            retransmits,
            out_of_order,
            zero_windows,
            adopted,
        ] = plain;
        EdgeRow {
            total,
            process_id: self.process_id,
            role: self.role,
            local: self.local,
            remote: self.remote,
            netns: self.netns,
            since_ms: u64::try_from(since_ms).unwrap_or(0),
            opened,
            adopted,
            closed,
            failed,
            refused,
            reset_local,
            reset_remote,
            bytes_sent,
            bytes_received,
            segments_sent,
            segments_received,
            retransmits,
            out_of_order,
            zero_windows,
            connect_latency,
            rtt,
            absent,
        }
    }

    /// The inverse of what takes the port out of it.
    fn sighting(&self, sighted: &Sighted, life: Life) -> SightingRow {
        let (mut local, mut remote) = (self.local, self.remote);
        match self.role {
            Role::Client => local.port = sighted.port,
            Role::Server => remote.port = sighted.port,
        }
        SightingRow {
            token: sighted.token,
            part: match sighted.part {
                0 => Part::Wrote,
                1 => Part::Read,
                _ => Part::Sequence,
            },
            answer: sighted.answer,
            role: self.role,
            kept: match sighted.kept {
                1 => Kept::Abnormal,
                2 => Kept::LongLived,
                3 => Kept::First,
                4 => Kept::Adopted,
                _ => Kept::Sampled,
            },
            life,
            sample_level: sighted.sample_level,
            process_id: self.process_id,
            local,
            remote,
            netns: self.netns,
            start_us: u64::try_from(sighted.start_us).unwrap_or(0),
        }
    }
}

/// Takes each row that a statement finds.
fn each(
    db: &Connection,
    sql: &str,
    given: impl Params,
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(given)?;
    while let Some(row) = found.next()? {
        take(row)?;
    }
    Ok(())
}

/// What edges counted, connections, and events.
fn blocks(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    let mut flows = Flows {
        db,
        known: HashMap::new(),
    };
    for head in &mut chunk.heads {
        let Some(range) = head.blocks else { continue };
        for found in block::in_order(db, Kind::Edges, range)? {
            head.start_ms = found.start_ms;
            for edge in block::read::<Edges>(db, &found)?.rows {
                if let Some((flow, since_ms)) = subject(db, edge.subject)?
                    && let Some(ends) = flows.get(flow)?
                {
                    head.batch.edges.push(ends.edge(&edge, since_ms));
                }
            }
        }
        for found in block::in_order(db, Kind::Sightings, range)? {
            head.start_ms = found.start_ms;
            for sighted in block::read::<Sightings>(db, &found)?.0 {
                if let Some(ends) = flows.get(sighted.flow)? {
                    let row = ends.sighting(&sighted, Life::Ended);
                    head.batch.sightings.push(row);
                }
            }
        }
        for found in block::in_order(db, Kind::Lasting, range)? {
            head.start_ms = found.start_ms;
            for row in block::read::<Lastings>(db, &found)?.rows {
                if let Some(ends) = flows.get(row.sighted.flow)? {
                    let life = if row.open { Life::Open } else { Life::Ended };
                    head.batch.sightings.push(ends.sighting(&row.sighted, life));
                }
            }
        }
        for table in described::events_told(db, range)? {
            drop(head.batch.put(table));
        }
    }
    Ok(())
}

/// Connections of agents that tell no ends, and of older stores: when they were told first, and when
/// they ended.
fn lasting(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    let sql = "SELECT process_id, role, netns, local_addr, local_port, remote_addr, remote_port,
             token, part, answer, kept, sample_level, port, start_us, sighting.last_ms, ended_ms
         FROM flow JOIN sighting ON flow_id = flow.id
         WHERE boot_id = ?1 AND (sighting.last_ms > ?2 AND sighting.last_ms <= ?3
             OR ended_ms > ?2 AND ended_ms <= ?3)";
    let (after_ms, upto_ms) = (chunk.after_ms, chunk.upto_ms());
    let within = |ms: &i64| *ms > after_ms && *ms <= upto_ms;
    each(db, sql, [chunk.run, after_ms, upto_ms], |row| {
        let ends = ends(row, 0)?;
        let sighted = Sighted {
            flow: 0,
            token: row.get::<_, i64>(7)?.cast_unsigned(),
            part: row.get(8)?,
            answer: row.get(9)?,
            kept: row.get(10)?,
            sample_level: row.get(11)?,
            port: row.get(12)?,
            start_us: row.get(13)?,
        };
        let (told_ms, ended_ms): (i64, Option<i64>) = (row.get(14)?, row.get(15)?);
        let life = match ended_ms {
            None => Life::Unknown,
            Some(ended_ms) if ended_ms <= told_ms => Life::Ended,
            Some(_) => Life::Open,
        };
        if within(&told_ms)
            && let Some(batch) = chunk.at_end(told_ms)
        {
            batch.sightings.push(ends.sighting(&sighted, life));
        }
        if life == Life::Open
            && let Some(ended_ms) = ended_ms.filter(within)
            && let Some(batch) = chunk.at_end(ended_ms)
        {
            batch.sightings.push(ends.sighting(&sighted, Life::Ended));
        }
        Ok(())
    })
}

fn nats(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    let sql = "SELECT netns, client, dialled_addr, dialled_port, source, server_addr, server_port,
             since_ms, end_ms, total, opened,
             (SELECT opened FROM nat_sample AS earlier WHERE earlier.nat_id = nat.id
                  AND earlier.end_ms < its.end_ms ORDER BY earlier.end_ms DESC LIMIT 1)
         FROM nat JOIN nat_sample AS its ON its.nat_id = nat.id
         WHERE boot_id = ?1 AND its.end_ms > ?2 AND its.end_ms <= ?3";
    let given = [chunk.run, chunk.after_ms, chunk.upto_ms()];
    each(db, sql, given, |row| {
        let number = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        let (total, opened) = (row.get(9)?, number(10)?);
        let before: Option<i64> = row.get(11)?;
        let before = u64::try_from(before.unwrap_or(0)).unwrap_or(0);
        let nat = NatRow {
            total,
            netns: row.get(0)?,
            client: row.get(1)?,
            dialled: Endpoint {
                addr: row.get(2)?,
                port: row.get(3)?,
            },
            source: row.get(4)?,
            server: Endpoint {
                addr: row.get(5)?,
                port: row.get(6)?,
            },
            since_ms: number(7)?,
            opened: if total {
                opened
            } else {
                opened.saturating_sub(before)
            },
        };
        if let Some(batch) = chunk.at_end(row.get(8)?) {
            batch.nats.push(nat);
        }
        Ok(())
    })
}

/// A host row as the store has it.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Report {
    kernel: String,
    agent: String,
    mode: String,
    plan: Vec<(String, String)>,
    facts: Vec<(String, String)>,
    paths_off: Vec<(String, String)>,
    counters: Vec<(String, u64)>,
    started_ms: u64,
}

fn processes(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    let sql =
        "SELECT process_id, last_ms, tgid, started_ms, comm, exe, cgroup, container, unit, service,
             tags, sequence
         FROM process WHERE boot_id = ?1 AND sequence >= ?2 AND sequence <= ?3";
    let (first, last) = chunk.sequences();
    each(db, sql, [chunk.run, first, last], |row| {
        let process = row::process(row)?.row;
        if let Some(batch) = chunk.numbered(row.get(11)?) {
            batch.processes.push(process);
        }
        Ok(())
    })
}

/// What a host said of itself last, where this run did.
fn host(db: &Connection, chunk: &mut Chunk) -> Result<()> {
    let (first, last) = chunk.sequences();
    let found: Option<(i64, String, String)> = db
        .prepare_cached(
            "SELECT report_sequence, hostname, report FROM host
             WHERE report_boot_id = ?1 AND report_sequence >= ?2 AND report_sequence <= ?3",
        )?
        .query_row(params![chunk.run, first, last], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((sequence, hostname, report)) = found else {
        return Ok(());
    };
    // One that was too long was left out.
    let report: Report = serde_json::from_str(&report).unwrap_or_default();
    if let Some(batch) = chunk.numbered(sequence) {
        batch.hosts.push(HostRow {
            hostname,
            kernel: report.kernel,
            agent: report.agent,
            mode: report.mode,
            plan: report.plan,
            facts: report.facts,
            paths_off: report.paths_off,
            counters: report.counters,
            started_ms: report.started_ms,
        });
    }
    Ok(())
}
