//! What an interval says of the agent itself: counters, plan, status.

use log::warn;

use super::EventLoop;
use crate::clock::Now;
use crate::family::Report;
use crate::status::Status;

impl EventLoop {
    /// Publishes what the agent itself counted.
    pub(super) fn publish(&mut self) {
        let metrics = &self.parts.shared.metrics;
        metrics
            .agent_rss_peak_bytes
            .set(std::mem::take(&mut self.peak_bytes));
        metrics.log_dropped_total.set(self.parts.log.dropped());
    }

    /// The plan as it stands by now, and what families say beside it. What a family says by now
    /// replaces what was planned.
    pub(super) fn report(&self) -> Report {
        let parts = &self.parts;
        let mut report = Report::default();
        for family in &parts.families {
            family.report(&mut report);
        }
        let mut plan = parts.shared.host.row().plan.clone();
        plan.retain(|(name, _)| report.plan.iter().all(|(said, _)| said != name));
        plan.append(&mut report.plan);
        plan.extend(parts.fleet.row());
        plan.extend(parts.governor.row());
        plan.extend(parts.followed.rows());
        Report { plan, ..report }
    }

    pub(super) fn write_status(&self, now: Now) {
        let row = self.parts.shared.host.row();
        let counters = self.parts.shared.metrics.snapshot();
        let report = self.parts.shared.report.clone();
        let status = Status {
            pid: std::process::id(),
            started_ms: row.started_ms,
            written_ms: now.unix_ms,
            mode: row.mode.clone(),
            plan: report.plan,
            paths_off: report.paths_off,
            jail: Some(self.parts.seen.clone()),
            kept: Some(self.parts.kept.clone()),
            keeper: self.parts.keeper.clone(),
            reader: self.parts.reader.clone(),
            counters: counters.into_iter().collect(),
        };
        match status.text() {
            Ok(text) => self.parts.writer.status(text),
            Err(error) => warn!(error:% = error; "status not made"),
        }
    }
}
