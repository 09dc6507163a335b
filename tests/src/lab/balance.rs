//! The sums in which nothing may be missing.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::agent::{Agent, Status};
use super::wait::{wait_for, wait_until};

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
    let undelivered = status.counter("record_dropped_undelivered_total")?;
    let dropped = status.counter("kernel_records_dropped_total")?;
    ensure!(
        attempted == decoded + invalid + undelivered + dropped,
        "{attempted} attempted, {decoded} decoded, {invalid} invalid, {undelivered} undelivered, \
         {dropped} dropped"
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

/// Waits until everything that happened so far is sealed and on disk: only that is promised to
/// survive a SIGKILL. Each thing that is waited for may take `limit`.
///
/// # Errors
/// What did not come to pass.
pub fn all_stored(agents: &[Agent], limit: Duration) -> Result<()> {
    for agent in agents {
        let next = || -> Result<()> {
            let before = agent.status()?.written_ms;
            wait_until(limit, "end of an interval", || {
                Ok((agent.status()?.written_ms > before).then_some(()))
            })
        };
        next()?;
        wait_for(limit, "a process for each connection", || {
            let waiting = agent.status()?.counter("observe_connections_waiting")?;
            ensure!(waiting == 0, "{waiting} connections wait for their owners");
            Ok(())
        })?;
        // The first interval that ends from now on may have begun before the last connection
        // ended, or was told; the one after it has not.
        next()?;
        next()?;
        agent.flush()?;
        wait_for(limit, "every batch on disk", || {
            let status = agent.status()?;
            let sealed = status.counter("batch_sealed_total")?;
            let stored = status.counter("spool_stored_total")?;
            ensure!(sealed == stored, "{stored} of {sealed} batches stored");
            records_balance(&status)?;
            batches_balance(&status)
        })?;
    }
    Ok(())
}
