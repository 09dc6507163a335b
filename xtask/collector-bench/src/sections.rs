//! One fleet: what is sent to it one after the other, and what each part takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use collector::meter::Meter;
use collector::store::{Reader, Window};
use collector::time;

use crate::agents::{Agents, Rows, Sent, timed};
use crate::arguments::Arguments;
use crate::progress::progress;
use crate::questions::{self, Waited};
use crate::server::{Server, Taken};
use crate::wait::wait_until;

/// Older than anything that is sent.
pub(crate) const KEEP: &str = "365d";
/// The simulated time begins so long ago.
pub(crate) const BEGIN_MS: i64 = 10 * 86_400_000;
/// Slices that now is in: a minute, ten minutes and an hour. They wait until these are over.
const GOING_ON: u64 = 3;
/// Time for joining all of it.
const JOINED: Duration = Duration::from_secs(1800);

/// What a part of the batches took.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) sent: Sent,
    pub(crate) wall: Duration,
    pub(crate) before: Taken,
    pub(crate) after: Taken,
}

impl Section {
    pub(crate) fn cpu_us_per_batch(&self) -> f64 {
        let cpu = self.after.cpu.saturating_sub(self.before.cpu);
        cpu.as_secs_f64() * 1e6 / self.sent.batches as f64
    }

    /// Without joining and judging what is stored, which goes on at its own pace meanwhile.
    pub(crate) fn ingest_us_per_batch(&self) -> f64 {
        let of = |taken: &Taken| taken.cpu.saturating_sub(taken.beside);
        let cpu = of(&self.after).saturating_sub(of(&self.before));
        cpu.as_secs_f64() * 1e6 / self.sent.batches as f64
    }

    /// Processors that were busy with it.
    pub(crate) fn cores(&self) -> f64 {
        let cpu = self.after.cpu.saturating_sub(self.before.cpu);
        cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_us_per_row(&self) -> f64 {
        self.cpu_us_per_batch() * self.sent.batches as f64 / self.sent.rows as f64
    }

    pub(crate) fn written_per_byte(&self) -> f64 {
        (self.after.written - self.before.written) as f64 / self.sent.bytes as f64
    }

    /// Bytes by which what the store holds has grown, for each row of edges and sightings.
    pub(crate) fn stored_per_row(&self) -> f64 {
        let grown = self.after.used.saturating_sub(self.before.used);
        grown as f64 / (self.sent.edges + self.sent.sightings) as f64
    }
}

/// All that was measured of one fleet.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) agents: u64,
    pub(crate) sections: Vec<Section>,
    /// As agents send, each once in an interval, with all that goes on beside it.
    pub(crate) paced: Section,
    pub(crate) waited: Vec<Waited>,
    pub(crate) kept: Kept,
    /// Bytes of what was joined of an edge and hour.
    pub(crate) edge_hour: Option<f64>,
    pub(crate) grown: Option<Grown>,
    pub(crate) peak: u64,
}

/// What is there of what was acknowledged.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Kept {
    pub(crate) batches_acknowledged: u64,
    pub(crate) batches_stored: u64,
    pub(crate) rows_acknowledged: u64,
    pub(crate) rows_stored: u64,
    pub(crate) connections_acknowledged: u64,
    pub(crate) connections_stored: u64,
}

/// What a store that has grown takes.
#[derive(Clone, Debug)]
pub(crate) struct Grown {
    pub(crate) sections: [Section; 2],
    /// Processor time of deleting a row by age, beside that of storing one.
    pub(crate) retention: Option<(f64, u64)>,
}

/// Measures one fleet on a store of its own.
pub(crate) fn fleet(arguments: &Arguments, count: u32, grow: bool) -> Result<Fleet> {
    let mut server = Server::start(&arguments.collector, KEEP)?;
    let client = server.client()?;
    let from_ms = time::now_ms() - BEGIN_MS;
    let mut agents = Agents::new(&server, count, arguments.edges, from_ms)?;
    let mut all = Sent::default();
    // Each says what it is, and what it counted since its series began.
    all.add(&agents.interval(Rows::All)?);
    let mut sections = Vec::new();
    let parts = [
        ("edges alone", Rows::Edges),
        ("sightings alone", Rows::Sightings),
        ("as agents send, small store", Rows::All),
        ("the same again (A/A)", Rows::All),
    ];
    for (name, rows) in parts {
        progress(&format!("{count} agents: {name}"));
        let least = arguments.batches.into();
        let section = section(&server, &client, &mut agents, name, rows, least)?;
        all.add(&section.sent);
        sections.push(section);
    }
    progress(&format!("{count} agents: a day before now, joined"));
    all.add(&history(&server, &client, &mut agents)?);
    progress(&format!("{count} agents: each once in an interval"));
    let paced = paced(&server, &client, &mut agents)?;
    all.add(&paced.sent);
    progress(&format!(
        "{count} agents: {:.2} cores, {} MiB at most so far; questions",
        paced.cores(),
        paced.after.peak >> 20
    ));
    let (waited, sent) = questions::ask(&server, &mut agents)?;
    all.add(&sent);
    let mut rows_stored = server.counter(&client, "ingest_rows_stored_total")?;
    let mut peak = server.taken(&client)?.peak;
    // What was acknowledged must be there however the collector ended.
    server.kill(KEEP)?;
    agents.reach(&server);
    let kept = kept(&server, &agents, &all, &mut rows_stored, from_ms)?;
    let edge_hour = edge_hour(&server)?;
    peak = peak.max(server.taken(&client)?.peak);
    drop(server);
    progress(&format!("{count} agents: a store that grows"));
    let mut grown_store = None;
    if grow {
        let (found, its_peak) = grown(arguments, count)?;
        (grown_store, peak) = (Some(found), peak.max(its_peak));
    }
    Ok(Fleet {
        agents: agents.count(),
        sections,
        paced,
        waited,
        kept,
        edge_hour,
        grown: grown_store,
        peak,
    })
}

/// A day before now, in each hour of which all agents ran for an interval, and in each ten minutes of
/// the last one; and time for joining it. From then on simulated time is the time.
fn history(server: &Server, client: &ureq::Agent, agents: &mut Agents) -> Result<Sent> {
    const MINUTE_MS: i64 = 60_000;
    let mut sent = Sent::default();
    let hours = std::iter::repeat_n(60 * MINUTE_MS, 23);
    let tens = std::iter::repeat_n(10 * MINUTE_MS, 5);
    agents.pause(time::now_ms() - 24 * 60 * MINUTE_MS - agents.now_ms);
    for pause_ms in hours.chain(tens) {
        sent.add(&agents.interval(Rows::All)?);
        agents.pause(pause_ms);
    }
    sent.add(&agents.interval(Rows::All)?);
    wait_until(JOINED, "slices that are joined", || {
        // Asking it takes its time.
        server.settle(JOINED)?;
        let waiting = server.counter(client, "join_slices_waiting")?;
        let too_large = server.counter(client, "join_slices_too_large")?;
        Ok((waiting <= too_large + GOING_ON).then_some(()))
    })?;
    agents.pause((time::now_ms() - agents.now_ms).max(0));
    Ok(sent)
}

/// Sends for some minutes what agents send in them, so that slices are joined meanwhile.
fn paced(server: &Server, client: &ureq::Agent, agents: &mut Agents) -> Result<Section> {
    const INTERVALS: u32 = 15;
    let before = server.taken(client)?;
    let interval = Duration::from_millis(fleet::INTERVAL_MS);
    let (sent, wall) = timed(|| {
        let mut sent = Sent::default();
        for _ in 0..INTERVALS {
            sent.add(&agents.interval_within(Rows::All, interval)?);
        }
        Ok(sent)
    })?;
    Ok(Section {
        name: "each once in an interval",
        sent,
        wall,
        before,
        after: server.taken(client)?,
    })
}

/// Sends at least so many batches.
fn section(
    server: &Server,
    client: &ureq::Agent,
    agents: &mut Agents,
    name: &'static str,
    rows: Rows,
    batches: u64,
) -> Result<Section> {
    let before = server.taken(client)?;
    let (sent, wall) = timed(|| {
        let mut sent = Sent::default();
        while sent.batches < batches {
            sent.add(&agents.interval(rows)?);
        }
        Ok(sent)
    })?;
    Ok(Section {
        name,
        sent,
        wall,
        before,
        after: server.taken(client)?,
    })
}

/// Compares what was acknowledged with what the store holds after a kill.
fn kept(
    server: &Server,
    agents: &Agents,
    all: &Sent,
    rows_stored: &mut u64,
    from_ms: i64,
) -> Result<Kept> {
    let path = server.store();
    let db = rusqlite::Connection::open(&path)?;
    let batches: i64 = db.query_row("SELECT count(*) FROM batch", (), |row| row.get(0))?;
    let mut meter = Meter::new(usize::MAX, usize::MAX);
    let window = Window {
        from_ms: from_ms - 86_400_000,
        to_ms: agents.now_ms,
    };
    let input = Reader::open(&path)?.window(window, &mut meter)?;
    let counted = input.flows.iter().filter_map(|flow| flow.counters.as_ref());
    Ok(Kept {
        batches_acknowledged: all.batches,
        batches_stored: batches.unsigned_abs(),
        rows_acknowledged: all.rows,
        rows_stored: *rows_stored,
        connections_acknowledged: agents.opened(),
        connections_stored: counted.map(|counters| counters.opened()).sum(),
    })
}

/// What the slices of an hour take for each of their edges, bytes.
fn edge_hour(server: &Server) -> Result<Option<f64>> {
    let db = rusqlite::Connection::open(server.store())?;
    let sql =
        "SELECT sum(bytes) * 1.0 / sum(edges) FROM slice WHERE length_ms = 3600000 AND edges > 0";
    Ok(db.query_row(sql, (), |row| row.get(0))?)
}

/// The part of what a store has grown by that age takes. Pages that it frees are used again, as
/// where the age is the same from day to day: the file shrinks where a quarter of them is free.
const OLD_PART: i64 = 5;

/// Grows another store, measures again, and deletes a part of it by age; with the most memory that
/// this took.
fn grown(arguments: &Arguments, count: u32) -> Result<(Grown, u64)> {
    let mut server = Server::start(&arguments.collector, KEEP)?;
    let client = &server.client()?;
    let from_ms = time::now_ms() - BEGIN_MS;
    let mut agents = Agents::new(&server, count, arguments.edges, from_ms)?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60 * arguments.grow_minutes)
        && server.taken(client)?.used < arguments.grow_mib << 20
    {
        agents.interval(Rows::All)?;
    }
    let mut part = |name| {
        let least = arguments.batches.into();
        section(&server, client, &mut agents, name, Rows::All, least)
    };
    let sections = [
        part("as agents send, grown store")?,
        part("the same again (A/A)")?,
    ];
    let old_ms = from_ms + (agents.now_ms - from_ms) / OLD_PART;
    let age_ms = time::now_ms() - old_ms;
    // A start reads what is young, whatever is old.
    server.restart(KEEP)?;
    let (start, _) = settled(&server, client)?;
    server.restart(&format!("{}s", age_ms / 1000))?;
    let (cpu, rows) = settled(&server, client)?;
    let storing = (sections[0].cpu_us_per_row() + sections[1].cpu_us_per_row()) / 2.0;
    let deleting = cpu.saturating_sub(start).as_secs_f64() * 1e6 / rows as f64;
    let retention = (rows > 0).then(|| (deleting / storing, rows));
    let peak = server.taken(client)?.peak;
    let grown = Grown {
        sections,
        retention,
    };
    Ok((grown, peak))
}

/// Waits until a collector has nothing left to do; its processor time since its start, and the rows
/// that it deleted because of their age.
fn settled(server: &Server, client: &ureq::Agent) -> Result<(Duration, u64)> {
    // Asking it takes its time.
    server.settle(Duration::from_secs(600))?;
    let kinds = ["samples", "sightings", "events", "nats"];
    let deleted = kinds
        .iter()
        .map(|kind| server.counter(client, &format!("retention_deleted_{kind}_total")));
    let rows = deleted.sum::<Result<u64>>()?;
    Ok((server.taken(client).context("after retention")?.cpu, rows))
}
