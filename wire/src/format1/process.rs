//! Family `process`: who the processes behind the other rows are.

use super::pairs;
use super::source::{Source, any, narrow, sorted};
use crate::error::DecodeError;
use crate::family::process::ProcessRow;

/// The rows, from the tables `process` and `process_tag`.
pub(crate) fn read(source: &mut impl Source, end_ms: u64) -> Result<Vec<ProcessRow>, DecodeError> {
    let ids = sorted(source, "process_id", "at least the one before")?;
    let tgids = any(source, "tgid", "")?;
    let note = "milliseconds before the end of the interval";
    let ages = any(source, "started_ms", note)?;
    let mut comms = source.texts("comm")?.into_iter();
    let mut exes = source.texts("exe")?.into_iter();
    let mut services = source.texts("service")?.into_iter();
    let mut units = source.texts("unit")?.into_iter();
    let mut containers = source.texts("container")?.into_iter();
    let mut cgroups = source.texts("cgroup")?.into_iter();
    let mut tags = pairs::texts(source, "process_tag", ids.len())?.into_iter();
    let row = |row: usize| {
        Ok(ProcessRow {
            process_id: narrow(ids[row], "process_id")?,
            tgid: narrow(tgids[row], "tgid")?,
            started_ms: end_ms.wrapping_sub(ages[row]),
            comm: comms.next().unwrap_or_default(),
            exe: exes.next().unwrap_or_default(),
            cgroup: cgroups.next().unwrap_or_default(),
            container: containers.next().unwrap_or_default(),
            unit: units.next().unwrap_or_default(),
            service: services.next().unwrap_or_default(),
            tags: tags.next().unwrap_or_default(),
        })
    };
    (0..ids.len()).map(row).collect()
}
