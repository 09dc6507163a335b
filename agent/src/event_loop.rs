//! The event loop: owns every map, ring and aggregate, and never blocks on disk or network.
//!
//! One closed enum, `Wake`, lists all that can set it going.

mod report;
mod thrift;

use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result};
use log::{info, warn};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use wire::{Columns, HostRow};

use crate::aggregate::connection::Connections;
use crate::aggregate::{Bounds, Now};
use crate::batch::Sealer;
use crate::config::Limits;
use crate::event::Connection;
use crate::fault;
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::governor::Governor;
use crate::host::clock;
use crate::jail::Seen;
use crate::kernel::{self, Counters};
use crate::loader::{self, Loaded};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::observe::{self, Lister, Observer};
use crate::process::{Identities, Observed, Surroundings};
use crate::records::Records;
use crate::spool;

const RECORDS: Token = Token(0);
const SIGNALS: Token = Token(1);
const DEVICES: Token = Token(2);
const ORDERS: Token = Token(3);
/// A burst of news about devices is answered once.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// Filters are looked for this often although no device changed: somebody may have removed them.
const FILTERS_EVERY: Duration = Duration::from_secs(30);
/// The ring is looked at this often although it wakes nobody while it is nearly empty.
const TICK: Duration = Duration::from_secs(1);
/// The host row is sent at least this often.
const HOST_ROW_EVERY: Duration = Duration::from_secs(60);
/// What a drain may take: storing is quick, the upload gets one bounded attempt.
const DRAIN: Duration = Duration::from_secs(10);

/// Everything that can wake the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The ring fills.
    Records,
    /// SIGTERM, SIGINT: drain and end. SIGUSR1: close the interval and upload now.
    Signal,
    /// The tick or the interval is over, devices changed, or orders came.
    Deadline,
}

/// The signals the loop takes, blocked for every thread; to be called while there is only one.
///
/// # Errors
/// The kernel refuses the mask or the descriptor.
pub fn block_signals() -> Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        mask.add(signal);
    }
    mask.thread_block().context("block the signals")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("open a descriptor for signals")
}

/// Unix time and where CLOCK_MONOTONIC stands in it.
///
/// # Errors
/// The clocks cannot be read.
pub fn now() -> Result<Now> {
    let unix = clock::wall()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let monotonic = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let zero = unix.saturating_sub(monotonic);
    Ok(Now {
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        monotonic_zero_ns: u64::try_from(zero.as_nanos()).unwrap_or(u64::MAX),
    })
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
    /// Descriptor of [`block_signals`].
    pub signals: SignalFd,
    /// Whoever started the agent.
    pub notifier: Notifier,
    /// Spool and upload threads.
    pub spool: spool::Handle,
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
    /// Where `status.json` goes.
    pub run_dir: PathBuf,
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
    followed_at: Instant,
    checked_at: Instant,
    devices_changed: bool,
    intervals: u32,
    governed_at: Instant,
    evicted: u64,
    batches_lost: u64,
}

/// Runs until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The loop cannot wait any more; what was folded is drained all the same.
pub fn run(parts: Parts) -> Result<spool::Drained> {
    let start = now()?;
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
        followed_at: Instant::now(),
        checked_at: Instant::now(),
        devices_changed: false,
        intervals: 0,
        governed_at: Instant::now(),
        evicted: 0,
        batches_lost: 0,
        parts,
    };
    event_loop.tend_filters();
    event_loop.obey();
    event_loop.adopt()?;
    // The first report goes out at once: an operator sees the host before its first interval.
    event_loop.close()?;
    event_loop.parts.spool.kick();
    event_loop.parts.notifier.ready(&event_loop.parts.host.mode);
    fault::at("report.closed");
    let ended = event_loop.wait();
    event_loop.parts.notifier.stopping();
    // The last report leaves nothing out.
    event_loop.intervals = u32::MAX;
    event_loop.close()?;
    // Before the drain, which may take its time: filters would outlive a drain that is killed.
    if let Some(loaded) = &mut event_loop.parts.loaded {
        loaded.filters = None;
    }
    let drained = event_loop.parts.spool.drain(DRAIN);
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
        register(self.parts.signals.as_raw_fd(), SIGNALS)?;
        if let Some(records) = &self.parts.records {
            register(records.epoll_fd(), RECORDS)?;
        }
        let filters = self
            .parts
            .loaded
            .as_ref()
            .and_then(|all| all.filters.as_ref());
        if let Some(filters) = filters {
            register(filters.news_fd().as_raw_fd(), DEVICES)?;
        }
        let mut events = Events::with_capacity(8);
        loop {
            let left = self.next_close.saturating_duration_since(Instant::now());
            let most = match (self.devices_changed, &self.parts.observer) {
                (true, _) => FOLLOW_PAUSE,
                (false, Some(_)) => observe::TICK,
                (false, None) if self.parts.gateway.is_some() => FOLLOW_PAUSE,
                (false, None) => TICK,
            };
            match poll.poll(&mut events, Some(left.min(most))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.context("wait for events")?,
            }
            for wake in wakes(&events) {
                if !self.wake(wake)? {
                    return Ok(());
                }
            }
        }
    }

    /// False when the loop is to end.
    fn wake(&mut self, wake: Wake) -> Result<bool> {
        match wake {
            Wake::Records => self.drain_ring()?,
            Wake::Deadline => {
                self.parts.notifier.alive(Instant::now());
                self.drain_ring()?;
                self.observe()?;
                self.listen_to_conntrack()?;
                self.tend_filters();
                self.obey();
                self.govern(Instant::now());
                if Instant::now() >= self.next_close {
                    self.close()?;
                }
            }
            Wake::Signal => return self.take_signals(),
        }
        Ok(true)
    }

    /// Orders of the collector; what became of them goes out with the end of the interval.
    fn obey(&mut self) {
        let loaded = self.parts.loaded.as_mut();
        if self.parts.fleet.tend(loaded, &mut self.connections) {
            self.host_row_at = None;
        }
    }

    fn listen_to_conntrack(&mut self) -> Result<()> {
        if let Some(gateway) = &mut self.parts.gateway {
            gateway.take(&self.parts.metrics, now()?.unix_ms);
        }
        Ok(())
    }

    /// Packet filters: the sign of life without which they sleep, and devices that come and go.
    fn tend_filters(&mut self) {
        let Some(loaded) = &mut self.parts.loaded else {
            return;
        };
        let Some(filters) = &mut loaded.filters else {
            return;
        };
        self.devices_changed = filters.has_news();
        if self.beat_at.elapsed() >= TICK {
            self.beat_at = Instant::now();
            if let Err(error) = loader::beat(&loaded.maps.heartbeat) {
                warn!(error = format!("{error:#}").as_str(); "no heartbeat: filters fall asleep");
            }
        }
        let all = self.checked_at.elapsed() >= FILTERS_EVERY;
        if all {
            self.checked_at = Instant::now();
        }
        if all || (self.devices_changed && self.followed_at.elapsed() >= FOLLOW_PAUSE) {
            self.devices_changed = false;
            self.followed_at = Instant::now();
            if let Err(error) = filters.follow(all) {
                warn!(error = format!("{error:#}").as_str(); "devices not followed");
            }
        }
        let (attached, refused) = filters.sizes();
        self.parts.metrics.clone_devices.set(attached as u64);
        self.parts.metrics.clone_devices_refused.set(refused as u64);
    }

    fn take_signals(&mut self) -> Result<bool> {
        while let Some(signal) = self.parts.signals.read_signal().context("read a signal")? {
            if signal.ssi_signo == Signal::SIGUSR1 as u32 {
                self.host_row_at = None;
                self.close()?;
                self.parts.spool.kick();
            } else {
                info!(signal = signal.ssi_signo; "ending");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Empties the ring into the aggregates.
    fn drain_ring(&mut self) -> Result<()> {
        let now = now()?;
        while let Some(records) = &mut self.parts.records {
            let (events, invalid) = records.take()?;
            let metrics = &self.parts.metrics;
            metrics.record_dropped_invalid_total.add(invalid);
            metrics.record_decoded_total.add(events.len() as u64);
            if events.is_empty() && invalid == 0 {
                break;
            }
            for event in &events {
                fold(&mut self.parts, &mut self.connections, event, now);
            }
        }
        Ok(())
    }

    /// Reads what packet sockets and news of closed sockets have to say.
    fn observe(&mut self) -> Result<()> {
        let now = now()?;
        let Some(observer) = &mut self.parts.observer else {
            return Ok(());
        };
        let events = observer.tick(now)?;
        let decoded = &self.parts.metrics.record_decoded_total;
        decoded.add(events.len() as u64);
        self.fold_all(&events, now);
        Ok(())
    }

    /// The same for what the list of open connections shows.
    fn observe_open(&mut self) -> Result<()> {
        let now = now()?;
        let Some(observer) = &mut self.parts.observer else {
            return Ok(());
        };
        let events = observer.snapshot(now);
        observer.publish(&self.parts.metrics);
        let read = &self.parts.metrics.record_snapshot_total;
        read.add(events.len() as u64);
        // No sweep: what is gone without a word the observer itself finds out and says.
        self.fold_all(&events, now);
        Ok(())
    }

    fn fold_all(&mut self, events: &[Connection], now: Now) {
        for event in events {
            fold(&mut self.parts, &mut self.connections, event, now);
        }
    }

    /// Takes over the connections that were there before.
    fn adopt(&mut self) -> Result<()> {
        if let Some(observer) = &mut self.parts.observer {
            let now = now()?;
            let events = observer.adopt(now);
            let adopted = &self.parts.metrics.record_adopted_total;
            adopted.add(events.len() as u64);
            self.fold_all(&events, now);
            return Ok(());
        }
        let Some(loaded) = &mut self.parts.loaded else {
            return Ok(());
        };
        let (mut events, invalid) = kernel::decode_all(&std::mem::take(&mut loaded.adopted));
        let now = now()?;
        if let Some(lister) = &mut self.parts.lister {
            events.extend(lister.take_adopted());
        }
        self.parts.metrics.record_dropped_invalid_total.add(invalid);
        self.parts
            .metrics
            .record_adopted_total
            .add(events.len() as u64);
        self.fold_all(&events, now);
        Ok(())
    }

    /// Ends the interval: snapshot, counters, rows, batch, status.
    fn close(&mut self) -> Result<()> {
        self.next_close = Instant::now() + self.parts.interval;
        self.drain_ring()?;
        self.observe()?;
        if self.looks() {
            self.observe_open()?;
            self.snapshot()?;
        }
        let now = now()?;
        let paths_off = self.report_kernel(now);
        self.report_aggregate();
        self.repair_names();
        let mut summary = self.connections.close(now);
        self.listen_to_conntrack()?;
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
                warn!("batch dropped: the queue to the spool is full");
            }
        }
        self.write_status(now, paths_off);
        Ok(())
    }

    /// Reads the open connections; what two snapshots do not show any more is forgotten.
    fn snapshot(&mut self) -> Result<()> {
        let Some(loaded) = &self.parts.loaded else {
            return Ok(());
        };
        let before = Counters::read(&loaded.maps.counters)?;
        let read = match &mut self.parts.lister {
            Some(lister) => match kernel::entries(&loaded.maps.connections) {
                Ok(entries) => {
                    let found = entries.len() as u64;
                    Ok(Some((lister.snapshot(&entries, now()?), found)))
                }
                Err(error) => Err(error),
            },
            None => kernel::snapshot(loaded).map(|read| {
                read.map(|(events, invalid)| {
                    self.parts.metrics.record_dropped_invalid_total.add(invalid);
                    let found = events.len() as u64;
                    (events, found)
                })
            }),
        };
        let (events, found) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(()),
            Err(error) => {
                warn!(error = format!("{error:#}").as_str(); "no snapshot in this interval");
                return Ok(());
            }
        };
        let after = Counters::read(&loaded.maps.counters)?;
        self.parts
            .metrics
            .record_snapshot_total
            .add(events.len() as u64);
        let now = now()?;
        self.fold_all(&events, now);
        self.drain_ring()?;
        self.connections.sweep();
        // A lower bound while connections come and go: what is missing for certain.
        let inserted = before.get(bpf::abi::WB_COUNT_CONNECTIONS_INSERTED);
        let deleted = after.get(bpf::abi::WB_COUNT_CONNECTIONS_DELETED);
        let missing = inserted.saturating_sub(deleted).saturating_sub(found);
        self.evicted = self.evicted.max(missing);
        self.parts
            .metrics
            .kernel_connections_dropped_evicted_total
            .set(self.evicted);
        Ok(())
    }
}

/// What woke the loop, records before signals, so that a drain misses nothing that is there.
fn wakes(events: &Events) -> Vec<Wake> {
    let has = |token| events.iter().any(|event| event.token() == token);
    let mut wakes = Vec::with_capacity(3);
    if has(RECORDS) {
        wakes.push(Wake::Records);
    }
    wakes.push(Wake::Deadline);
    if has(SIGNALS) {
        wakes.push(Wake::Signal);
    }
    wakes
}

fn fold(parts: &mut Parts, connections: &mut Connections, event: &Connection, now: Now) {
    let process = &event.process;
    let observed = Observed {
        tgid: process.tgid,
        started_ns: process.start_ns,
        comm: &process.comm,
        exe_name: &process.exe,
        cgroup_id: process.cgroup_id,
        netns: event.netns,
    };
    let process_id = parts
        .identities
        .resolve(&observed, parts.surroundings.as_mut(), now.unix_ms);
    connections.fold(event, process_id, now);
}
