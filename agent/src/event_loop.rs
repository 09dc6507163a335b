//! The event loop: owns every map, ring and aggregate, and never blocks on disk or network.
//!
//! It goes round in turns. In each, every source gives what it has, up to its budget, and every
//! deadline is looked at: a flood of one source makes no other one wait, nor the end of the interval,
//! the sign of life or SIGTERM. Who had more than its budget makes the next turn begin at once.

mod follow;
mod report;
mod signals;
mod snapshot;
mod sources;
mod thrift;

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{info, warn};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use wire::{Columns, HostRow};

use crate::batch::Sealer;
use crate::clock::{self, Now};
use crate::config::{self, Limits};
use crate::delivery;
use crate::family::connection::aggregate::Connections;
use crate::family::connection::bounds::Bounds;
use crate::family::connection::direction::Direction;
use crate::family::connection::observe::{self, Lister, Observer};
use crate::family::nat::Gateway;
use crate::family::process::{Identities, Surroundings};
use crate::fault;
use crate::fleet::Fleet;
use crate::followed::Followed;
use crate::governor::Governor;
use crate::jail::Seen;
use crate::loader::{self, Loaded};
use crate::log::Output;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::records::{Losses, Records};
use crate::status::{Helper, Kept};
use crate::upload;
use crate::writer::Writer;

pub use signals::Signals;

const RECORDS: Token = Token(0);
const SIGNALS: Token = Token(1);
const DEVICES: Token = Token(2);
const ORDERS: Token = Token(3);
/// Connection tracking is listened to this often.
const NEWS_PAUSE: Duration = Duration::from_millis(200);
/// The ring is looked at this often although it wakes nobody while it is nearly empty.
const TICK: Duration = Duration::from_secs(1);
/// The host row is sent at least this often.
const HOST_ROW_EVERY: Duration = Duration::from_secs(60);
/// What a drain may take: storing is quick, the upload gets one bounded attempt.
const DRAIN: Duration = Duration::from_secs(10);
/// What the last status and orders may take on their way to the disk.
const FILES_END: Duration = Duration::from_secs(3);

/// Unix time and where CLOCK_MONOTONIC stands in it.
#[must_use]
pub fn now() -> Now {
    Now::at(clock::unix(), Duration::from_nanos(clock::monotonic_ns()))
}

/// What the loop is given at start.
pub struct Parts {
    /// The kernel side; none when no family runs.
    pub loaded: Option<Loaded>,
    /// Its records, mapped before the agent was confined.
    pub records: Option<Records>,
    /// Connection tracking, on gateways.
    pub gateway: Option<Gateway>,
    /// Where connections come from without programs.
    pub observer: Option<Observer>,
    /// What looks at open connections where programs have no iterators.
    pub lister: Option<Lister>,
    /// What tells the direction of connections where nobody saw them begin.
    pub direction: Direction,
    /// SIGTERM and the like.
    pub signals: Signals,
    /// Whoever started the agent.
    pub notifier: Notifier,
    /// Spool and upload threads.
    pub spool: delivery::Handle,
    /// Orders of the collector.
    pub fleet: Fleet,
    /// Process identities.
    pub identities: Identities,
    /// Where identities look.
    pub surroundings: Box<dyn Surroundings>,
    /// Counters of all threads.
    pub metrics: Arc<Metrics>,
    /// Host row without what changes.
    pub host: HostRow,
    /// What confines the agent.
    pub seen: Seen,
    /// What is left to it.
    pub kept: Kept,
    /// The process that keeps the packet filters.
    pub keeper: Option<Helper>,
    /// What the agent takes, and what it leaves out to take less.
    pub meter: Meter,
    /// Its budget.
    pub governor: Governor,
    /// Ids of host and run.
    pub ids: ([u8; 16], [u8; 16]),
    /// What this host cannot measure.
    pub absent: Columns,
    /// How often an interval closes.
    pub interval: Duration,
    /// Bounds.
    pub limits: Limits,
    /// What was read at the start and can change.
    pub followed: Followed,
    /// How the collector is reached, by a configuration.
    pub reach: fn(&config::Upload) -> upload::Settings,
    /// What is left to the process that reads files again.
    pub reader: Option<Helper>,
    /// Where orders and status are written.
    pub writer: Writer,
    /// Where lines of the log go.
    pub log: Output,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

struct EventLoop {
    parts: Parts,
    connections: Connections,
    sealer: Sealer,
    next_close: Instant,
    host_row_at: Option<Instant>,
    host_row_said: Vec<(String, String)>,
    beat_at: Instant,
    /// A source has more than its budget.
    more: bool,
    intervals: u32,
    governed_at: Instant,
    /// When the scope was looked at last.
    scope_at: Instant,
    /// The most memory of this interval.
    peak_bytes: u64,
    evicted: u64,
    losses: Losses,
    batches_lost: u64,
}

/// Runs until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The loop cannot wait any more; what was folded is drained all the same.
pub fn run(parts: Parts) -> Result<delivery::Drained> {
    let start = now();
    let bounds = Bounds {
        connections: parts.limits.connections as usize,
        edges: parts.limits.edges as usize,
        sightings: parts.limits.sightings_per_interval as usize,
        events: parts.limits.events_per_interval as usize,
    };
    let mut event_loop = EventLoop {
        connections: Connections::new(bounds, parts.absent, start),
        sealer: Sealer::new(parts.ids.0, parts.ids.1, start.unix_ms),
        next_close: Instant::now() + parts.interval,
        host_row_at: None,
        host_row_said: Vec::new(),
        beat_at: Instant::now(),
        more: false,
        intervals: 0,
        governed_at: Instant::now(),
        scope_at: Instant::now(),
        peak_bytes: 0,
        evicted: 0,
        losses: Losses::default(),
        batches_lost: 0,
        parts,
    };
    event_loop.tend_filters()?;
    event_loop.obey();
    event_loop.adopt();
    // The first report goes out at once: an operator sees the host before its first interval.
    event_loop.close()?;
    event_loop.parts.spool.kick();
    event_loop.parts.notifier.ready(&event_loop.parts.host.mode);
    fault::at("report.closed");
    let ended = event_loop.wait();
    event_loop.parts.notifier.stopping();
    // The last report leaves nothing out.
    event_loop.intervals = u32::MAX;
    if let Some(observer) = &mut event_loop.parts.observer {
        observer.end();
    }
    event_loop.close()?;
    // Before the drain, which may take its time: filters would outlive a drain that is killed.
    if let Some(loaded) = &mut event_loop.parts.loaded {
        loaded.filters = None;
    }
    // A drain can take its time, and who waits for a disk that stands still waits for ever.
    let drained = event_loop.parts.spool.drain(DRAIN);
    if !event_loop.parts.writer.end(FILES_END) {
        warn!("orders and status of the end may not be written: the disk stands still");
    }
    info!(stored = drained.stored, left = drained.left; "drained");
    ended.map(|()| drained)
}

impl EventLoop {
    fn wait(&mut self) -> Result<()> {
        let mut poll = Poll::new().context("make the poll")?;
        let waker = Waker::new(poll.registry(), ORDERS).context("make a waker")?;
        self.parts.fleet.post().wake_by(waker);
        let register = |fd: RawFd, token| {
            poll.registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .context("register a descriptor")
        };
        for fd in self.parts.signals.descriptors() {
            register(fd, SIGNALS)?;
        }
        if let Some(records) = &self.parts.records {
            for fd in records.descriptors() {
                register(fd, RECORDS)?;
            }
        }
        let filters = self
            .parts
            .loaded
            .as_ref()
            .and_then(|all| all.filters.as_ref());
        if let Some(filters) = filters {
            register(filters.fd().as_raw_fd(), DEVICES)?;
        }
        let mut events = Events::with_capacity(8);
        loop {
            match poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.context("wait for events")?,
            }
            if !self.turn()? {
                return Ok(());
            }
        }
    }

    /// How long the next turn can wait, if nothing wakes the loop.
    fn patience(&self) -> Duration {
        let most = match &self.parts.observer {
            _ if self.more => Duration::ZERO,
            Some(_) => observe::TICK,
            None if self.parts.gateway.is_some() => NEWS_PAUSE,
            None => TICK,
        };
        let left = self.next_close.saturating_duration_since(Instant::now());
        left.min(most)
    }

    /// One turn, whatever woke the loop; false when it is to end.
    fn turn(&mut self) -> Result<bool> {
        self.parts.notifier.alive(Instant::now());
        self.more = self.take_records()? | self.observe()? | self.listen_to_conntrack();
        self.tend_filters()?;
        self.obey();
        self.follow(Instant::now())?;
        self.govern(Instant::now());
        let flush = self.parts.signals.wants_flush()?;
        if flush {
            self.host_row_at = None;
        }
        if flush || Instant::now() >= self.next_close {
            self.close()?;
        }
        if flush {
            self.parts.spool.kick();
        }
        Ok(!self.parts.signals.wants_end()?)
    }

    /// Orders of the collector; what became of them goes out with the end of the interval.
    fn obey(&mut self) {
        let loaded = self.parts.loaded.as_mut();
        let writer = &self.parts.writer;
        if self.parts.fleet.tend(loaded, &mut self.connections, writer) {
            self.host_row_at = None;
        }
    }

    /// Packet filters: the sign of life without which they sleep, and what their keeper says.
    fn tend_filters(&mut self) -> Result<()> {
        let Some(loaded) = &mut self.parts.loaded else {
            return Ok(());
        };
        let Some(filters) = &mut loaded.filters else {
            return Ok(());
        };
        if self.beat_at.elapsed() >= TICK {
            self.beat_at = Instant::now();
            if let Err(error) = loader::beat(&loaded.maps.heartbeat) {
                warn!(error = format!("{error:#}").as_str(); "no heartbeat: filters fall asleep");
            }
        }
        // Filters that nobody follows or removes are worth a new start, which finds them.
        filters
            .hear()
            .context("hear the keeper of the packet filters")?;
        let state = filters.state();
        let metrics = &self.parts.metrics;
        metrics.clone_devices.set(state.attached.into());
        metrics.clone_devices_refused.set(state.refused.into());
        Ok(())
    }

    /// Ends the interval: snapshot, counters, rows, batch, status.
    fn close(&mut self) -> Result<()> {
        self.next_close = Instant::now() + self.parts.interval;
        self.drain_records()?;
        self.drain_packets()?;
        self.parts.direction.refresh();
        if self.looks() {
            self.observe_open();
            self.snapshot()?;
        }
        let now = now();
        let paths_off = self.report_kernel(now);
        self.report_aggregate();
        self.repair_names();
        let mut summary = self.connections.close(now);
        self.listen_to_conntrack();
        if let Some(gateway) = &mut self.parts.gateway {
            let nats = gateway.close();
            if self.parts.fleet.in_force().send_nats {
                summary.nats = nats;
            }
        }
        let processes = self.parts.identities.take_rows(now.unix_ms);
        let hosts = self.host_rows(&paths_off, Instant::now());
        if let Some(sealed) = self.sealer.seal(summary, processes, hosts, now.unix_ms) {
            self.parts.metrics.batch_sealed_total.add(1);
            if self.parts.spool.try_put(sealed).is_err() {
                // What it said of the host goes out with the next one.
                self.host_row_at = None;
                warn!("batch dropped: the queue to the spool is full");
            }
        }
        self.write_status(now, paths_off);
        Ok(())
    }
}
