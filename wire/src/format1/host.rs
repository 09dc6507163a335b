//! Family `host`: facts, plan and the agent's own counters.

use super::pairs;
use super::source::{Source, any};
use crate::error::DecodeError;
use crate::family::host::HostRow;

/// Place of the family among all.
pub(crate) const FAMILY: usize = 3;
/// Tables that hold the texts of its rows.
pub(crate) const TABLES: [&str; 5] = [
    "host",
    "host_plan",
    "host_fact",
    "host_path_off",
    "host_counter",
];

/// The rows, from the table `host` and those of its lists.
pub(crate) fn read(source: &mut impl Source, end_ms: u64) -> Result<Vec<HostRow>, DecodeError> {
    let note = "milliseconds before the end of the interval";
    let ages = any(source, "started_ms", note)?;
    let mut hostnames = source.texts("hostname")?.into_iter();
    let mut kernels = source.texts("kernel")?.into_iter();
    let mut agents = source.texts("agent")?.into_iter();
    let mut modes = source.texts("mode")?.into_iter();
    let [_, plan, facts, paths_off, counters] = TABLES;
    let mut plans = pairs::texts(source, plan, ages.len())?.into_iter();
    let mut facts = pairs::texts(source, facts, ages.len())?.into_iter();
    let mut paths_off = pairs::texts(source, paths_off, ages.len())?.into_iter();
    let mut counters = pairs::counters(source, counters, ages.len())?.into_iter();
    let row = |age: u64| HostRow {
        hostname: hostnames.next().unwrap_or_default(),
        kernel: kernels.next().unwrap_or_default(),
        agent: agents.next().unwrap_or_default(),
        mode: modes.next().unwrap_or_default(),
        plan: plans.next().unwrap_or_default(),
        facts: facts.next().unwrap_or_default(),
        paths_off: paths_off.next().unwrap_or_default(),
        counters: counters.next().unwrap_or_default(),
        started_ms: end_ms.wrapping_sub(age),
    };
    Ok(ages.into_iter().map(row).collect())
}
