//! What an interval says of the agent itself: counters, host row, status.

use std::time::Instant;

use log::warn;
use wire::HostRow;

use super::{EventLoop, HOST_ROW_EVERY};
use crate::clock::Now;
use crate::kernel::{self, Counters};
use crate::loader;
use crate::plan;
use crate::status::Status;

impl EventLoop {
    /// Publishes what the kernel counted, and looks whether there are other sockops programs by now.
    pub(super) fn report_kernel(&mut self, now: Now) -> Vec<(String, String)> {
        let Some(loaded) = &mut self.parts.loaded else {
            return Vec::new();
        };
        match Counters::read(&loaded.core.counters) {
            Ok(counters) => {
                let metrics = &self.parts.metrics;
                counters.publish(metrics);
                if let Some(records) = &self.parts.records {
                    let (told, arrived) = (records.told_lost(), records.arrived());
                    self.losses.publish(&counters, told, &arrived, metrics);
                }
            }
            Err(error) => warn!(error = format!("{error:#}").as_str(); "kernel counters not read"),
        }
        if let Some(lister) = &self.parts.lister {
            lister.publish(&self.parts.metrics);
        }
        match loader::missed_runs(&loaded.object) {
            Ok(missed) => self
                .parts
                .metrics
                .kernel_programs_dropped_runs_total
                .set(missed),
            Err(error) => warn!(error = format!("{error:#}").as_str(); "missed runs not read"),
        }
        let mut settings = loaded.settings;
        if let Some(neighbours) = &loaded.neighbours {
            settings.keep_cb_flags = u8::from(neighbours.may_share());
        }
        if let Some(filters) = &loaded.filters {
            settings.clone = loader::clone_flags(filters.state());
        }
        if settings != loaded.settings {
            match loader::write_settings(&loaded.maps.config, &settings) {
                Ok(()) => loaded.settings = settings,
                // Found changed, and tried, again at the end of the next interval.
                Err(error) => {
                    warn!(error = format!("{error:#}").as_str(); "settings not changed");
                }
            }
        }
        kernel::paths_off(&loaded.maps.paths, now.monotonic_ns()).unwrap_or_else(|error| {
            warn!(error = format!("{error:#}").as_str(); "negative cache not read");
            Vec::new()
        })
    }

    pub(super) fn report_aggregate(&mut self) {
        let metrics = &self.parts.metrics;
        metrics
            .agent_rss_peak_bytes
            .set(std::mem::take(&mut self.peak_bytes));
        metrics.log_dropped_total.set(self.parts.log.dropped());
        let losses = self.connections.losses();
        let (connections, edges) = self.connections.sizes();
        metrics
            .aggregate_connections_full_total
            .set(losses.connections_full);
        metrics
            .aggregate_connections_dropped_lost_total
            .set(losses.connections_lost);
        metrics
            .aggregate_connections_unowned_total
            .set(losses.connections_unowned);
        metrics
            .aggregate_edges_dropped_overflow_total
            .set(losses.edges_overflowed);
        metrics
            .aggregate_sightings_dropped_total
            .set(losses.sightings_dropped);
        metrics
            .aggregate_sightings_unsampled_total
            .set(losses.sightings_unsampled);
        metrics
            .aggregate_events_dropped_total
            .set(losses.events_dropped);
        metrics
            .process_identities_dropped_overflow_total
            .set(self.parts.identities.overflowed());
        metrics
            .governor_dropped_events_total
            .set(losses.events_spared);
        metrics.aggregate_connections.set(connections as u64);
        metrics.aggregate_edges.set(edges as u64);
        metrics
            .aggregate_sample_level
            .set(u64::from(self.connections.sample_level()));
    }

    /// A batch that was lost may have carried the names of processes that are still in use.
    pub(super) fn repair_names(&mut self) {
        let lost = self.parts.metrics.batches_lost();
        if lost != self.batches_lost {
            self.batches_lost = lost;
            self.parts.identities.resend();
        }
    }

    /// The host row when it is due, or when something an operator must know changed.
    pub(super) fn host_rows(
        &mut self,
        paths_off: &[(String, String)],
        at: Instant,
    ) -> Vec<HostRow> {
        let mut said: Vec<(String, String)> = self
            .parts
            .metrics
            .snapshot()
            .into_iter()
            .filter(|(name, _)| name.contains("_dropped_") || name.contains("_evicted_"))
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        said.extend(
            paths_off
                .iter()
                .map(|(peer, _)| (peer.clone(), String::new())),
        );
        let due = self
            .host_row_at
            .is_none_or(|last| at.duration_since(last) >= HOST_ROW_EVERY);
        if !due && said == self.host_row_said {
            return Vec::new();
        }
        self.host_row_at = Some(at);
        self.host_row_said = said;
        let mut row = self.parts.host.clone();
        row.paths_off = paths_off.to_vec();
        row.plan = self.plan();
        row.counters = self.parts.metrics.snapshot();
        let lost = row.fit();
        self.parts.metrics.host_row_cut_texts_total.add(lost);
        vec![row]
    }

    /// The plan as it stands by now.
    fn plan(&self) -> Vec<(String, String)> {
        let mut plan = self.parts.host.plan.clone();
        plan.retain(|(name, _)| name != plan::ABSENT_ROW);
        plan.extend(plan::absent_row(self.connections.absent()));
        plan.extend(self.parts.fleet.row());
        plan.extend(self.parts.governor.row());
        plan.extend(self.parts.followed.rows());
        let loaded = self.parts.loaded.as_ref();
        plan.extend(loaded.and_then(|loaded| loaded.scope.row()));
        plan
    }

    pub(super) fn write_status(&self, now: Now, paths_off: Vec<(String, String)>) {
        let plan = self.plan();
        let status = Status {
            pid: std::process::id(),
            started_ms: self.parts.host.started_ms,
            written_ms: now.unix_ms,
            mode: self.parts.host.mode.clone(),
            plan,
            paths_off,
            jail: Some(self.parts.seen.clone()),
            kept: Some(self.parts.kept.clone()),
            keeper: self.parts.keeper.clone(),
            reader: self.parts.reader.clone(),
            counters: self.parts.metrics.snapshot().into_iter().collect(),
        };
        match status.text() {
            Ok(text) => self.parts.writer.status(text),
            Err(error) => warn!(error:% = error; "status not made"),
        }
    }
}
