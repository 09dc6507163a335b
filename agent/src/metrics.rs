//! The agent's own counters: every place that can lose data owns one.
//!
//! Names are `<stage>_<noun>_<unit>_total`; they are sent in each host row and shown by `doctor`.
//! Counters are atomics so that each thread counts its own stage without a lock.

use std::array;

use bpf::abi;
use bpf::counters::{COUNTERS, KINDS, RECORD_KINDS};
pub use program::counter::Counter;

macro_rules! counters {
    ($(#[$doc:meta] $name:ident,)*) => {
        /// All counters and gauges, shared by all threads.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[$doc] pub $name: Counter,)*
            /// What programs count, and what became of their records.
            of_programs: OfPrograms,
        }

        impl Metrics {
            /// Name and value of each, sorted by name.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(String, u64)> {
                let mut all = vec![$((stringify!($name).to_owned(), self.$name.get()),)*];
                all.extend(self.of_programs.snapshot());
                all.sort();
                all
            }
        }
    };
}

/// What programs count, each by the name that `bpf/families/registry.h` gives it.
#[derive(Debug)]
struct OfPrograms {
    counted: [Counter; abi::WB_COUNT_MAX as usize],
    records: [RecordCounters; KINDS],
}

/// What became of the records of one kind.
#[derive(Debug, Default)]
pub struct RecordCounters {
    /// Those that the programs tried to send.
    pub attempted: Counter,
    /// Of those, the ones that found their ring full.
    pub dropped: Counter,
}

impl Default for OfPrograms {
    fn default() -> Self {
        Self {
            counted: array::from_fn(|_| Counter::default()),
            records: array::from_fn(|_| RecordCounters::default()),
        }
    }
}

impl OfPrograms {
    fn snapshot(&self) -> impl Iterator<Item = (String, u64)> {
        let counted = COUNTERS.iter().map(|counter| {
            let value = self.counted[counter.number as usize].get();
            (counter.name.to_owned(), value)
        });
        let records = RECORD_KINDS.iter().zip(&self.records);
        counted.chain(records.flat_map(|(kind, records)| {
            let name = |what: &str| format!("kernel_records_{what}_{}_total", kind.name);
            [
                (name("attempted"), records.attempted.get()),
                (name("dropped"), records.dropped.get()),
            ]
        }))
    }
}

impl Metrics {
    /// What programs count, by its `WB_COUNT_*`.
    #[must_use]
    pub fn kernel(&self, counter: u32) -> &Counter {
        &self.of_programs.counted[counter as usize]
    }

    /// What became of the records of each kind, in the order of [`RECORD_KINDS`].
    #[must_use]
    pub fn records(&self) -> &[RecordCounters] {
        &self.of_programs.records
    }

    /// Batches that were sealed and will never arrive.
    #[must_use]
    pub fn batches_lost(&self) -> u64 {
        [
            &self.batch_dropped_full_total,
            &self.spool_dropped_error_total,
            &self.spool_evicted_size_total,
            &self.spool_evicted_age_total,
            &self.spool_evicted_disk_total,
            &self.spool_quarantined_total,
            &self.upload_dropped_refused_total,
        ]
        .map(Counter::get)
        .iter()
        .sum()
    }
}

counters! {
    /// Records of all kinds that the programs tried to send.
    kernel_records_attempted_total,
    /// Records of all kinds that found their ring full.
    kernel_records_dropped_total,
    /// Runs of programs that the kernel left out as one was running on that CPU: unseen events.
    kernel_programs_dropped_runs_total,
    /// Connections the kernel's full table evicted: inserted, not deleted and not there.
    kernel_connections_dropped_evicted_total,
    /// Seconds in which no more files could be opened.
    open_files_exhausted_total,
    /// Times changed certificates, tokens or keys were put in force.
    followed_taken_total,
    /// Times a changed file could not be used, so that what was read before stayed in force.
    followed_refused_total,
    /// Times the files by which names are resolved changed and were copied into the jail.
    followed_names_total,
    /// 1 while the configuration file is not what it was at the start.
    followed_configuration_changed,
    /// Settings of the kernel that are not what the plan was made from.
    followed_settings_changed,
    /// Devices with packet filters now.
    clone_devices,
    /// Devices that refuse packet filters now.
    clone_devices_refused,
    /// News that connection tracking threw away because they were not read in time.
    nat_dropped_overruns_total,
    /// Messages of connection tracking that could not be read.
    nat_dropped_invalid_total,
    /// Translated connections beyond `limits.edges` kinds of them.
    nat_dropped_overflow_total,
    /// Connections that connection tracking told of, translated or not.
    nat_connections_total,
    /// Kinds of translations in the table now.
    nat_translations,
    /// Sockets that are known to listen.
    listener_sockets,
    /// Times that a listening socket found no room.
    listener_dropped_full_total,
    /// Lists of listening sockets, and counters of their namespaces, that could not be read.
    listener_lists_failed_total,
    /// Network namespaces in which nobody looks for listeners.
    listener_namespaces_missed,
    /// Runs of the program that the kernel left out.
    listener_programs_dropped_runs_total,
    /// Mode observe: packets that the kernel had for the sockets, with room or without.
    observe_packets_attempted_total,
    /// Mode observe: packets read.
    observe_packets_total,
    /// Mode observe: packets for which there was no room.
    observe_packets_dropped_total,
    /// Mode observe: packets and messages of the kernel that could not be read.
    observe_packets_dropped_invalid_total,
    /// Mode observe: news of closed sockets.
    observe_news_total,
    /// Mode observe: closed sockets that the kernel could not tell of; packets and lists stand in.
    observe_news_dropped_total,
    /// Mode observe: lists of sockets or addresses that the kernel did not give.
    observe_lists_failed_total,
    /// Mode observe: connections without a place under `limits.connections`; their ends count.
    observe_connections_dropped_full_total,
    /// Mode observe: connections seen in packets that belonged to no socket here, left out.
    observe_connections_unclaimed_total,
    /// Mode observe: sockets whose handshake was not seen: no time to connect, no waybill.
    observe_connections_unseen_total,
    /// Mode observe: connections of which nobody could tell which process had them, open ones, too.
    observe_owners_unknown_total,
    /// Mode observe: connections whose process was told by other connections of the same service.
    observe_owners_guessed_total,
    /// Mode observe: sockets and services beyond what is remembered.
    observe_owners_dropped_full_total,
    /// Mode observe: looks through `/proc` for the owners of sockets.
    observe_owners_looks_total,
    /// Mode observe: arriving handshakes beyond what is remembered to tell what is forwarded.
    observe_arrivals_dropped_total,
    /// Mode observe: connections in its table now.
    observe_connections,
    /// Mode observe: connections that are not told yet because nobody knows whose they are.
    observe_connections_waiting,
    /// Mode observe: network namespaces that are watched.
    observe_namespaces,
    /// Mode observe: network namespaces with a process in scope at the start that are not watched.
    observe_namespaces_missed,
    /// Mode observe: network namespaces that were given back because no process was left in them.
    observe_namespaces_left_total,
    /// CPU time that the agent took since its start, in milliseconds.
    agent_cpu_ms_total,
    /// Resident memory of the agent now.
    agent_rss_bytes,
    /// The most memory that was resident in the last interval.
    agent_rss_peak_bytes,
    /// How much is left out now to stay within the budget, 0 to 5.
    governor_level,
    /// Times that less was measured from then on.
    governor_steps_down_total,
    /// Times that more was measured again.
    governor_steps_up_total,
    /// Abnormal connections that were not told one by one, to stay within the budget.
    governor_dropped_events_total,
    /// Translated connections that were not followed, to stay within the budget.
    governor_dropped_translations_total,
    /// Records decoded.
    record_decoded_total,
    /// Records that were too short or of an unknown kind.
    record_dropped_invalid_total,
    /// Records that reached no family: of none that runs, or more than its inbox holds.
    record_dropped_undelivered_total,
    /// Open connections read by snapshots, several times each.
    record_snapshot_total,
    /// Connections older than the agent that it found.
    record_adopted_total,
    /// Connections beyond `limits.connections`: counted at their close only.
    aggregate_connections_full_total,
    /// Connections whose close was lost on the way: their last numbers are missing.
    aggregate_connections_dropped_lost_total,
    /// Connections of which no process was found.
    aggregate_connections_unowned_total,
    /// Changes counted in the catch-all edge because of `limits.edges`.
    aggregate_edges_dropped_overflow_total,
    /// Times a process had no place under `limits.processes` and was counted as the catch-all.
    process_identities_dropped_overflow_total,
    /// Sightings, or ends of those told before, beyond `limits.sightings_per_interval`.
    aggregate_sightings_dropped_total,
    /// Sightings left out by consistent sampling.
    aggregate_sightings_unsampled_total,
    /// Events beyond `limits.events_per_interval`.
    aggregate_events_dropped_total,
    /// Times at which a process found no place among those that are told beside their siblings.
    aggregate_workers_full_total,
    /// Texts of the host row that were cut or left out, because it was too long.
    host_row_cut_texts_total,
    /// Connections open now.
    aggregate_connections,
    /// Edges in the table now.
    aggregate_edges,
    /// One in 2^n tokens is kept now.
    aggregate_sample_level,
    /// Batches sealed by the event loop.
    batch_sealed_total,
    /// Batches dropped because the queue to the spool was full.
    batch_dropped_full_total,
    /// Batches of earlier runs found in the spool at start.
    spool_found_total,
    /// Batches the spool stored.
    spool_stored_total,
    /// Batches the spool could not store (disk full, input/output error).
    spool_dropped_error_total,
    /// Batches evicted because the spool reached its size bound.
    spool_evicted_size_total,
    /// Batches evicted because they reached their age bound.
    spool_evicted_age_total,
    /// Batches evicted because the disk was full or the spool's file at its limit.
    spool_evicted_disk_total,
    /// Batches lost because the database was corrupt and had to be set aside.
    spool_quarantined_total,
    /// Databases set aside.
    spool_quarantined_files_total,
    /// The part of those whose batches could not be counted.
    spool_quarantined_uncounted_files_total,
    /// Batches that `waybill-agent receipt` deleted: they arrived by hand.
    spool_released_total,
    /// Batches in the spool now.
    spool_depth,
    /// Payload bytes in the spool now.
    spool_bytes,
    /// Batches acknowledged by the collector, and only then deleted.
    upload_acked_total,
    /// The part of those that the collector had already.
    upload_duplicate_total,
    /// Batches the collector refused for good.
    upload_dropped_refused_total,
    /// Certificates that the collector signed by a token.
    upload_enrolled_total,
    /// Certificates that the collector signed before the last one ended.
    upload_renewed_total,
    /// Attempts to get or renew a certificate that failed.
    upload_enrolment_failed_total,
    /// Attempts that failed and will be repeated.
    upload_retried_total,
    /// The part of those that the collector answered with 401 or 403.
    upload_unauthorized_total,
    /// The part of those that somebody between answered with 2xx, in the collector's place.
    upload_stranger_pages_total,
    /// The part of those that somebody between answered with 3xx.
    upload_stranger_redirections_total,
    /// The part of those that somebody between answered with 4xx.
    upload_stranger_refusals_total,
    /// The part of those that somebody between answered with 5xx.
    upload_stranger_failures_total,
    /// The part of those that the proxy did not let through.
    upload_proxy_failed_total,
    /// Compressed bytes acknowledged.
    upload_acked_bytes_total,
    /// The version of the orders in force now; 0 for none.
    orders_version,
    /// Versions taken from the collector and put in force.
    orders_taken_total,
    /// Orders that came although there is no key to verify them by.
    orders_ignored_total,
    /// Orders that the fleet's key has not signed.
    orders_refused_signature_total,
    /// Orders that were signed and are not understood.
    orders_refused_invalid_total,
    /// Orders that were signed and are older than those that were taken.
    orders_refused_older_total,
    /// Versions rolled back because the collector did not answer after them.
    orders_rolled_back_total,
    /// Times the kernel did not take what is ordered; tried again with the next interval.
    orders_apply_failures_total,
    /// Status files that were not written because the disk stood still.
    status_dropped_total,
    /// Lines of the log that were not written because who takes them stood still.
    log_dropped_total,
    /// Times the orders could not be read from disk or written to it.
    orders_disk_failures_total,
}
