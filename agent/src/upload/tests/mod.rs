//! Tests of the upload thread: with a uploader made of a closure, and over real HTTPS.

mod drains;
mod https;
mod kill;
mod proxy;
mod server;
mod settings;
mod strangers;
mod threads;
mod tls;

use crate::metrics::Metrics;

/// Every batch sealed is somewhere, or counted with a reason.
fn assert_sum(sealed: u64, metrics: &Metrics) {
    let gone = metrics.upload_acked_total.get()
        + metrics.upload_dropped_refused_total.get()
        + metrics.spool_evicted_size_total.get()
        + metrics.spool_evicted_age_total.get()
        + metrics.spool_evicted_disk_total.get()
        + metrics.spool_quarantined_total.get()
        + metrics.batch_dropped_full_total.get()
        + metrics.spool_dropped_error_total.get();
    let counters = metrics.snapshot();
    assert_eq!(
        sealed + metrics.spool_found_total.get(),
        gone + metrics.spool_depth.get(),
        "{counters:?}"
    );
}
