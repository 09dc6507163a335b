//! Agents: each with its host, its connection and its place in time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use collector::accept::BatchKey;
use wire::{Batch, CONTENT_TYPE, EdgeRow, Endpoint, Part, Role};

use crate::server::{Server, token};
use crate::wait::wait_until;

/// Batches on their way at once, to each collector: those of a fleet come from everywhere.
const THREADS: usize = 32;
/// The same where several collectors share servers.
const SHARED_THREADS: usize = 512;
/// How long a batch is tried again that the collector has no room for now.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which rows of an interval are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// As agents send them.
    All,
    /// What edges counted, and nothing else.
    Edges,
    /// Connections, and nothing else.
    Sightings,
}

/// What names a series of one agent.
type Key = (u32, u8, Endpoint, Endpoint, u64);

struct Agent {
    host: fleet::Hour,
    /// Its own.
    token: String,
    client: ureq::Agent,
    /// The collector that it was told of.
    at: SocketAddr,
    /// How often it was started again.
    starts: u64,
    /// From the simulated time to that of the bench, milliseconds; known with the first batch.
    shift_ms: Option<i64>,
    /// Connections that were told of, as the collector should know them.
    opened: HashMap<Key, u64>,
}

/// The fleet.
pub(crate) struct Agents {
    agents: Vec<Agent>,
    /// End of the last interval, Unix milliseconds.
    pub(crate) now_ms: i64,
    /// The collector may end at any time: what has no answer is sent again.
    pub(crate) collector_ends: bool,
    /// Batches on their way at once.
    threads: usize,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) batches: u64,
    pub(crate) edges: u64,
    pub(crate) sightings: u64,
    pub(crate) rows: u64,
    /// Compressed.
    pub(crate) bytes: u64,
    /// Answers of 429 and 503, after which the batch was sent again.
    pub(crate) refused: u64,
    /// Times that there was no answer, after which the batch was sent again.
    pub(crate) unanswered: u64,
}

impl Sent {
    pub(crate) fn add(&mut self, more: &Self) {
        self.batches += more.batches;
        self.edges += more.edges;
        self.sightings += more.sightings;
        self.rows += more.rows;
        self.bytes += more.bytes;
        self.refused += more.refused;
        self.unanswered += more.unanswered;
    }
}

impl Agents {
    pub(crate) fn new(server: &Server, count: u32, edges: u32, from_ms: i64) -> Result<Self> {
        Self::among(&[server], count, edges, from_ms)
    }

    /// Of several collectors, of which the two ends of a pair have different ones.
    pub(crate) fn among(servers: &[&Server], count: u32, edges: u32, from_ms: i64) -> Result<Self> {
        let agents = (0..count).zip(servers.iter().cycle());
        let agent = |(seed, server): (u32, &&Server)| {
            Agent::new(seed, edges, (server.client()?, server.at))
        };
        Ok(Self {
            agents: agents.map(agent).collect::<Result<_>>()?,
            now_ms: from_ms,
            collector_ends: false,
            threads: if servers.len() > 1 {
                SHARED_THREADS
            } else {
                THREADS
            },
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.agents.len() as u64
    }

    /// The collector was started again.
    pub(crate) fn reach(&mut self, server: &Server) {
        for agent in &mut self.agents {
            agent.at = server.at;
        }
    }

    /// Connections of all series, as they were told and acknowledged.
    pub(crate) fn opened(&self) -> u64 {
        let all = self.agents.iter().flat_map(|agent| agent.opened.values());
        all.sum()
    }

    /// So much simulated time passes in which no agent runs.
    pub(crate) fn pause(&mut self, ms: i64) {
        self.now_ms += ms;
        self.agents.iter_mut().for_each(|agent| agent.pause(ms));
    }

    /// One interval of every agent, as fast as they are answered.
    pub(crate) fn interval(&mut self, rows: Rows) -> Result<Sent> {
        self.interval_within(rows, Duration::ZERO)
    }

    /// One interval of every agent, spread over so long. Each waits for its answer.
    pub(crate) fn interval_within(&mut self, rows: Rows, wall: Duration) -> Result<Sent> {
        self.now_ms += i64::try_from(fleet::INTERVAL_MS)?;
        let (may_end, end_ms) = (self.collector_ends, self.now_ms);
        // Pairs stay together: their connections are with each other.
        let part = self.agents.len().div_ceil(self.threads).next_multiple_of(2);
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .agents
                .chunks_mut(part)
                .map(|agents| scope.spawn(move || send_all(agents, may_end, (end_ms, wall), rows)))
                .collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined.collect::<Vec<_>>()
        });
        let mut sent = Sent::default();
        for part in parts {
            match part {
                Ok(part) => sent.add(&part?),
                Err(_) => bail!("a thread of agents ended"),
            }
        }
        Ok(sent)
    }
}

fn send_all(
    agents: &mut [Agent],
    may_end: bool,
    (end_ms, wall): (i64, Duration),
    rows: Rows,
) -> Result<Sent> {
    let (begin, all) = (Instant::now(), agents.len().div_ceil(2));
    let mut sent = Sent::default();
    for (turn, pair) in (0..).zip(agents.chunks_mut(2)) {
        let due = wall * turn / u32::try_from(all)?;
        // An agent's intervals end so long after it began, whatever the clock says.
        let ahead_ms = fleet::INTERVAL_MS * u64::from(turn) / all as u64;
        let end_ms = end_ms + i64::try_from(ahead_ms)? - i64::try_from(fleet::INTERVAL_MS)?;
        wait_until(PATIENCE, "turn of an agent", || {
            Ok((begin.elapsed() >= due).then_some(()))
        })?;
        let mut told = None;
        for agent in pair {
            let batch = agent.next(end_ms, rows, told.take())?;
            sent.add(&agent.send(may_end, &batch)?);
            told = Some(batch);
        }
    }
    Ok(sent)
}

/// When a fleet begins whose batches are not sent, Unix milliseconds.
pub(crate) const OFFLINE_MS: i64 = 1_700_000_000_000;

/// A fleet whose batches are not sent.
pub(crate) struct Offline {
    agents: Vec<Agent>,
    pub(crate) now_ms: i64,
}

/// A fleet without a collector.
pub(crate) fn offline(count: u32, edges: u32) -> Result<Offline> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let agent = |seed| Agent::new(seed, edges, (ureq::Agent::new_with_defaults(), nowhere));
    Ok(Offline {
        agents: (0..count).map(agent).collect::<Result<_>>()?,
        now_ms: OFFLINE_MS,
    })
}

impl Offline {
    /// So much simulated time passes in which no agent runs.
    pub(crate) fn pause(&mut self, ms: i64) {
        self.now_ms += ms;
        self.agents.iter_mut().for_each(|agent| agent.pause(ms));
    }

    /// The batches of one interval of every agent.
    pub(crate) fn interval(&mut self) -> Result<Vec<Batch>> {
        self.now_ms += i64::try_from(fleet::INTERVAL_MS)?;
        let mut batches: Vec<Batch> = Vec::new();
        for (at, agent) in self.agents.iter_mut().enumerate() {
            let other = (at % 2 == 1).then(|| batches[at - 1].clone());
            batches.push(agent.next(self.now_ms, Rows::All, other)?);
        }
        Ok(batches)
    }
}

impl Agent {
    fn new(seed: u32, edges: u32, (client, at): (ureq::Agent, SocketAddr)) -> Result<Self> {
        let edges = usize::try_from(edges)?;
        Ok(Self {
            host: fleet::Hour::restless(seed.into(), &fleet::BENCH, edges, u64::MAX),
            token: token(seed),
            starts: 0,
            client,
            at,
            shift_ms: None,
            opened: HashMap::new(),
        })
    }

    fn pause(&mut self, ms: i64) {
        self.shift_ms = self.shift_ms.map(|shift_ms| shift_ms + ms);
        self.starts += 1;
    }

    /// The next batch. Its connections are those that the other one of the pair told of.
    fn next(&mut self, end_ms: i64, rows: Rows, other: Option<Batch>) -> Result<Batch> {
        let (_, mut batch) = self.host.next().context("a host ended")?;
        let shift_ms = *self
            .shift_ms
            .get_or_insert(end_ms - batch.header.end_ms.cast_signed());
        shift(&mut batch, shift_ms);
        if self.starts > 0 {
            let run = u64::from_be_bytes(batch.header.boot[..8].try_into()?);
            let run = run.wrapping_add(self.starts).to_be_bytes();
            batch.header.boot[..8].copy_from_slice(&run);
            // Totals of the host go on, which those of a later run would not.
            batch.edges.retain(|row| !row.total);
            batch.nats.retain(|row| !row.total);
        }
        if let Some(other) = other {
            let process = batch.edges.first().map_or(1, |row| row.process_id);
            batch.sightings = other.sightings;
            for row in &mut batch.sightings {
                std::mem::swap(&mut row.local, &mut row.remote);
                row.process_id = process;
                row.role = match row.role {
                    Role::Client => Role::Server,
                    Role::Server => Role::Client,
                };
                row.part = match row.part {
                    Part::Wrote => Part::Read,
                    Part::Read => Part::Wrote,
                    Part::Sequence => Part::Sequence,
                };
            }
        }
        if rows != Rows::All {
            batch = Batch {
                header: batch.header,
                edges: batch.edges,
                sightings: batch.sightings,
                ..Batch::default()
            };
        }
        match rows {
            Rows::All => {}
            Rows::Edges => batch.sightings.clear(),
            Rows::Sightings => batch.edges.clear(),
        }
        Ok(batch)
    }

    fn send(&mut self, may_end: bool, batch: &Batch) -> Result<Sent> {
        let at = self.at;
        let body = wire::encode(batch);
        let (mut refused, mut unanswered) = (0, 0);
        let text = BatchKey::from(&batch.header).to_string();
        wait_until(PATIENCE, "room for a batch", || {
            let answer = self
                .client
                .post(format!("https://{at}/api/v1/batches"))
                .header("Content-Type", CONTENT_TYPE)
                .header("Idempotency-Key", &text)
                .header("Authorization", format!("Bearer {}", self.token))
                .send(&body);
            // Read to its end: the connection is used again.
            let status = answer.and_then(|mut answer| {
                answer.body_mut().read_to_string()?;
                Ok(answer.status().as_u16())
            });
            let status = match status {
                Ok(status) => status,
                Err(_) if may_end => {
                    unanswered += 1;
                    return Ok(None);
                }
                Err(error) => return Err(error).context("a batch had no answer"),
            };
            match status {
                200 => Ok(Some(())),
                429 | 503 => {
                    refused += 1;
                    Ok(None)
                }
                status => bail!("a batch was answered with {status}"),
            }
        })?;
        self.note(&batch.edges);
        Ok(Sent {
            batches: 1,
            edges: batch.edges.len() as u64,
            sightings: batch.sightings.len() as u64,
            rows: batch.row_count() as u64,
            bytes: body.len() as u64,
            refused,
            unanswered,
        })
    }

    fn note(&mut self, edges: &[EdgeRow]) {
        // What an interval added comes first, whatever the order of the rows.
        for row in edges.iter().filter(|row| !row.total) {
            *self.opened.entry(key(row)).or_default() += row.opened;
        }
        for row in edges.iter().filter(|row| row.total) {
            self.opened.insert(key(row), row.opened);
        }
    }
}

fn key(row: &EdgeRow) -> Key {
    (
        row.process_id,
        row.role as u8,
        row.local,
        row.remote,
        row.since_ms,
    )
}

/// Moves a batch in time.
fn shift(batch: &mut Batch, ms: i64) {
    let ms_of = |time: &mut u64| *time = time.saturating_add_signed(ms);
    let us_of = |time: &mut u64| *time = time.saturating_add_signed(ms * 1000);
    ms_of(&mut batch.header.start_ms);
    ms_of(&mut batch.header.end_ms);
    batch
        .edges
        .iter_mut()
        .for_each(|row| ms_of(&mut row.since_ms));
    batch
        .nats
        .iter_mut()
        .for_each(|row| ms_of(&mut row.since_ms));
    batch
        .sightings
        .iter_mut()
        .for_each(|row| us_of(&mut row.start_us));
    batch
        .events
        .iter_mut()
        .for_each(|row| us_of(&mut row.time_us));
    batch
        .processes
        .iter_mut()
        .for_each(|row| ms_of(&mut row.started_ms));
    batch
        .hosts
        .iter_mut()
        .for_each(|row| ms_of(&mut row.started_ms));
}

/// How long a piece of work takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let begin = Instant::now();
    Ok((work()?, begin.elapsed()))
}
