//! The collector's own counters, in Prometheus text at `GET /metrics`.
//!
//! Every place that turns data away owns one. Counters are atomics: each thread counts its own
//! stage without a lock.

mod durations;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

pub use program::counter::Counter;

use crate::accept::Reason;
use crate::log::Limiter;
pub use durations::Durations;

/// Counter and log limiter of one [`Reason`].
#[derive(Debug, Default)]
struct Refused {
    count: Counter,
    lines: Limiter,
}

macro_rules! counters {
    ($(#[doc = $doc:literal] $name:ident: $kind:literal,)*) => {
        /// All counters and gauges, shared by every task and thread.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $doc] pub $name: Counter,)*
            refused: [Refused; Reason::ALL.len()],
            /// From the head of a request to the answer that its batch is stored.
            pub ingest_seconds: Durations,
            /// Time that a batch waits for the thread that writes.
            pub store_queue_seconds: Durations,
            /// Time for a group of batches, until it is on disk.
            pub store_commit_seconds: Durations,
            /// Time for reading and joining a slice.
            pub join_slice_seconds: Durations,
            /// Time for making a topology before somebody asks.
            pub topology_standing_seconds: Durations,
            /// Time for holding the rules against a minute.
            pub alert_pass_seconds: Durations,
            /// Time for an answer, without sending it, by the name of the operation.
            routes: RwLock<BTreeMap<&'static str, Arc<Durations>>>,
        }

        impl Metrics {
            /// Name, type, description and value of each.
            pub(crate) fn all(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
                vec![$((stringify!($name), $kind, $doc, self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Batches stored.
    ingest_batches_stored_total: "counter",
    /// Batches that had been stored before and were sent again.
    ingest_batches_duplicate_total: "counter",
    /// Rows stored, of all families.
    ingest_rows_stored_total: "counter",
    /// Rows beyond the bounds of tables that are stored by their description: not stored.
    ingest_rows_unknown_total: "counter",
    /// Rows that came late, and of which a part shows with the next totals of their series only.
    ingest_rows_unplaced_total: "counter",
    /// Compressed bytes of stored batches.
    ingest_bytes_stored_total: "counter",
    /// Batches whose host clock was ahead, stored under the time of their arrival.
    ingest_batches_clock_ahead_total: "counter",
    /// Batches of an agent that went on beside a later one of the same host id.
    ingest_batches_copied_host_total: "counter",
    /// Batches being received, decoded or stored now.
    ingest_batches_in_flight: "gauge",
    /// Batches that wait for the thread that writes.
    store_queue_batches: "gauge",
    /// Batches that were turned away because too many waited for it.
    store_queue_refused_total: "counter",
    /// Slices of a minute that were joined.
    join_slices_total: "counter",
    /// Those of them that had been joined before and were changed by what came later.
    join_slices_again_total: "counter",
    /// Slices of any length that wait to be joined, those that go on among them.
    join_slices_waiting: "gauge",
    /// Those of them that take more rows or memory than a question may, and are not joined.
    join_slices_too_large: "gauge",
    /// Age of the oldest slice of a minute that waits.
    join_oldest_waiting_seconds: "gauge",
    /// Times that a slice could not be read, joined or stored; it is tried again.
    join_failures_total: "counter",
    /// Answers that carried orders to an agent that had older ones.
    orders_sent_total: "counter",
    /// Hosts that got their first certificate.
    enroll_issued_total: "counter",
    /// Certificates that took the place of one before its end.
    enroll_renewed_total: "counter",
    /// Requests for a certificate with a token that is none.
    enroll_refused_unknown_total: "counter",
    /// Requests for a certificate with a token that has been used.
    enroll_refused_used_total: "counter",
    /// Requests for a certificate with a token that is too old.
    enroll_refused_expired_total: "counter",
    /// Requests for a certificate that cannot be read, or ask for what is not given.
    enroll_refused_request_total: "counter",
    /// Sessions of people that began.
    logins_total: "counter",
    /// Attempts to log in with a wrong password or link, or as a user that is disabled.
    logins_failed_total: "counter",
    /// Attempts to log in refused because there were too many of a user or from an address.
    logins_refused_limited_total: "counter",
    /// Attempts to log in refused because as many passwords were being tried as may be.
    logins_refused_busy_total: "counter",
    /// Requests with headers of a proxy from where no proxy is: the headers did not count.
    proxy_headers_ignored_total: "counter",
    /// Requests of a proxy that named nobody, more than one, or somebody who may do nothing.
    proxy_headers_refused_total: "counter",
    /// Seconds in which no more files could be opened, connections among them.
    open_files_exhausted_total: "counter",
    /// Times certificates, keys and tokens were put in force anew after their files changed.
    secrets_read_again_total: "counter",
    /// Times a changed file could not be used, so that what was read before stayed in force.
    secrets_refused_total: "counter",
    /// 1 while the configuration file is not what it was at the start.
    configuration_changed: "gauge",
    /// Times that a connection could not be accepted; it waits and is tried again.
    connections_accept_failed_total: "counter",
    /// Connections refused because there were too many, each of them at work.
    connections_dropped_full_total: "counter",
    /// Connections closed to let another one in: idle ones, or of the peer with most of them.
    connections_closed_for_others_total: "counter",
    /// Connections closed because the other side did not read its answer.
    connections_dropped_unread_total: "counter",
    /// Connections whose TLS handshake failed.
    connections_dropped_handshake_total: "counter",
    /// Connections open now.
    connections_open: "gauge",
    /// Answered questions.
    query_answers_total: "counter",
    /// Topologies that were given to a question which takes one that is older.
    query_topologies_again_total: "counter",
    /// Bytes of topologies that are kept for such questions.
    query_topologies_kept_bytes: "gauge",
    /// Times that a topology was not made before somebody asks: too little is joined, or too large.
    query_topologies_standing_skipped_total: "counter",
    /// Bytes of sums that such topologies are made of.
    query_topologies_standing_bytes: "gauge",
    /// Questions that failed or were refused.
    query_failures_total: "counter",
    /// Of these, questions refused because too many were being answered.
    query_refused_busy_total: "counter",
    /// Answers given up because they were not taken in time.
    query_answers_given_up_total: "counter",
    /// Batches the store failed to commit; their agents keep them.
    store_commits_failed_total: "counter",
    /// Committed groups of batches.
    store_commits_total: "counter",
    /// Bytes of the store that hold something.
    store_used_bytes: "gauge",
    /// Bytes of the file of the store.
    store_file_bytes: "gauge",
    /// Bytes of the write-ahead log of the store.
    store_log_bytes: "gauge",
    /// Batch keys evicted because the store was full.
    store_evicted_batches_total: "counter",
    /// Counter samples evicted because the store was full.
    store_evicted_samples_total: "counter",
    /// Sightings evicted because the store was full.
    store_evicted_sightings_total: "counter",
    /// Events evicted because the store was full.
    store_evicted_events_total: "counter",
    /// Translations of gateways, and their samples, evicted because the store was full.
    store_evicted_nats_total: "counter",
    /// Identities (hosts, processes, flows) evicted because the store was full.
    store_evicted_identities_total: "counter",
    /// Slices of what was joined that were deleted because the store was full.
    store_evicted_slices_total: "counter",
    /// Hosts that made room for new ones.
    store_forgotten_hosts_total: "counter",
    /// Rows deleted of hosts that made room.
    store_forgotten_rows_total: "counter",
    /// Batch keys deleted by retention.
    retention_deleted_batches_total: "counter",
    /// Counter samples deleted by retention.
    retention_deleted_samples_total: "counter",
    /// Sightings deleted by retention.
    retention_deleted_sightings_total: "counter",
    /// Events deleted by retention.
    retention_deleted_events_total: "counter",
    /// Translations of gateways, and their samples, deleted by retention.
    retention_deleted_nats_total: "counter",
    /// Identities (hosts, processes, flows) deleted by retention.
    retention_deleted_identities_total: "counter",
    /// Slices of what was joined that retention deleted.
    retention_deleted_slices_total: "counter",
    /// Retention steps that failed.
    retention_failures_total: "counter",
    /// Alerts that fire.
    alerts_firing: "gauge",
    /// Alerts that are found and do not fire yet.
    alerts_pending: "gauge",
    /// Alerts that fire or are pending and cannot be judged now.
    alerts_unknown: "gauge",
    /// Findings for which there was no room among the alerts.
    alerts_cut_total: "counter",
    /// Steps in the life of alerts.
    alert_transitions_total: "counter",
    /// Notices about alerts that were sent; of Alertmanager, alerts.
    alert_notices_sent_total: "counter",
    /// Notices that will never be taken.
    alert_notices_refused_total: "counter",
    /// Notices that made room for others, or could not be sent for a day.
    alert_notices_dropped_total: "counter",
    /// Attempts to send notices that failed and are made again.
    alert_notices_failed_total: "counter",
    /// Rules that are judged.
    alert_rules: "gauge",
    /// Times that a file of rules could not be used, or a part of it; what was read before stays.
    alert_rules_refused_total: "counter",
    /// Times that the rules were held against a minute.
    alert_passes_total: "counter",
    /// Times that the store could not be read for it.
    alert_pass_failures_total: "counter",
    /// Rows that rules were held against.
    alert_rows_total: "counter",
    /// Rows beyond those that are looked at in one window.
    alert_rows_cut_total: "counter",
    /// Windows that were too large to be read for rules.
    alert_unread_total: "counter",
    /// Rows of groups for which there was no room.
    alert_groups_cut_total: "counter",
    /// Times that a host's counters were not remembered, because there were too many hosts.
    alert_hosts_cut_total: "counter",
    /// What the rules found in the last minute.
    alert_findings: "gauge",
    /// What they could not judge in it.
    alert_unjudged: "gauge",
    /// Numbers of which it is known what is usual.
    alert_usual_numbers: "gauge",
    /// Numbers and subjects for which there was no room among those.
    alert_usual_cut_total: "counter",
}

impl Metrics {
    /// Counts a refusal; `Some(n)` when it may be logged, `n` lines having been held back.
    pub fn refused(&self, reason: Reason, now_ms: i64) -> Option<u64> {
        let refused = &self.refused[reason as usize];
        refused.count.add(1);
        refused.lines.admit(now_ms)
    }

    /// Reasons whose lines were held back and that have been quiet since, with how many: nobody
    /// would say so.
    pub fn held_back(&self, now_ms: i64) -> Vec<(Reason, u64)> {
        let all = Reason::ALL.into_iter();
        let held = all.filter_map(|reason| {
            let lines = &self.refused[reason as usize].lines;
            Some((reason, lines.overdue(now_ms)?))
        });
        held.collect()
    }

    /// The times of an operation.
    ///
    /// Operations are few and known, so that nobody can make series.
    pub fn route(&self, operation: &'static str) -> Arc<Durations> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(operation).or_default())
    }

    /// Number of refusals for one reason.
    #[must_use]
    pub fn refusals(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].count.get()
    }

    /// Prometheus text exposition, version 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        for (name, kind, doc, value) in self.all() {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP waybill_collector_{name} {}\n# TYPE waybill_collector_{name} {kind}\n\
                 waybill_collector_{name} {value}\n",
                doc.trim()
            );
        }
        text.push_str(
            "# HELP waybill_collector_ingest_refused_total Requests refused.\n\
             # TYPE waybill_collector_ingest_refused_total counter\n",
        );
        for reason in Reason::ALL {
            let (name, count) = (reason.name(), self.refusals(reason));
            let _ = writeln!(
                text,
                "waybill_collector_ingest_refused_total{{reason=\"{name}\"}} {count}"
            );
        }
        self.durations(&mut text);
        text
    }

    fn durations(&self, text: &mut String) {
        let head = |text: &mut String, name: &str, help: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        };
        for (name, help, durations) in [
            (
                "ingest",
                "From the head of a request to the answer that its batch is stored.",
                &self.ingest_seconds,
            ),
            (
                "store_queue",
                "Time that a batch waits for the thread that writes.",
                &self.store_queue_seconds,
            ),
            (
                "store_commit",
                "Time for a group of batches, until it is on disk.",
                &self.store_commit_seconds,
            ),
            (
                "join_slice",
                "Time for reading and joining a slice.",
                &self.join_slice_seconds,
            ),
            (
                "topology_standing",
                "Time for making a topology before somebody asks.",
                &self.topology_standing_seconds,
            ),
            (
                "alert_pass",
                "Time for holding the rules against a minute.",
                &self.alert_pass_seconds,
            ),
        ] {
            let name = format!("waybill_collector_{name}_seconds");
            head(text, &name, help);
            durations.write(text, &name, "");
        }
        let name = "waybill_collector_request_seconds";
        let help = "Time for an answer, without sending it, by operation.";
        head(text, name, help);
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        for (operation, durations) in routes.iter() {
            durations.write(text, name, &format!("operation=\"{operation}\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use crate::accept::Reason;

    #[test]
    fn every_refusal_has_its_own_counter() {
        let metrics = Metrics::default();
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            for _ in 0..n {
                metrics.refused(reason, 0);
            }
        }
        let text = metrics.prometheus();
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            let line = format!(
                "waybill_collector_ingest_refused_total{{reason=\"{}\"}} {n}\n",
                reason.name()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
}
