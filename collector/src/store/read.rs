//! The rows of a window.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};
use wire::Columns;

use super::block::{Head, Kind};
use super::copies::{self, Copy};
use super::error::{Error, failed};
use super::evicted::evicted;
use super::row::{self, flow, process, texts};
use super::window::Window;
use super::{by_token, edges, lasting, nat, run, short};
use crate::join::{HostId, Input, Presence, Run, Sighting, cost};
use crate::meter::Meter;
use crate::packed::Packed;

/// As [`super::Reader::window`], of a snapshot.
pub(super) fn window(
    snapshot: &Connection,
    window: Window,
    meter: &mut Meter,
) -> Result<Input, Error> {
    let mut loading = Loading {
        window,
        input: Input {
            evicted_before_ms: evicted(snapshot)?.map(|evicted| evicted.before_ms),
            ..Input::default()
        },
        db: snapshot,
        meter,
        copies: copies::runs(snapshot, window).map_err(failed)?,
        flows: HashMap::new(),
        processes: HashMap::new(),
        runs: HashMap::new(),
    };
    loading.hosts()?;
    loading.subjects()?;
    loading.sightings()?;
    loading.nats()?;
    Ok(loading.input)
}

/// An [`Input`] while it is read.
struct Loading<'a> {
    db: &'a Connection,
    window: Window,
    meter: &'a mut Meter,
    input: Input,
    /// Runs that are hosts of their own.
    copies: HashMap<i64, Copy>,
    flows: HashMap<i64, usize>,
    processes: HashMap<(i64, u32), Option<usize>>,
    runs: HashMap<i64, Run>,
}

impl Loading<'_> {
    fn hosts(&mut self) -> Result<(), Error> {
        let mut statement = self
            .db
            .prepare("SELECT host, hostname FROM host")
            .map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let host = || Ok((HostId(row.get(0)?), row.get::<_, String>(1)?));
            let (host, name) = host().map_err(failed)?;
            self.meter.bytes(cost::HOST + cost::text(name.len()))?;
            self.input.hosts.push((host, name));
        }
        drop(rows);
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT boot.id, host.host FROM boot JOIN host ON host.id = boot.host_id
                 WHERE boot.last_ms > ?1 AND boot.first_ms <= ?2",
            )
            .map_err(failed)?;
        let mut rows = statement
            .query([self.window.from_ms, self.window.to_ms])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let run = || Ok((row.get(0)?, HostId(row.get(1)?)));
            let (boot, host): (i64, HostId) = run().map_err(failed)?;
            let copy = self.copies.get(&boot).map(|copy| copy.host);
            self.input.reported.insert(copy.unwrap_or(host));
        }
        for copy in self.copies.values() {
            self.meter
                .bytes(2 * cost::HOST + cost::text(copy.hostname.len()))?;
            self.input.hosts.push((copy.host, copy.hostname.clone()));
            self.input.copies.insert(copy.host);
        }
        Ok(())
    }

    /// What each subject counted in the window.
    fn subjects(&mut self) -> Result<(), Error> {
        let all = edges::window(self.db, self.window, self.meter)?;
        let found = all.len() * edges::COUNTED;
        for counted in all {
            let subject = edges::subject(self.db, counted.subject).map_err(failed)?;
            // Names may have been evicted before what others say of them.
            let Some((flow, since_ms)) = subject else {
                continue;
            };
            let Some(at) = self.flow(flow)? else { continue };
            // What was added has been counted already, and goes as the flow's counters come.
            if counted.added.is_none() && self.input.flows[at].counters.is_none() {
                self.meter.bytes(cost::COUNTERS)?;
            }
            let flow = &mut self.input.flows[at];
            // Without anything new the agent was there and still had the connection.
            let counters = counted
                .added
                .map(|added| added.counters(counted.absent))
                .unwrap_or_default();
            match &mut flow.counters {
                Some(sum) => sum.add(&counters),
                None => flow.counters = Some(counters),
            }
            flow.open_before = flow.open_before.saturating_add(counted.open_before);
            // A host's clock may have been wrong when it began to count.
            flow.first_ms = flow.first_ms.min(since_ms.min(counted.last_ms));
            flow.last_ms = flow.last_ms.max(counted.last_ms);
        }
        self.meter.give(found);
        Ok(())
    }

    /// Whether this or another run of its agent did.
    fn host_reported_in_window(&self, flow: i64) -> Result<bool, Error> {
        self.db
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM flow JOIN boot AS its ON its.id = flow.boot_id
                     JOIN boot ON boot.host_id = its.host_id
                     WHERE flow.id = ?1 AND boot.first_ms <= ?3 AND boot.last_ms > ?2)",
            )
            .and_then(|mut statement| {
                statement.query_row([flow, self.window.from_ms, self.window.to_ms], |row| {
                    row.get(0)
                })
            })
            .map_err(failed)
    }

    /// Index of a flow, which is read when it is asked for first; `None` where it was evicted.
    fn flow(&mut self, id: i64) -> Result<Option<usize>, Error> {
        if let Some(at) = self.flows.get(&id) {
            return Ok(Some(*at));
        }
        let found = self
            .db
            .prepare_cached(
                "SELECT flow.boot_id, flow.process_id, flow.role, flow.netns, flow.local_addr,
                     flow.local_port, flow.remote_addr, flow.remote_port, host.host
                 FROM flow JOIN boot ON boot.id = flow.boot_id
                 JOIN host ON host.id = boot.host_id WHERE flow.id = ?1",
            )
            .and_then(|mut statement| statement.query_row([id], flow).optional())
            .map_err(failed)?;
        let Some((boot, process_id, mut flow)) = found else {
            return Ok(None);
        };
        self.meter.row(cost::FLOW)?;
        if let Some(copy) = self.copies.get(&boot) {
            flow.host = copy.host;
        }
        flow.process = self.process(boot, process_id)?;
        flow.run = self.run(boot)?;
        self.input.flows.push(flow);
        let at = self.input.flows.len() - 1;
        self.flows.insert(id, at);
        Ok(Some(at))
    }

    /// A run of an agent, which is read when it is asked for first.
    fn run(&mut self, boot: i64) -> Result<Run, Error> {
        if let Some(run) = self.runs.get(&boot) {
            return Ok(*run);
        }
        let mut run = run::of(self.db, boot, self.window.to_ms).map_err(failed)?;
        // Runs of copies go on beside each other.
        run.ended &= !self.copies.contains_key(&boot);
        self.runs.insert(boot, run);
        Ok(run)
    }

    /// Index of a process, which is read when it is asked for first; `None` before it arrived.
    fn process(&mut self, boot: i64, process_id: u32) -> Result<Option<usize>, Error> {
        if let Some(at) = self.processes.get(&(boot, process_id)) {
            return Ok(*at);
        }
        let process = self
            .db
            .prepare_cached(
                "SELECT process_id, last_ms, tgid, started_ms, comm, exe, cgroup, container, unit,
                     service, tags
                 FROM process WHERE boot_id = ?1 AND process_id = ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![boot, process_id], process)
                    .optional()
            })
            .map_err(failed)?;
        let at = match process {
            None => None,
            Some(process) => {
                self.meter.bytes(cost::PROCESS + texts(&process.row))?;
                self.input.processes.push(process);
                Some(self.input.processes.len() - 1)
            }
        };
        self.processes.insert((boot, process_id), at);
        Ok(at)
    }

    /// Sightings told in the window, those that were open when it began, and others of their tokens:
    /// the other end's intervals do not end when this end's do.
    fn sightings(&mut self) -> Result<(), Error> {
        let of_kind = |kind| short::within(self.db, kind, self.window).map_err(failed);
        let (short, long) = (of_kind(Kind::Sightings)?, of_kind(Kind::Lasting)?);
        let mut wanted = HashSet::new();
        for head in &short {
            self.short(head, &mut |token| {
                wanted.insert(token);
                true
            })?;
        }
        let mut held = lasting::window(self.db, self.window, &long, self.meter)?;
        let had_open = self.had_open();
        let told = held
            .values()
            .filter(|one| one.told.1 > self.window.from_ms || had_open.contains_key(&one.row.flow));
        wanted.extend(told.map(|one| one.row.token));
        let rows = by_token::window(self.db, self.window, &had_open, &mut wanted, self.meter)?;
        for (flow, mut sighting) in rows {
            if let Some(at) = self.flow(flow)? {
                sighting.flow = at;
                self.sighted(sighting);
            }
        }
        let within = [short, long].concat();
        let near = |kind| short::near(self.db, kind, self.window, &within).map_err(failed);
        let (short, long) = (near(Kind::Sightings)?, near(Kind::Lasting)?);
        for head in short {
            self.short(&head, &mut |token| wanted.contains(&token))?;
        }
        lasting::near(self.db, &long, &wanted, &mut held, self.meter)?;
        for one in held.values() {
            if wanted.contains(&one.row.token)
                && let Some(at) = self.flow(one.row.flow)?
            {
                self.meter.row(cost::SIGHTING)?;
                self.sighted(row::lasting(one, at, self.window));
            }
        }
        self.silent()
    }

    /// The flows that had connections open when the window began, and how many.
    fn had_open(&self) -> HashMap<i64, u64> {
        let all = self.flows.iter();
        all.map(|(id, at)| (*id, self.input.flows[*at].open_before))
            .filter(|(_, open)| *open > 0)
            .collect()
    }

    /// The sightings of a block whose tokens are wanted.
    fn short(&mut self, head: &Head, wanted: &mut dyn FnMut(u64) -> bool) -> Result<(), Error> {
        self.meter.time()?;
        for row in short::rows(self.db, head).map_err(failed)? {
            if !wanted(row.token) {
                continue;
            }
            let Some(at) = self.flow(row.flow)? else {
                continue;
            };
            self.meter.row(cost::SIGHTING)?;
            self.sighted(row::short(&row, head, at, self.window));
        }
        Ok(())
    }

    fn sighted(&mut self, sighting: Sighting) {
        let flow = &mut self.input.flows[sighting.flow];
        flow.first_ms = flow.first_ms.min(sighting.first_ms);
        if sighting.presence != Presence::Outside {
            flow.last_ms = flow.last_ms.max(sighting.last_ms);
        }
        self.input.sightings.push(sighting);
    }

    /// Flows that only sightings lead to counted nothing where their agent reported: zero is known.
    fn silent(&mut self) -> Result<(), Error> {
        let unknown: Vec<(i64, usize)> = self
            .flows
            .iter()
            .map(|(id, at)| (*id, *at))
            .filter(|(_, at)| self.input.flows[*at].counters.is_none())
            .collect();
        for (id, at) in unknown {
            let absent: Option<u64> = self
                .db
                .prepare_cached("SELECT absent FROM subject WHERE flow_id = ?1 LIMIT 1")
                .and_then(|mut statement| {
                    let absent = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
                    statement.query_row([id], absent).optional()
                })
                .map_err(failed)?
                .map(i64::unsigned_abs);
            let absent = absent.map(|bits| row::columns(bits).unwrap_or(Columns::NONE));
            let Some(absent) = absent else { continue };
            if self.host_reported_in_window(id)? {
                self.meter.bytes(cost::COUNTERS)?;
                let mut nothing = Packed::default();
                nothing.set_absent(absent);
                self.input.flows[at].counters = Some(nothing);
            }
        }
        Ok(())
    }

    fn nats(&mut self) -> Result<(), Error> {
        let most = self.meter.rows_left(cost::NAT);
        let evicted = self.input.evicted_before_ms.unwrap_or(i64::MIN);
        for (boot, mut nat) in nat::window(self.db, self.window, evicted, most).map_err(failed)? {
            self.meter.row(cost::NAT)?;
            if let Some(copy) = self.copies.get(&boot) {
                nat.host = copy.host;
            }
            self.input.nats.push(nat);
        }
        Ok(())
    }
}
