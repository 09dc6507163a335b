//! The agent's own counters: every place that can lose data owns one.
//!
//! Names are `<stage>_<noun>_<unit>_total`; they are sent in each host row and shown by `doctor`.
//! Counters are atomics so that each thread counts its own stage without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter, or one gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the value (for counters that the kernel keeps, and for gauges).
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$doc:meta] $name:ident,)*) => {
        /// All counters and gauges, shared by the three threads.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[$doc] pub $name: Counter,)*
        }

        impl Metrics {
            /// Name and value of each, sorted by name.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(String, u64)> {
                let mut all = vec![$((stringify!($name).to_owned(), self.$name.get()),)*];
                all.sort();
                all
            }
        }
    };
}

counters! {
    /// Batches sealed by the event loop.
    batch_sealed_total,
    /// Batches dropped because the queue to the spool was full.
    batch_dropped_full_total,
    /// Batches the spool stored.
    spool_stored_total,
    /// Batches the spool could not store (disk full, input/output error).
    spool_dropped_error_total,
    /// Batches evicted because the spool reached its size bound.
    spool_evicted_size_total,
    /// Batches evicted because they reached their age bound.
    spool_evicted_age_total,
    /// Batches lost because the database was corrupt and had to be set aside.
    spool_quarantined_total,
    /// Batches in the spool now.
    spool_depth,
    /// Payload bytes in the spool now.
    spool_bytes,
    /// Batches acknowledged by the collector, and only then deleted.
    upload_acked_total,
    /// Batches the collector refused for good.
    upload_dropped_refused_total,
    /// Attempts that failed and will be repeated.
    upload_retried_total,
    /// Compressed bytes acknowledged.
    upload_acked_bytes_total,
}
