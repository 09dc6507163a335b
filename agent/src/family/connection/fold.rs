//! Events of connections into the tables, each with who is behind it.

use super::aggregate::Connections;
use super::direction::Direction;
use super::observe::Observer;
use crate::clock::Now;
use crate::family::connection::event::Connection;
use crate::family::contract::Shared;
use crate::family::process::Observed;

/// The tables, and what tells the direction of connections where nobody saw them begin.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) connections: Connections,
    pub(super) direction: Direction,
}

impl Fold {
    pub(super) fn all(&mut self, events: &[Connection], shared: &mut Shared, now: Now) {
        for event in events {
            self.one(event, shared, now);
        }
    }

    /// The same of what the observer tells; its processes may have ended since it saw them.
    pub(super) fn observed(
        &mut self,
        observer: &mut Observer,
        events: &[Connection],
        shared: &mut Shared,
        now: Now,
    ) {
        shared.processes.keep_past(observer.take_past());
        self.all(events, shared, now);
    }

    fn one(&mut self, event: &Connection, shared: &mut Shared, now: Now) {
        let settled = self.direction.settle(event);
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
        let process_id = shared.processes.resolve(&observed, now.unix_ms);
        self.connections.fold(event, process_id, now);
    }
}
