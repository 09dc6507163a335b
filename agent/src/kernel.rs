//! What the programs of all families counted.

use anyhow::{Context, Result};
use bpf::abi;
use bpf::counters::{COUNTERS, RecordKind};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use zerocopy::FromBytes as _;

use crate::metrics::Metrics;

/// The per-CPU counters, summed.
#[derive(Clone, Debug)]
pub struct Counters([u64; abi::WB_COUNT_MAX as usize]);

impl Counters {
    /// Reads them all.
    ///
    /// # Errors
    /// The kernel refuses: without `CAP_BPF` where `unprivileged_bpf_disabled` is set.
    pub fn read(map: &MapHandle) -> Result<Self> {
        let mut sums = [0_u64; abi::WB_COUNT_MAX as usize];
        for (index, sum) in (0_u32..).zip(&mut sums) {
            let per_cpu = map
                .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
                .context("read the kernel's counters")?
                .unwrap_or_default();
            *sum = per_cpu
                .iter()
                .filter_map(|value| u64::read_from_prefix(value).ok())
                .map(|(value, _)| value)
                .sum();
        }
        Ok(Self(sums))
    }

    /// With these values, the others 0.
    #[cfg(test)]
    pub(crate) fn of(values: &[(u32, u64)]) -> Self {
        let mut counters = [0; abi::WB_COUNT_MAX as usize];
        for (counter, value) in values {
            counters[*counter as usize] = *value;
        }
        Self(counters)
    }

    /// One counter, by its `WB_COUNT_*`.
    #[must_use]
    pub fn get(&self, counter: u32) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// What became of the records of one kind.
    #[must_use]
    pub fn of_records(&self, kind: &RecordKind) -> OfRecords {
        let get = |outcome| self.get(kind.counter(outcome));
        OfRecords {
            attempted: get(abi::WB_OUTCOME_ATTEMPTED),
            failed: get(abi::WB_OUTCOME_DROPPED),
            full: get(abi::WB_OUTCOME_FULL),
        }
    }

    /// Writes them into the agent's own, but for those of records: see `records`.
    pub fn publish(&self, metrics: &Metrics) {
        for counter in COUNTERS {
            metrics.kernel(counter.number).set(self.get(counter.number));
        }
    }
}

/// What programs counted of the records that they sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfRecords {
    /// All of them.
    pub attempted: u64,
    /// Those that the kernel refused.
    pub failed: u64,
    /// Those beside them that found a perf buffer full, where the kernel says so to programs.
    pub full: u64,
}
