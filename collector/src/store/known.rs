//! What is known of the runs that report: their flows and subjects, and what each counted so far.
//!
//! It is kept in memory, for as many subjects as there is room for, and written to `subject` once
//! in [`FLUSH`] batches of a run; what came since is in blocks, from which it is made anew. So a
//! batch writes what it brings and nothing else.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Result, params};
use wire::Endpoint;

use super::block::{self, Edges, Kind, Lastings, Open, Sightings, Values, pack, unpack};
use super::context::Context;
use super::lasting::{self, Going, Told};

/// Batches of a run after which what is known is written.
const FLUSH: u32 = if cfg!(test) { 3 } else { 64 };
/// Most flows of a run, and most subjects: rows of further ones are refused.
const MOST: usize = if cfg!(test) { 30_000 } else { 200_000 };
/// What is open is told anew when this begins; milliseconds.
const OPEN_EVERY_MS: i64 = 60_000;
/// The key of a flow: endpoints without the ephemeral port, and that port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    pub(super) process_id: u32,
    pub(super) role: u8,
    pub(super) netns: u32,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    id: i64,
    /// The end of the interval that told of it last in a block of sightings.
    last_ms: i64,
    changed: bool,
}

/// A flow's counters since they began at zero.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) id: i64,
    pub(super) last_ms: i64,
    /// Earlier rows were evicted, and no total was told since.
    pub(super) cut: bool,
    pub(super) absent: u64,
    /// [`pack`]ed.
    known: Box<[u8]>,
    open: i64,
    changed: bool,
}

impl Subject {
    pub(super) fn known(&self) -> Values {
        // Written by `set` and checked when it was read.
        unpack(&self.known).unwrap_or_default()
    }

    pub(super) fn set(&mut self, known: &Values) {
        (self.known, self.open) = (pack(known).into(), known.open());
        self.changed = true;
    }

    /// Something was counted in an interval that ended then.
    pub(super) fn touch(&mut self, end_ms: i64) {
        self.last_ms = self.last_ms.max(end_ms);
        self.changed = true;
    }
}

/// A run of an agent.
#[derive(Debug, Default)]
pub(super) struct Run {
    flows: HashMap<FlowKey, Flow>,
    pub(super) subjects: HashMap<(i64, i64), Subject>,
    /// Batches since it was written.
    unwritten: u32,
    /// It must be written with the batch at hand: what came cannot be made anew from blocks.
    pub(super) must_write: bool,
    /// Up to when it was said what is open.
    told_open_ms: Option<i64>,
    /// Its connections that outlive an interval.
    pub(super) going: Going,
    pub(super) told_going: Told,
    /// What is on disk counts.
    pub(super) is_stale: bool,
    /// The turn in which it was asked for last.
    pub(super) used: u64,
}

impl Run {
    /// Reads what was written of it, and what came since.
    pub(super) fn read(db: &Connection, boot: i64) -> Result<Self> {
        let mut run = Self::default();
        run.read_flows(db, boot)?;
        run.read_subjects(db, boot)?;
        run.going = lasting::at(db, boot, i64::MAX)?;
        let mut newest_ms = i64::MIN;
        let mut flows: HashMap<i64, i64> = HashMap::new();
        let mut by_id: HashMap<i64, (Values, i64, u64)> = HashMap::new();
        let blocks = blocks_after(db, boot, None)?;
        run.unwritten = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        for blocks in blocks {
            for head in block::in_order(db, Kind::Edges, blocks)? {
                for row in block::read::<Edges>(db, &head)?.rows {
                    let (values, last_ms, absent) = by_id.entry(row.subject).or_default();
                    values.add(&row.added);
                    *last_ms = head.end_ms.max(*last_ms);
                    *absent |= row.absent;
                }
            }
            for head in block::in_order(db, Kind::Sightings, blocks)? {
                for row in block::read::<Sightings>(db, &head)?.0 {
                    let last_ms = flows.entry(row.flow).or_default();
                    *last_ms = head.end_ms.max(*last_ms);
                }
            }
            for head in block::in_order(db, Kind::Lasting, blocks)? {
                for row in block::read::<Lastings>(db, &head)?.rows {
                    let last_ms = flows.entry(row.sighted.flow).or_default();
                    *last_ms = head.end_ms.max(*last_ms);
                }
                newest_ms = head.end_ms.max(newest_ms);
            }
        }
        for row in run.going.rows() {
            let last_ms = flows.entry(row.sighted.flow).or_default();
            *last_ms = newest_ms.max(*last_ms);
        }
        for subject in run.subjects.values_mut() {
            if let Some((added, last_ms, absent)) = by_id.get(&subject.id) {
                let mut known = subject.known();
                known.add(added);
                subject.set(&known);
                subject.touch(*last_ms);
                subject.absent |= absent;
            }
        }
        for flow in run.flows.values_mut() {
            if let Some(last_ms) = flows.get(&flow.id) {
                (flow.last_ms, flow.changed) = ((*last_ms).max(flow.last_ms), true);
            }
        }
        Ok(run)
    }

    fn read_flows(&mut self, db: &Connection, boot: i64) -> Result<()> {
        let mut statement = db.prepare_cached(
            "SELECT id, last_ms, process_id, role, netns, local_addr, local_port, remote_addr,
                 remote_port
             FROM flow WHERE boot_id = ?1",
        )?;
        let mut rows = statement.query([boot])?;
        while let Some(row) = rows.next()? {
            let key = FlowKey {
                process_id: row.get(2)?,
                role: row.get(3)?,
                netns: row.get(4)?,
                local: Endpoint {
                    addr: row.get(5)?,
                    port: row.get(6)?,
                },
                remote: Endpoint {
                    addr: row.get(7)?,
                    port: row.get(8)?,
                },
            };
            let flow = Flow {
                id: row.get(0)?,
                last_ms: row.get(1)?,
                changed: false,
            };
            self.flows.insert(key, flow);
        }
        Ok(())
    }

    fn read_subjects(&mut self, db: &Connection, boot: i64) -> Result<()> {
        let mut statement = db.prepare_cached(
            "SELECT subject.flow_id, subject.since_ms, subject.id, subject.last_ms, subject.cut,
                 subject.absent, subject.known
             FROM flow JOIN subject ON subject.flow_id = flow.id WHERE flow.boot_id = ?1",
        )?;
        let mut rows = statement.query([boot])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(6)?.as_blob()?;
            let known = unpack(bytes).ok_or_else(|| {
                let what = "counters that cannot be read";
                let kind = rusqlite::types::Type::Blob;
                rusqlite::Error::FromSqlConversionFailure(6, kind, what.into())
            })?;
            let absent: i64 = row.get(5)?;
            let subject = Subject {
                id: row.get(2)?,
                last_ms: row.get(3)?,
                cut: row.get(4)?,
                absent: absent.unsigned_abs(),
                known: bytes.into(),
                open: known.open(),
                changed: false,
            };
            self.subjects.insert((row.get(0)?, row.get(1)?), subject);
        }
        Ok(())
    }

    /// The flow's number, made when it is new; `None` where it is one too many. `told_ms`: a block tells of it in the interval that
    /// ends then.
    pub(super) fn flow(
        &mut self,
        db: &Connection,
        boot: i64,
        key: &FlowKey,
        told_ms: Option<i64>,
    ) -> Result<Option<i64>> {
        if let Some(flow) = self.flows.get_mut(key) {
            if let Some(told_ms) = told_ms.filter(|told_ms| *told_ms > flow.last_ms) {
                (flow.last_ms, flow.changed) = (told_ms, true);
            }
            return Ok(Some(flow.id));
        }
        if self.flows.len() >= MOST {
            return Ok(None);
        }
        let last_ms = told_ms.unwrap_or(0);
        let id = db
            .prepare_cached(
                "INSERT INTO flow (boot_id, process_id, role, netns, local_addr, local_port,
                     remote_addr, remote_port, last_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert(params![
                boot,
                key.process_id,
                key.role,
                key.netns,
                key.local.addr,
                key.local.port,
                key.remote.addr,
                key.remote.port,
                last_ms,
            ])?;
        let flow = Flow {
            id,
            last_ms,
            changed: false,
        };
        self.flows.insert(*key, flow);
        Ok(Some(id))
    }

    /// What a flow counts since `since_ms`, made when it is new; `None` where it is one too many.
    pub(super) fn subject(
        &mut self,
        db: &Connection,
        context: Context,
        (flow, since_ms): (i64, i64),
        absent: u64,
    ) -> Result<Option<&mut Subject>> {
        use std::collections::hash_map::Entry;
        let is_full = self.subjects.len() >= MOST;
        match self.subjects.entry((flow, since_ms)) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(_) if is_full => Ok(None),
            Entry::Vacant(new) => {
                let cut = context.is_cut(since_ms);
                let id = db
                    .prepare_cached(
                        "INSERT INTO subject (flow_id, since_ms, last_ms, open, cut, absent)
                         VALUES (?1, ?2, ?3, 0, ?4, ?5)",
                    )?
                    .insert(params![
                        flow,
                        since_ms,
                        context.end_ms,
                        cut,
                        i64::try_from(absent).unwrap_or(0),
                    ])?;
                Ok(Some(new.insert(Subject {
                    id,
                    last_ms: context.end_ms,
                    cut,
                    absent,
                    known: Box::default(),
                    open: 0,
                    changed: true,
                })))
            }
        }
    }

    /// A subject by the key with which it was found.
    pub(super) fn known(&mut self, key: &(i64, i64)) -> Option<&mut Subject> {
        self.subjects.get_mut(key)
    }

    /// What is open at the end of an interval, where it is time to say it.
    pub(super) fn tell_open(&mut self, end_ms: i64) -> Option<Vec<Open>> {
        let turn = end_ms.div_euclid(OPEN_EVERY_MS);
        if self
            .told_open_ms
            .is_some_and(|told| told.div_euclid(OPEN_EVERY_MS) >= turn)
        {
            return None;
        }
        self.told_open_ms = Some(end_ms);
        Some(self.open())
    }

    /// These flows are in use when an interval ends.
    pub(super) fn use_flows(&mut self, flows: &HashSet<i64>, end_ms: i64) {
        for flow in self
            .flows
            .values_mut()
            .filter(|flow| flows.contains(&flow.id))
        {
            flow.last_ms = flow.last_ms.max(end_ms);
            flow.changed = true;
        }
    }

    /// The subjects that have something open.
    pub(super) fn open(&self) -> Vec<Open> {
        let mut open: Vec<_> = self
            .subjects
            .values()
            .filter_map(|subject| {
                Some(Open {
                    subject: subject.id,
                    open: u64::try_from(subject.open).ok().filter(|open| *open > 0)?,
                    last_ms: subject.last_ms,
                })
            })
            .collect();
        open.sort_unstable_by_key(|open| open.subject);
        open
    }

    /// A batch was taken up: writes what is known, where it is time to.
    pub(super) fn wrote(&mut self, db: &Connection, boot: i64) -> Result<()> {
        self.unwritten += 1;
        if self.must_write || self.unwritten >= FLUSH {
            self.write(db, boot)?;
        }
        Ok(())
    }

    /// Writes what is known.
    pub(super) fn write(&mut self, db: &Connection, boot: i64) -> Result<()> {
        for subject in self.subjects.values_mut().filter(|subject| subject.changed) {
            db.prepare_cached(
                "UPDATE subject SET last_ms = ?2, open = ?3, cut = ?4, absent = ?5, known = ?6
                 WHERE id = ?1",
            )?
            .execute(params![
                subject.id,
                subject.last_ms,
                subject.open.max(0),
                subject.cut,
                i64::try_from(subject.absent).unwrap_or(0),
                subject.known,
            ])?;
            subject.changed = false;
        }
        for flow in self.flows.values_mut().filter(|flow| flow.changed) {
            db.prepare_cached("UPDATE flow SET last_ms = ?2 WHERE id = ?1")?
                .execute([flow.id, flow.last_ms])?;
            flow.changed = false;
        }
        db.prepare_cached("UPDATE boot SET flushed = last_sequence WHERE id = ?1")?
            .execute([boot])?;
        (self.unwritten, self.must_write) = (0, false);
        Ok(())
    }
}

/// First and last number of the blocks of each batch behind one, in their order; by default behind
/// what was written.
pub(super) fn blocks_after(
    db: &Connection,
    boot: i64,
    sequence: Option<i64>,
) -> Result<Vec<(i64, i64)>> {
    db.prepare_cached(
        "SELECT batch.first_block, batch.last_block FROM boot JOIN batch ON batch.boot_id = boot.id
         WHERE boot.id = ?1 AND batch.sequence > coalesce(?2, boot.flushed)
             AND batch.first_block IS NOT NULL
         ORDER BY batch.sequence",
    )?
    .query_map(params![boot, sequence], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?
    .collect()
}
