//! The family at work.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use wire::Columns;

use super::aggregate::{Connections, Sending};
use super::bounds::{Bounds, Losses};
use super::decide::{self, Uses};
use super::direction::Direction;
use super::fold::Fold;
use super::observe::{self, Observer};
use super::plan::{NAME, absent_row};
use super::programs::Programs;
use crate::batch::Summary;
use crate::clock::{self, Now};
use crate::config::{Config, Limits};
use crate::family::Report;
use crate::family::contract::{Family, PAUSE, Shared};
use crate::family::totals::Close;
use crate::host::HostFacts;
use crate::metrics::Metrics;
use crate::orders::InForce;
use crate::plan::Needs;
use crate::spool::Lost;

/// From this level of the governor on abnormal connections are not told one by one.
const NO_EVENTS_FROM: u8 = 2;

/// What is left out at a level of the governor, in an operator's words; each includes those before.
///
/// Which of them costs most depends on the host: open connections where there are many, tokens where
/// many begin, single events where many end badly. So each level takes its part of all of them: half
/// of the snapshots and three quarters of the tokens of the level before.
#[must_use]
pub(crate) fn shed(level: u8) -> Vec<String> {
    if level == 0 {
        return Vec::new();
    }
    let every = snapshots(level);
    let nth = if every == 2 || every == 32 {
        "nd"
    } else {
        "th"
    };
    let mut shed = vec![
        format!("one token in {}", 1_u64 << least_level(level)),
        format!("open connections every {every}{nth} interval"),
    ];
    if level >= NO_EVENTS_FROM {
        shed.push("no single events".to_owned());
    }
    shed
}

/// At most one token in two to the power of this is kept.
const fn least_level(level: u8) -> u8 {
    2 * level
}

/// Open connections are looked at in one interval of this many.
const fn snapshots(level: u8) -> u32 {
    1 << level
}

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Source {
    Programs(Box<Programs>),
    Sockets(Box<Observer>),
}

/// Connections, by what follows them on this host.
#[derive(Debug)]
pub(super) struct Running {
    source: Source,
    fold: Fold,
    /// Rows are sent.
    sends: bool,
    level: u8,
    /// Intervals so far.
    intervals: u32,
}

impl Running {
    pub(super) fn new(
        source: Source,
        limits: &Limits,
        absent: Columns,
        direction: Direction,
    ) -> Self {
        let bounds = Bounds {
            connections: limits.connections as usize,
            edges: limits.edges as usize,
            sightings: limits.sightings_per_interval as usize,
            events: limits.events_per_interval as usize,
        };
        Self {
            source,
            fold: Fold {
                connections: Connections::new(bounds, absent, clock::now()),
                direction,
            },
            sends: true,
            level: 0,
            intervals: 0,
        }
    }

    /// What must be left to the agent for what really was opened.
    #[must_use]
    pub(super) fn needs(&self, facts: &HostFacts, config: &Config) -> Needs {
        let uses = match &self.source {
            Source::Programs(programs) => Uses {
                programs: Some(programs.loaded.core.transport()),
                filters: programs.loaded.filters.is_some(),
                lists: programs.lister.is_some(),
                ..Uses::default()
            },
            Source::Sockets(_) => Uses {
                sockets: true,
                ..Uses::default()
            },
        };
        decide::needs(facts, config, &uses)
    }

    /// Folds what packet sockets and news of closed sockets have to say; true when there may be more.
    fn observe(observer: &mut Observer, fold: &mut Fold, shared: &mut Shared) -> Result<bool> {
        let now = clock::now();
        let (events, more) = observer.tick(now)?;
        let decoded = &shared.metrics.record_decoded_total;
        decoded.add(events.len() as u64);
        fold.observed(observer, &events, shared, now);
        Ok(more)
    }
}

impl Family for Running {
    fn name(&self) -> &'static str {
        NAME
    }

    fn descriptors(&self) -> Vec<RawFd> {
        match &self.source {
            Source::Programs(programs) => programs.descriptors(),
            Source::Sockets(_) => Vec::new(),
        }
    }

    fn pause(&self) -> Duration {
        match &self.source {
            Source::Programs(_) => PAUSE,
            Source::Sockets(_) => observe::TICK,
        }
    }

    fn adopt(&mut self, shared: &mut Shared) {
        match &mut self.source {
            Source::Programs(programs) => programs.adopt(&mut self.fold, shared),
            Source::Sockets(observer) => {
                let now = clock::now();
                let events = observer.adopt(now);
                let adopted = &shared.metrics.record_adopted_total;
                adopted.add(events.len() as u64);
                self.fold.observed(observer, &events, shared, now);
            }
        }
    }

    fn take(&mut self, shared: &mut Shared) -> Result<bool> {
        match &mut self.source {
            Source::Programs(programs) => {
                programs.take(&mut self.fold, shared);
                Ok(false)
            }
            Source::Sockets(observer) => Self::observe(observer, &mut self.fold, shared),
        }
    }

    fn drain(&mut self, shared: &mut Shared) -> Result<()> {
        match &mut self.source {
            Source::Programs(_) => Ok(()),
            Source::Sockets(observer) => {
                // Every packet that is there now: those that come meanwhile do not hold it up.
                for _ in 0..observe::MAX_LOOKS {
                    if !Self::observe(observer, &mut self.fold, shared)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn tick(&mut self, shared: &mut Shared, now: Instant) -> Result<bool> {
        match &mut self.source {
            Source::Programs(programs) => programs.tick(&shared.metrics, now),
            Source::Sockets(_) => Ok(false),
        }
    }

    fn snapshot(&mut self, shared: &mut Shared) -> Result<()> {
        self.fold.direction.refresh();
        self.intervals = self.intervals.wrapping_add(1);
        if !self.intervals.is_multiple_of(snapshots(self.level)) {
            return Ok(());
        }
        match &mut self.source {
            Source::Programs(programs) => programs.snapshot(&mut self.fold, shared),
            Source::Sockets(observer) => {
                let now = clock::now();
                let events = observer.snapshot(now);
                let read = &shared.metrics.record_snapshot_total;
                read.add(events.len() as u64);
                // No sweep: what is gone without a word the observer itself finds out and says.
                self.fold.observed(observer, &events, shared, now);
                Ok(())
            }
        }
    }

    fn publish(&mut self, metrics: &Metrics, now: Now) {
        match &mut self.source {
            Source::Programs(programs) => programs.publish(metrics, now),
            Source::Sockets(observer) => observer.publish(metrics),
        }
        publish(&self.fold.connections, metrics);
    }

    fn close(&mut self, rows: &mut Summary, close: &Close, _: &mut Shared) {
        let Summary {
            edges,
            sightings,
            events,
            others,
            owes,
        } = self.fold.connections.close(close);
        if !self.sends {
            // Told as totals once they may be.
            self.fold.connections.lost(Lost::from(close.batch));
            return;
        }
        rows.edges = edges;
        rows.sightings = sightings;
        rows.events = events;
        rows.others.workers = others.workers;
        rows.owes |= owes;
    }

    fn report(&self, report: &mut Report) {
        report
            .plan
            .extend(absent_row(self.fold.connections.absent()));
        if let Source::Programs(programs) = &self.source {
            report.plan.extend(programs.loaded.scope.row());
            report.paths_off.extend(programs.paths_off.iter().cloned());
        }
    }

    fn shed(&mut self, level: u8) {
        self.level = level;
        let events = level >= NO_EVENTS_FROM;
        self.fold.connections.spare(least_level(level), events);
    }

    fn obey(&mut self, in_force: &InForce) -> Result<()> {
        self.sends = in_force.sends(NAME);
        let sending = Sending {
            sightings: self.sends && in_force.sends("sightings"),
            events: self.sends && in_force.sends("events"),
            least_level: in_force.sample_level,
        };
        self.fold
            .connections
            .set_sending(sending, in_force.sightings);
        match &mut self.source {
            Source::Programs(programs) => programs.obey(in_force),
            Source::Sockets(_) => Ok(()),
        }
    }

    fn change_keys(&mut self, config: &Config) {
        match &mut self.source {
            Source::Programs(programs) => programs.change_keys(config),
            Source::Sockets(observer) => observer.change_keys(&config.keys),
        }
    }

    fn end(&mut self) {
        // A snapshot is taken, whatever the level.
        self.intervals = u32::MAX;
        if let Source::Sockets(observer) = &mut self.source {
            observer.end();
        }
    }

    fn keeper(&self) -> Option<i32> {
        match &self.source {
            Source::Programs(programs) => Some(programs.loaded.filters.as_ref()?.process()),
            Source::Sockets(_) => None,
        }
    }

    fn release(&mut self) {
        if let Source::Programs(programs) = &mut self.source {
            programs.loaded.filters = None;
        }
    }
}

fn publish(connections: &Connections, metrics: &Metrics) {
    let Losses {
        connections_full,
        edges_overflowed,
        sightings_dropped,
        sightings_unsampled,
        events_dropped,
        events_spared,
        connections_unowned,
        connections_lost,
        workers_full,
    } = connections.losses();
    let (open, edges) = connections.sizes();
    let level = u64::from(connections.sample_level());
    for (counter, value) in [
        (&metrics.aggregate_connections_full_total, connections_full),
        (
            &metrics.aggregate_connections_dropped_lost_total,
            connections_lost,
        ),
        (
            &metrics.aggregate_connections_unowned_total,
            connections_unowned,
        ),
        (
            &metrics.aggregate_edges_dropped_overflow_total,
            edges_overflowed,
        ),
        (
            &metrics.aggregate_sightings_dropped_total,
            sightings_dropped,
        ),
        (
            &metrics.aggregate_sightings_unsampled_total,
            sightings_unsampled,
        ),
        (&metrics.aggregate_events_dropped_total, events_dropped),
        (&metrics.governor_dropped_events_total, events_spared),
        (&metrics.aggregate_workers_full_total, workers_full),
        (&metrics.aggregate_connections, open as u64),
        (&metrics.aggregate_edges, edges as u64),
        (&metrics.aggregate_sample_level, level),
    ] {
        counter.set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::{least_level, shed, snapshots};

    #[test]
    fn each_level_takes_its_part_of_everything() {
        assert_eq!(shed(0), [""; 0]);
        for level in 0..5 {
            assert_eq!(snapshots(level + 1), 2 * snapshots(level));
            assert_eq!(least_level(level + 1), least_level(level) + 2);
        }
        assert_eq!(
            shed(1).join(", "),
            "one token in 4, open connections every 2nd interval"
        );
        assert_eq!(
            shed(5).join(", "),
            "one token in 1024, open connections every 32nd interval, no single events"
        );
    }
}
