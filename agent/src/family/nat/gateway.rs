//! The family at work: connection tracking into its table.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::aggregate::Translations;
use super::conntrack::Conntrack;
use super::decide::NAME;
use crate::batch::Summary;
use crate::clock::{self, Now};
use crate::family::contract::{Family, Opening, Shared};
use crate::family::totals::Close;
use crate::fault;
use crate::metrics::Metrics;
use crate::netlink::Taken;
use crate::orders::InForce;
use crate::plan::Decision;
use crate::spool::Lost;

/// Messages of the kernel read in one turn; each tells of one connection.
const BUDGET: usize = 1024;
/// Connection tracking is listened to this often.
const PAUSE: Duration = Duration::from_millis(200);
/// From this level of the governor on translations are not followed.
const SHED_FROM: u8 = 4;

/// What is left out at a level of the governor, in an operator's words.
pub(crate) fn shed(level: u8) -> Vec<String> {
    let shed = (level >= SHED_FROM).then(|| "no translations".to_owned());
    shed.into_iter().collect()
}

/// Begins to listen to connection tracking.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn open(opening: &Opening<'_>, _: &mut Decision) -> Result<Box<dyn Family>> {
    let bound = opening.config.limits.edges as usize;
    let opened = fault::before("tracking").and_then(|()| Gateway::open(bound, clock::unix_ms()));
    let gateway = opened.context("connection tracking cannot be read")?;
    Ok(Box::new(gateway))
}

/// Reads what the network namespace of the agent translates.
#[derive(Debug)]
pub struct Gateway {
    conntrack: Conntrack,
    table: Translations,
    /// What was read since it was published.
    read: Taken,
    /// Connections since they were published, those that were there at the start among them.
    connections: u64,
    /// Connections that were not followed, to take less.
    spared: u64,
    sheds: bool,
    /// Rows are sent.
    sends: bool,
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
            read: Taken::default(),
            connections,
            spared: 0,
            sheds: false,
            sends: true,
        })
    }
}

impl Family for Gateway {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pause(&self) -> Duration {
        PAUSE
    }

    fn take(&mut self, _shared: &mut Shared) -> Result<bool> {
        let now_ms = clock::now().unix_ms;
        let (mut connections, table, sheds) = (0, &mut self.table, self.sheds);
        let taken = self.conntrack.take(BUDGET, |one| {
            connections += 1;
            if !sheds {
                table.fold(&one, now_ms);
            }
        });
        self.connections += connections;
        self.spared += if sheds { connections } else { 0 };
        self.read.dropped += taken.dropped;
        self.read.invalid += taken.invalid;
        Ok(taken.more)
    }

    fn publish(&mut self, metrics: &Metrics, _now: Now) {
        let Taken {
            dropped, invalid, ..
        } = std::mem::take(&mut self.read);
        let connections = std::mem::take(&mut self.connections);
        metrics.nat_connections_total.add(connections);
        metrics.nat_dropped_overruns_total.add(dropped);
        metrics.nat_dropped_invalid_total.add(invalid);
        metrics
            .nat_dropped_overflow_total
            .set(self.table.overflowed());
        metrics.nat_translations.set(self.table.size() as u64);
        let spared = std::mem::take(&mut self.spared);
        metrics.governor_dropped_translations_total.add(spared);
    }

    fn close(&mut self, rows: &mut Summary, close: &Close, _: &mut Shared) {
        let nats = self.table.close(close);
        if self.sends {
            rows.others.nats = nats;
            rows.owes |= self.table.is_short();
        } else {
            // Told as totals once they may be.
            self.table.lost(Lost::from(close.batch));
        }
    }

    fn shed(&mut self, level: u8) {
        self.sheds = level >= SHED_FROM;
    }

    fn obey(&mut self, in_force: &InForce) -> Result<()> {
        self.sends = in_force.sends(NAME);
        Ok(())
    }
}
