//! Family `nat` at work: from the kernel's connection tracking into its table.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use wire::NatRow;

use crate::family::nat::aggregate::Translations;
use crate::family::nat::conntrack::Conntrack;
use crate::metrics::Metrics;

/// Messages of the kernel read in one look; each tells of one connection.
const BUDGET: usize = 1024;

/// Reads what the network namespace of the agent translates.
#[derive(Debug)]
pub struct Gateway {
    conntrack: Conntrack,
    table: Translations,
    /// Connections that were there at the start, until they are counted.
    found: u64,
    spared: bool,
}

impl Gateway {
    /// Takes over the connections that are there and begins to listen; before the agent is confined.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn open(bound: usize, now_ms: u64) -> io::Result<Self> {
        let inode = std::fs::metadata("/proc/self/ns/net")?.ino();
        let netns = u32::try_from(inode).map_err(io::Error::other)?;
        let mut table = Translations::new(netns, bound);
        let mut connections = 0;
        let conntrack = Conntrack::open(|one| {
            connections += 1;
            table.fold(&one, now_ms);
        })?;
        Ok(Self {
            conntrack,
            table,
            found: connections,
            spared: false,
        })
    }

    /// Reads and does not follow translations from now on, or follows them again.
    pub fn spare(&mut self, spared: bool) {
        self.spared = spared;
    }

    /// Takes connections that began since the last call; true when there may be more.
    pub fn take(&mut self, metrics: &Arc<Metrics>, now_ms: u64) -> bool {
        let (mut connections, table, spared) = (0, &mut self.table, self.spared);
        let taken = self.conntrack.take(BUDGET, |one| {
            connections += 1;
            if !spared {
                table.fold(&one, now_ms);
            }
        });
        if spared {
            metrics.governor_dropped_translations_total.add(connections);
        }
        let older = std::mem::take(&mut self.found);
        metrics.nat_connections_total.add(older + connections);
        metrics.nat_dropped_overruns_total.add(taken.dropped);
        metrics.nat_dropped_invalid_total.add(taken.invalid);
        metrics
            .nat_dropped_overflow_total
            .set(self.table.overflowed());
        metrics.nat_translations.set(self.table.size() as u64);
        taken.more
    }

    /// Ends the interval: what changed in it.
    pub fn close(&mut self) -> Vec<NatRow> {
        self.table.close()
    }
}
