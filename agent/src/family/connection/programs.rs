//! Connections by programs: their records, what is open, and what the kernel counted.

use std::os::fd::{AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use log::warn;

use super::event::Connection;
use super::fold::Fold;
use super::kernel::{self, Loaded, Snapshot};
use super::observe::Lister;
use super::plan::writes_option;
use crate::clock::{self, Now};
use crate::config::Config;
use crate::family::contract::Shared;
use crate::kernel::Counters;
use crate::metrics::Metrics;
use crate::orders::{Destinations, InForce};
use crate::records::Inbox;

/// The programs sleep without a heartbeat for long, and the scope's cgroup is looked for.
const BEAT: Duration = Duration::from_secs(1);

/// What runs in the kernel, and what comes from there.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) loaded: Loaded,
    records: Inbox<Connection>,
    /// What looks at open connections where programs have no iterators.
    pub(super) lister: Option<Lister>,
    evicted: u64,
    /// Every destination that the kernel may have a rule for.
    there: Destinations,
    beat_at: Option<Instant>,
    scope_at: Option<Instant>,
    /// Peers towards which the option is off, and why.
    pub(super) paths_off: Vec<(String, String)>,
}

impl Programs {
    /// `there` is what the kernel was loaded with.
    pub(super) fn new(loaded: Loaded, records: Inbox<Connection>, there: Destinations) -> Self {
        Self {
            loaded,
            records,
            lister: None,
            evicted: 0,
            there,
            beat_at: None,
            scope_at: None,
            paths_off: Vec::new(),
        }
    }

    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let filters = self.loaded.filters.as_ref();
        let filters = filters.map(|filters| filters.fd().as_raw_fd());
        filters.into_iter().collect()
    }

    /// Takes over the connections that were there before.
    pub(super) fn adopt(&mut self, fold: &mut Fold, shared: &mut Shared) {
        let adopted = std::mem::take(&mut self.loaded.adopted);
        let listed = self.lister.as_mut().map(Lister::take_adopted);
        let now = clock::now();
        // Some at a time: all of them together would be most of the agent's memory.
        let parts = adopted.chunks(kernel::PART_BYTES).map(kernel::decode_all);
        for (events, invalid) in parts.chain(listed.map(|events| (events, 0))) {
            let metrics = &shared.metrics;
            metrics.record_dropped_invalid_total.add(invalid);
            metrics.record_adopted_total.add(events.len() as u64);
            fold.all(&events, shared, now);
        }
    }

    /// Folds the records that were read.
    pub(super) fn take(&self, fold: &mut Fold, shared: &mut Shared) {
        let now = clock::now();
        fold.all(&self.records.take(), shared, now);
    }

    /// The heartbeat without which packet filters sleep, what their keeper says, and whether the
    /// scope's cgroup is still the one that the programs are for; true when that changed.
    pub(super) fn tick(&mut self, metrics: &Metrics, now: Instant) -> Result<bool> {
        let due =
            |at: Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= BEAT);
        if let Some(filters) = &mut self.loaded.filters {
            if due(self.beat_at) {
                self.beat_at = Some(now);
                if let Err(error) = kernel::beat(&self.loaded.maps.heartbeat) {
                    warn!(error = format!("{error:#}").as_str(); "no heartbeat: filters fall asleep");
                }
            }
            // Filters that nobody follows or removes are worth a new start, which finds them.
            filters
                .hear()
                .context("hear the keeper of the packet filters")?;
            let state = filters.state();
            metrics.clone_devices.set(state.attached.into());
            metrics.clone_devices_refused.set(state.refused.into());
        }
        if !due(self.scope_at) {
            return Ok(false);
        }
        self.scope_at = Some(now);
        Ok(self.loaded.follow_scope())
    }

    /// Reads the open connections; what two snapshots do not show any more is forgotten.
    pub(super) fn snapshot(&mut self, fold: &mut Fold, shared: &mut Shared) -> Result<()> {
        let before = Counters::read(&self.loaded.core.counters)?;
        let found = match self.look(fold, shared) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                warn!(error = format!("{error:#}").as_str(); "no snapshot in this interval");
                return Ok(());
            }
        };
        let after = Counters::read(&self.loaded.core.counters)?;
        shared.drain_records(|shared| {
            self.take(fold, shared);
            Ok(())
        })?;
        // What a list lacks that is not whole may still be open.
        if self.lister.as_ref().is_none_or(Lister::is_whole) {
            fold.connections.sweep();
        }
        // A lower bound while connections come and go: what is missing for certain.
        let inserted = before.get(bpf::abi::WB_COUNT_CONNECTIONS_INSERTED);
        let deleted = after.get(bpf::abi::WB_COUNT_CONNECTIONS_DELETED);
        let missing = inserted.saturating_sub(deleted).saturating_sub(found);
        self.evicted = self.evicted.max(missing);
        let evicted = &shared.metrics.kernel_connections_dropped_evicted_total;
        evicted.set(self.evicted);
        Ok(())
    }

    /// Folds what is open; gives how many entries the programs' table has, if it can be looked at.
    fn look(&mut self, fold: &mut Fold, shared: &mut Shared) -> Result<Option<u64>> {
        let metrics = std::sync::Arc::clone(&shared.metrics);
        if let Some(lister) = &mut self.lister {
            let entries = kernel::entries(&self.loaded.maps.connections)?;
            let now = clock::now();
            let events = lister.snapshot(&entries, now);
            metrics.record_snapshot_total.add(events.len() as u64);
            fold.all(&events, shared, now);
            return Ok(Some(entries.len() as u64));
        }
        let Some(live) = &self.loaded.live else {
            return Ok(None);
        };
        let mut snapshot = Snapshot::begin(live)?;
        let mut found = 0;
        while let Some((events, invalid)) = snapshot.take()? {
            found += events.len() as u64;
            metrics.record_dropped_invalid_total.add(invalid);
            metrics.record_snapshot_total.add(events.len() as u64);
            fold.all(&events, shared, clock::now());
        }
        Ok(Some(found))
    }

    /// Publishes what the kernel says of programs, and looks whether there are other sockops programs by now.
    pub(super) fn publish(&mut self, metrics: &Metrics, now: Now) {
        let loaded = &mut self.loaded;
        if let Some(lister) = &self.lister {
            lister.publish(metrics);
        }
        match kernel::missed_runs(&loaded.object) {
            Ok(missed) => metrics.kernel_programs_dropped_runs_total.set(missed),
            Err(error) => warn!(error = format!("{error:#}").as_str(); "missed runs not read"),
        }
        let mut settings = loaded.settings;
        if let Some(co_attached) = &loaded.co_attached {
            settings.keep_cb_flags = u8::from(co_attached.may_share());
        }
        if let Some(filters) = &loaded.filters {
            settings.clone = kernel::clone_flags(filters.state());
        }
        if settings != loaded.settings {
            match kernel::write_settings(&loaded.maps.config, &settings) {
                Ok(()) => loaded.settings = settings,
                // Found changed, and tried, again at the end of the next interval.
                Err(error) => {
                    warn!(error = format!("{error:#}").as_str(); "settings not changed");
                }
            }
        }
        let paths = kernel::paths_off(&loaded.maps.paths, now.monotonic_ns());
        self.paths_off = paths.unwrap_or_else(|error| {
            warn!(error = format!("{error:#}").as_str(); "negative cache not read");
            Vec::new()
        });
    }

    /// Switch first where it goes off, last where it goes on.
    pub(super) fn obey(&mut self, to: &InForce) -> Result<()> {
        let done = self.tell(to);
        match done {
            Ok(()) => self.there.clone_from(&to.destinations),
            Err(_) => self.there.extend(&to.destinations),
        }
        done
    }

    fn tell(&mut self, to: &InForce) -> Result<()> {
        let writes = writes_option(to);
        if !writes {
            self.switch(false)?;
        }
        let destinations = &self.loaded.maps.destinations;
        kernel::replace_destinations(destinations, &self.there, &to.destinations)?;
        if writes {
            self.switch(true)?;
        }
        Ok(())
    }

    fn switch(&mut self, on: bool) -> Result<()> {
        let mut settings = self.loaded.settings;
        settings.option_write = u8::from(on);
        kernel::write_settings(&self.loaded.maps.config, &settings)?;
        self.loaded.settings = settings;
        Ok(())
    }

    pub(super) fn change_keys(&self, config: &Config) {
        if let Err(error) = kernel::write_keys(&self.loaded.maps.keys, &config.keys) {
            warn!(error = format!("{error:#}").as_str(); "fleet keys not changed");
        }
    }
}
