//! Family `process`: who the processes behind the other rows are.

use super::codec::{Codec, column, narrow, previous};
use super::number::Expected;
use super::pairs::TextPairs;
use crate::error::DecodeError;
use crate::family::process::ProcessRow;

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct ProcessColumns {
    process_id: Vec<u64>,
    tgid: Vec<u64>,
    /// Milliseconds from the start to the end of the interval, wrapping.
    age: Vec<u64>,
    comm: Vec<String>,
    exe: Vec<String>,
    cgroup: Vec<String>,
    container: Vec<String>,
    unit: Vec<String>,
    service: Vec<String>,
    tags: TextPairs,
}

impl ProcessColumns {
    pub(crate) fn of(rows: &[ProcessRow], end_ms: u64) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|row| row.process_id);
        let all = |get: &dyn Fn(&ProcessRow) -> u64| rows.iter().map(|row| get(row)).collect();
        let texts =
            |get: fn(&ProcessRow) -> &String| rows.iter().map(|row| get(row).clone()).collect();
        Self {
            process_id: all(&|row| u64::from(row.process_id)),
            tgid: all(&|row| u64::from(row.tgid)),
            age: all(&|row| end_ms.wrapping_sub(row.started_ms)),
            comm: texts(|row| &row.comm),
            exe: texts(|row| &row.exe),
            cgroup: texts(|row| &row.cgroup),
            container: texts(|row| &row.container),
            unit: texts(|row| &row.unit),
            service: texts(|row| &row.service),
            tags: TextPairs::of(rows.iter().map(|row| row.tags.as_slice())),
        }
    }

    /// The tables `process` and `process_tag`.
    pub(crate) fn code(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let id = column("process_id", "at least the one before");
        codec.numbers(id, &mut self.process_id, &mut |row, before| {
            Expected::AtLeast(previous(row, before))
        })?;
        codec.numbers(column("tgid", ""), &mut self.tgid, &mut |_, _| {
            Expected::ANY
        })?;
        let started = column("started_ms", "milliseconds before the end of the interval");
        codec.numbers(started, &mut self.age, &mut |_, _| Expected::ANY)?;
        for (name, values) in [
            ("comm", &mut self.comm),
            ("exe", &mut self.exe),
            ("service", &mut self.service),
            ("unit", &mut self.unit),
            ("container", &mut self.container),
            ("cgroup", &mut self.cgroup),
        ] {
            codec.texts(name, values)?;
        }
        self.tags.code("process_tag", codec)
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(self, end_ms: u64) -> Result<Vec<ProcessRow>, DecodeError> {
        let mut tags = self.tags.lists(self.process_id.len())?.into_iter();
        let mut comms = self.comm.into_iter();
        let mut exes = self.exe.into_iter();
        let mut cgroups = self.cgroup.into_iter();
        let mut containers = self.container.into_iter();
        let mut units = self.unit.into_iter();
        let mut services = self.service.into_iter();
        let row = |row: usize| {
            Ok(ProcessRow {
                process_id: narrow(self.process_id[row], "process_id")?,
                tgid: narrow(self.tgid[row], "tgid")?,
                started_ms: end_ms.wrapping_sub(self.age[row]),
                comm: comms.next().unwrap_or_default(),
                exe: exes.next().unwrap_or_default(),
                cgroup: cgroups.next().unwrap_or_default(),
                container: containers.next().unwrap_or_default(),
                unit: units.next().unwrap_or_default(),
                service: services.next().unwrap_or_default(),
                tags: tags.next().unwrap_or_default(),
            })
        };
        (0..self.process_id.len()).map(row).collect()
    }
}
