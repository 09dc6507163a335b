//! What each source gives in a turn.

use anyhow::Result;

use super::{EventLoop, Parts, now};
use crate::clock::Now;
use crate::event::Connection;
use crate::family::connection::aggregate::Connections;
use crate::family::connection::observe::{self, Lister};
use crate::family::process::Observed;
use crate::kernel;

impl EventLoop {
    /// Folds the next records of the kernel; true when there may be more.
    pub(super) fn take_records(&mut self) -> Result<bool> {
        let Some(records) = &mut self.parts.records else {
            return Ok(false);
        };
        let now = now();
        let taken = records.take()?;
        let metrics = &self.parts.metrics;
        metrics.record_dropped_invalid_total.add(taken.invalid);
        metrics.record_decoded_total.add(taken.events.len() as u64);
        self.fold_all(&taken.events, now);
        Ok(taken.more)
    }

    /// Folds every record that is there now, and of those that come meanwhile at most as many.
    pub(super) fn drain_records(&mut self) -> Result<()> {
        let before = self.parts.metrics.record_decoded_total.get();
        let most = self.parts.records.as_ref().map_or(0, |all| all.capacity());
        while self.take_records()? {
            if self.parts.metrics.record_decoded_total.get() - before >= most {
                break;
            }
        }
        Ok(())
    }

    /// Folds what packet sockets and news of closed sockets have to say; true when there may be more.
    pub(super) fn observe(&mut self) -> Result<bool> {
        let Some(observer) = &mut self.parts.observer else {
            return Ok(false);
        };
        let now = now();
        let (events, more) = observer.tick(now)?;
        let decoded = &self.parts.metrics.record_decoded_total;
        decoded.add(events.len() as u64);
        self.fold_observed(&events, now);
        Ok(more)
    }

    /// The same for every packet that is there now: those that come meanwhile do not hold it up.
    pub(super) fn drain_packets(&mut self) -> Result<()> {
        for _ in 0..observe::MAX_LOOKS {
            if !self.observe()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes note of translated connections; true when there may be more.
    pub(super) fn listen_to_conntrack(&mut self) -> bool {
        let gateway = self.parts.gateway.as_mut();
        gateway.is_some_and(|gateway| gateway.take(&self.parts.metrics, now().unix_ms))
    }

    /// The same for what the list of open connections shows.
    pub(super) fn observe_open(&mut self) {
        let now = now();
        let Some(observer) = &mut self.parts.observer else {
            return;
        };
        let events = observer.snapshot(now);
        observer.publish(&self.parts.metrics);
        let read = &self.parts.metrics.record_snapshot_total;
        read.add(events.len() as u64);
        // No sweep: what is gone without a word the observer itself finds out and says.
        self.fold_observed(&events, now);
    }

    /// Folds what the observer tells; its processes may have ended since it saw them.
    fn fold_observed(&mut self, events: &[Connection], now: Now) {
        if let Some(observer) = &mut self.parts.observer {
            self.parts.surroundings.keep_past(observer.take_past());
        }
        self.fold_all(events, now);
    }

    pub(super) fn fold_all(&mut self, events: &[Connection], now: Now) {
        for event in events {
            fold(&mut self.parts, &mut self.connections, event, now);
        }
    }

    /// Takes over the connections that were there before.
    pub(super) fn adopt(&mut self) {
        if let Some(observer) = &mut self.parts.observer {
            let now = now();
            let events = observer.adopt(now);
            let adopted = &self.parts.metrics.record_adopted_total;
            adopted.add(events.len() as u64);
            self.fold_observed(&events, now);
            return;
        }
        let Some(loaded) = &mut self.parts.loaded else {
            return;
        };
        let adopted = std::mem::take(&mut loaded.adopted);
        let listed = self.parts.lister.as_mut().map(Lister::take_adopted);
        let now = now();
        // Some at a time: all of them together would be most of the agent's memory.
        let parts = adopted.chunks(kernel::PART_BYTES).map(kernel::decode_all);
        for (events, invalid) in parts.chain(listed.map(|events| (events, 0))) {
            let metrics = &self.parts.metrics;
            metrics.record_dropped_invalid_total.add(invalid);
            metrics.record_adopted_total.add(events.len() as u64);
            self.fold_all(&events, now);
        }
    }
}

fn fold(parts: &mut Parts, connections: &mut Connections, event: &Connection, now: Now) {
    let settled = parts.direction.settle(event);
    let event = settled.as_ref().unwrap_or(event);
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
