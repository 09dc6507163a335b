//! The sums in which nothing may be missing.

use anyhow::{Result, ensure};

use super::agent::Status;

/// Kernel side: what was attempted was decoded, refused or dropped.
///
/// # Errors
/// Shows the numbers when they do not add up.
pub fn records_balance(status: &Status) -> Result<()> {
    // Without programs there are no records: what is read are packets and lists.
    if status.counter("observe_namespaces")? > 0 {
        return Ok(());
    }
    let attempted = status.counter("kernel_records_attempted_total")?;
    let decoded = status.counter("record_decoded_total")?;
    let invalid = status.counter("record_dropped_invalid_total")?;
    let dropped = status.counter("kernel_records_dropped_total")?;
    ensure!(
        attempted == decoded + invalid + dropped,
        "{attempted} attempted, {decoded} decoded, {invalid} invalid, {dropped} dropped"
    );
    for (what, all) in [("attempted", attempted), ("dropped", dropped)] {
        let begin = format!("kernel_records_{what}_");
        let kinds = status.counters.iter().filter(|(name, _)| {
            let kind = name.strip_prefix(&begin);
            kind.is_some_and(|kind| kind != "total")
        });
        let sum: u64 = kinds.map(|(_, value)| value).sum();
        ensure!(sum == all, "{what}: {sum} of all kinds, but {all}");
    }
    Ok(())
}

/// Agent side: every batch sealed or found is acknowledged, still there, or counted as lost.
///
/// # Errors
/// Shows the counters when they do not add up.
pub fn batches_balance(status: &Status) -> Result<()> {
    let sum =
        |names: &[&str]| -> Result<u64> { names.iter().map(|name| status.counter(name)).sum() };
    let came = sum(&["batch_sealed_total", "spool_found_total"])?;
    let went = sum(&[
        "upload_acked_total",
        "upload_dropped_refused_total",
        "spool_depth",
        "spool_evicted_size_total",
        "spool_evicted_age_total",
        "spool_evicted_disk_total",
        "spool_dropped_error_total",
        "spool_quarantined_total",
        "batch_dropped_full_total",
    ])?;
    ensure!(
        came == went,
        "{came} batches came, {went} are accounted for: {:?}",
        status.counters
    );
    Ok(())
}
