//! Looks at the connections that are open.

use anyhow::Result;
use log::warn;

use super::{EventLoop, now};
use crate::kernel::{self, Counters};
use crate::observe::Lister;

impl EventLoop {
    /// Reads the open connections; what two snapshots do not show any more is forgotten.
    pub(super) fn snapshot(&mut self) -> Result<()> {
        let Some(loaded) = &self.parts.loaded else {
            return Ok(());
        };
        let before = Counters::read(&loaded.maps.counters)?;
        let read = match &mut self.parts.lister {
            Some(lister) => match kernel::entries(&loaded.maps.connections) {
                Ok(entries) => {
                    let found = entries.len() as u64;
                    Ok(Some((lister.snapshot(&entries, now()), found)))
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
        let now = now();
        self.fold_all(&events, now);
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
}
