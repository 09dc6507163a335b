//! Looks at the connections that are open.

use anyhow::Result;
use log::warn;

use super::{EventLoop, now};
use crate::clock::Now;
use crate::event::Connection;
use crate::family::connection::observe::Lister;
use crate::kernel::{self, Counters, Snapshot};

impl EventLoop {
    /// Reads the open connections; what two snapshots do not show any more is forgotten.
    pub(super) fn snapshot(&mut self) -> Result<()> {
        let Some(loaded) = &self.parts.loaded else {
            return Ok(());
        };
        let before = Counters::read(&loaded.core.counters)?;
        let found = match self.look() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                warn!(error = format!("{error:#}").as_str(); "no snapshot in this interval");
                return Ok(());
            }
        };
        let Some(loaded) = &self.parts.loaded else {
            return Ok(());
        };
        let after = Counters::read(&loaded.core.counters)?;
        self.drain_records()?;
        // What a list lacks that is not whole may still be open.
        if self.parts.lister.as_ref().is_none_or(Lister::is_whole) {
            self.connections.sweep();
        }
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

    /// Folds what is open; gives how many entries the programs' table has, if it can be looked at.
    fn look(&mut self) -> Result<Option<u64>> {
        let Some(loaded) = &self.parts.loaded else {
            return Ok(None);
        };
        if let Some(lister) = &mut self.parts.lister {
            let entries = kernel::entries(&loaded.maps.connections)?;
            let now = now();
            let events = lister.snapshot(&entries, now);
            self.fold_open(&events, now);
            return Ok(Some(entries.len() as u64));
        }
        let Some(mut snapshot) = Snapshot::begin(loaded)? else {
            return Ok(None);
        };
        let mut found = 0;
        while let Some((events, invalid)) = snapshot.take()? {
            found += events.len() as u64;
            self.parts.metrics.record_dropped_invalid_total.add(invalid);
            self.fold_open(&events, now());
        }
        Ok(Some(found))
    }

    fn fold_open(&mut self, events: &[Connection], now: Now) {
        let read = &self.parts.metrics.record_snapshot_total;
        read.add(events.len() as u64);
        self.fold_all(events, now);
    }
}
