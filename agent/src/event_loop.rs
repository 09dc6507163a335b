//! The event loop: owns the families and what they measured, and never blocks on disk or network.
//!
//! It goes round in turns. In each, every family takes what its sources have, up to its budget, and
//! every deadline is looked at: a flood of one source makes no other one wait, nor the end of the
//! interval, the heartbeat or SIGTERM. Who had more than its budget makes the next turn begin at
//! once.

mod follow;
mod shedding;
mod signals;
mod status;

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{info, warn};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use notify::Notifier;

use crate::batch::{Sealer, Summary};
use crate::clock::{self, Now};
use crate::config;
use crate::delivery;
use crate::family::{Close, Family, Shared};
use crate::fault;
use crate::fleet::Fleet;
use crate::followed::Followed;
use crate::governor::Governor;
use crate::jail::SandboxState;
use crate::log::Output;
use crate::meter::Meter;
use crate::status::{Helper, Kept};
use crate::upload;
use crate::writer::Writer;

pub use signals::Signals;

const FAMILIES: Token = Token(0);
const SIGNALS: Token = Token(1);
const ORDERS: Token = Token(2);
/// What is not woken is looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// What a drain may take: storing is quick, the upload gets one bounded attempt.
const DRAIN: Duration = Duration::from_secs(10);
/// What the last status and orders may take on their way to the disk.
const FILES_END: Duration = Duration::from_secs(3);

/// What the loop is given at start.
pub struct Parts {
    /// The families that run, in the order of the registry.
    pub families: Vec<Box<dyn Family>>,
    /// What they use together.
    pub shared: Shared,
    /// SIGTERM and the like.
    pub signals: Signals,
    /// Whoever started the agent.
    pub notifier: Notifier,
    /// Spool and upload threads.
    pub spool: delivery::Handle,
    /// Orders of the collector.
    pub fleet: Fleet,
    /// What confines the agent.
    pub seen: SandboxState,
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
    /// How often an interval closes.
    pub interval: Duration,
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
    sealer: Sealer,
    next_close: Instant,
    /// A source has more than its budget.
    more: bool,
    governed_at: Instant,
    /// The most memory of this interval.
    peak_bytes: u64,
}

/// Runs until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// The loop cannot wait any more; what was folded is drained all the same.
pub fn run(parts: Parts) -> Result<delivery::Drained> {
    let mut event_loop = EventLoop {
        sealer: Sealer::new(parts.ids.0, parts.ids.1, clock::now().unix_ms),
        next_close: Instant::now() + parts.interval,
        more: false,
        governed_at: Instant::now(),
        peak_bytes: 0,
        parts,
    };
    event_loop.tick(Instant::now())?;
    event_loop.obey();
    let Parts {
        families, shared, ..
    } = &mut event_loop.parts;
    for family in families {
        family.adopt(shared);
    }
    // The first report goes out at once: an operator sees the host before its first interval.
    event_loop.close(false)?;
    event_loop.parts.spool.kick();
    let mode = &event_loop.parts.shared.host.row().mode;
    event_loop.parts.notifier.ready(&format!("mode {mode}"));
    fault::at("report.closed");
    let ended = event_loop.wait();
    event_loop.parts.notifier.stopping();
    // The last report leaves nothing out.
    for family in &mut event_loop.parts.families {
        family.end();
    }
    event_loop.close(true)?;
    // Before the drain, which may take its time: filters would outlive a drain that is killed.
    for family in &mut event_loop.parts.families {
        family.release();
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
        self.parts.fleet.mailbox().wake_by(waker);
        let register = |fd: RawFd, token| {
            poll.registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .context("register a descriptor")
        };
        for fd in self.parts.signals.descriptors() {
            register(fd, SIGNALS)?;
        }
        for fd in self.parts.shared.descriptors() {
            register(fd, FAMILIES).context("records of programs")?;
        }
        for family in &self.parts.families {
            for fd in family.descriptors() {
                register(fd, FAMILIES).with_context(|| format!("family {}", family.name()))?;
            }
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
        if self.more {
            return Duration::ZERO;
        }
        let pauses = self.parts.families.iter().map(|family| family.pause());
        let left = self.next_close.saturating_duration_since(Instant::now());
        left.min(pauses.min().unwrap_or(TICK))
    }

    /// One turn, whatever woke the loop; false when it is to end.
    fn turn(&mut self) -> Result<bool> {
        self.parts.notifier.alive(Instant::now());
        let Parts {
            families, shared, ..
        } = &mut self.parts;
        self.more = shared.read_records()?.more;
        for family in families {
            self.more |= family.take(shared)?;
        }
        self.tick(Instant::now())?;
        self.obey();
        self.follow(Instant::now())?;
        self.govern(Instant::now());
        let flush = self.parts.signals.wants_flush()?;
        if flush {
            self.parts.shared.host.hurry();
        }
        if flush || Instant::now() >= self.next_close {
            self.close(false)?;
        }
        if flush {
            self.parts.spool.kick();
        }
        Ok(!self.parts.signals.wants_end()?)
    }

    /// Deadlines of the families' own.
    fn tick(&mut self, now: Instant) -> Result<()> {
        let Parts {
            families, shared, ..
        } = &mut self.parts;
        for family in families {
            if family.tick(shared, now)? {
                shared.host.hurry();
            }
        }
        Ok(())
    }

    /// Orders of the collector; what became of them goes out with the end of the interval.
    fn obey(&mut self) {
        let Parts {
            families,
            fleet,
            writer,
            shared,
            ..
        } = &mut self.parts;
        // All of them, whatever one of them says.
        let told = fleet.tend(writer, |in_force| {
            let told = families.iter_mut().map(|family| family.obey(in_force));
            told.fold(Ok(()), Result::and)
        });
        if told {
            shared.host.hurry();
        }
    }

    /// Ends the interval, and with the last one the run: snapshot, counters, rows, batch, status.
    fn close(&mut self, is_last: bool) -> Result<()> {
        self.next_close = Instant::now() + self.parts.interval;
        let Parts {
            families, shared, ..
        } = &mut self.parts;
        shared.drain_records(|shared| {
            let mut families = families.iter_mut();
            families.try_for_each(|family| family.take(shared).map(drop))
        })?;
        for family in &mut *families {
            family.drain(shared)?;
        }
        // It may have come, gone or come back as another one, whatever families run.
        if let Some(Err(error)) = shared.core.as_ref().map(|core| core.follow_scope()) {
            warn!(error = format!("{error:#}").as_str(); "scope not followed");
        }
        for family in &mut *families {
            family.snapshot(shared)?;
        }
        let now = clock::now();
        shared.publish_programs();
        for family in families {
            family.publish(&shared.metrics, now);
        }
        self.publish();
        self.parts.shared.report = self.report();
        let mut owes = self.seal(now, is_last);
        // No batch after the last one would have them.
        while is_last && owes {
            owes = self.seal(now, is_last);
        }
        self.write_status(now);
        Ok(())
    }

    /// What the interval added, and the totals whose turn it is.
    fn rows(&mut self, now: Now, is_last: bool) -> Summary {
        let close = Close {
            now,
            batch: self.sealer.next(),
            length: self.parts.interval,
            is_last,
            lost: self.parts.spool.take_lost(),
        };
        let mut rows = Summary::default();
        let Parts {
            families, shared, ..
        } = &mut self.parts;
        for family in families {
            family.close(&mut rows, &close, shared);
        }
        rows
    }

    /// Makes a batch of what the interval added; true when there are totals that found no place in it.
    fn seal(&mut self, now: Now, is_last: bool) -> bool {
        let rows = self.rows(now, is_last);
        let owes = rows.owes;
        let Some(sealed) = self.sealer.seal(rows, now.unix_ms) else {
            return owes;
        };
        let shared = &mut self.parts.shared;
        shared.metrics.batch_sealed_total.add(1);
        if self.parts.spool.try_put(sealed).is_err() {
            // What it said of the host goes out with the next one.
            shared.host.hurry();
            warn!("batch dropped: the queue to the spool is full");
        }
        owes
    }
}
