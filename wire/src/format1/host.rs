//! Family `host`: facts, plan and the agent's own counters.

use super::codec::{Codec, column};
use super::number::Expected;
use super::pairs::{Counters, TextPairs};
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

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct HostColumns {
    hostname: Vec<String>,
    kernel: Vec<String>,
    agent: Vec<String>,
    mode: Vec<String>,
    /// Milliseconds from the agent's start to the end of the interval, wrapping.
    age: Vec<u64>,
    plan: TextPairs,
    facts: TextPairs,
    paths_off: TextPairs,
    counters: Counters,
}

impl HostColumns {
    pub(crate) fn of(rows: &[HostRow], end_ms: u64) -> Self {
        let texts =
            |get: fn(&HostRow) -> &String| rows.iter().map(|row| get(row).clone()).collect();
        Self {
            hostname: texts(|row| &row.hostname),
            kernel: texts(|row| &row.kernel),
            agent: texts(|row| &row.agent),
            mode: texts(|row| &row.mode),
            age: rows
                .iter()
                .map(|row| end_ms.wrapping_sub(row.started_ms))
                .collect(),
            plan: TextPairs::of(rows.iter().map(|row| row.plan.as_slice())),
            facts: TextPairs::of(rows.iter().map(|row| row.facts.as_slice())),
            paths_off: TextPairs::of(rows.iter().map(|row| row.paths_off.as_slice())),
            counters: Counters::of(rows.iter().map(|row| row.counters.as_slice())),
        }
    }

    /// The table `host` and those of its lists.
    pub(crate) fn code(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let started = column("started_ms", "milliseconds before the end of the interval");
        codec.numbers(started, &mut self.age, &mut |_, _| Expected::ANY)?;
        for (name, values) in [
            ("hostname", &mut self.hostname),
            ("kernel", &mut self.kernel),
            ("agent", &mut self.agent),
            ("mode", &mut self.mode),
        ] {
            codec.texts(name, values)?;
        }
        self.plan.code("host_plan", codec)?;
        self.facts.code("host_fact", codec)?;
        self.paths_off.code("host_path_off", codec)?;
        self.counters.code("host_counter", codec)
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(self, end_ms: u64) -> Result<Vec<HostRow>, DecodeError> {
        let rows = self.age.len();
        let mut plans = self.plan.lists(rows)?.into_iter();
        let mut facts = self.facts.lists(rows)?.into_iter();
        let mut paths = self.paths_off.lists(rows)?.into_iter();
        let mut counters = self.counters.lists(rows)?.into_iter();
        let mut hostnames = self.hostname.into_iter();
        let mut kernels = self.kernel.into_iter();
        let mut agents = self.agent.into_iter();
        let mut modes = self.mode.into_iter();
        let row = |age: u64| HostRow {
            hostname: hostnames.next().unwrap_or_default(),
            kernel: kernels.next().unwrap_or_default(),
            agent: agents.next().unwrap_or_default(),
            mode: modes.next().unwrap_or_default(),
            plan: plans.next().unwrap_or_default(),
            facts: facts.next().unwrap_or_default(),
            paths_off: paths.next().unwrap_or_default(),
            counters: counters.next().unwrap_or_default(),
            started_ms: end_ms.wrapping_sub(age),
        };
        Ok(self.age.into_iter().map(row).collect())
    }
}
