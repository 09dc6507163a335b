//! What became of records. Pure.

use bpf::counters::{KINDS, RECORD_KINDS};

use crate::kernel::{Counters, OfRecords};
use crate::metrics::Metrics;

/// Counts each lost record once, whoever tells of it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    all: Loss,
    kinds: [Loss; KINDS],
}

impl Losses {
    /// Writes what became of records so far into the agent's own counters: from what the programs
    /// counted, what the buffers `reported`, and how many records of each kind `arrived`.
    pub(super) fn publish(
        &mut self,
        counters: &Counters,
        reported: u64,
        arrived: &[u64; KINDS],
        metrics: &Metrics,
    ) {
        let counted = RECORD_KINDS.iter().map(|kind| counters.of_records(kind));
        let counted: Vec<_> = counted.collect();
        let all = counted
            .iter()
            .fold(OfRecords::default(), |sum, one| OfRecords {
                attempted: sum.attempted + one.attempted,
                failed: sum.failed + one.failed,
                full: sum.full + one.full,
            });
        metrics.kernel_records_attempted_total.set(all.attempted);
        let lost = self.all.count(all, reported, arrived.iter().sum());
        metrics.kernel_records_dropped_total.set(lost);
        for (at, one) in counted.into_iter().enumerate() {
            // A buffer does not tell what it was that found it full.
            let reported = if one.attempted == all.attempted {
                reported
            } else {
                0
            };
            let lost = self.kinds[at].count(one, reported, arrived[at]);
            metrics.records()[at].attempted.set(one.attempted);
            metrics.records()[at].dropped.set(lost);
        }
    }
}

/// Records of one kind, or of all, that were lost.
///
/// Programs see that a buffer is full; but before 5.1 perf_event_output() says that it was not. A
/// perf buffer tells as well, but only before the next record that fits, and of what another cause
/// keeps out it knows nothing. What was attempted an interval ago has arrived by now, or never will.
#[derive(Clone, Copy, Debug, Default)]
struct Loss {
    attempted_before: u64,
    full: u64,
}

impl Loss {
    fn count(&mut self, counted: OfRecords, reported: u64, arrived: u64) -> u64 {
        let missing = self.attempted_before.saturating_sub(arrived);
        let missing = missing.saturating_sub(counted.failed);
        self.attempted_before = counted.attempted;
        self.full = self.full.max(counted.full).max(reported).max(missing);
        counted.failed + self.full
    }
}

#[cfg(test)]
mod tests {
    use bpf::abi;
    use bpf::counters::RECORD_KINDS;

    use super::{KINDS, Loss, Losses};
    use crate::kernel::{Counters, OfRecords};
    use crate::metrics::Metrics;

    fn counted(attempted: u64, failed: u64, full: u64) -> OfRecords {
        OfRecords {
            attempted,
            failed,
            full,
        }
    }

    #[test]
    fn what_program_and_buffer_both_tell_is_lost_once() {
        let mut loss = Loss::default();
        // The buffer has told of a part so far, then of all of it.
        assert_eq!(loss.count(counted(430, 2, 134), 100, 294), 136);
        assert_eq!(loss.count(counted(500, 2, 134), 134, 364), 136);
        assert_eq!(loss.count(counted(600, 2, 140), 134, 458), 142);
    }

    #[test]
    fn where_the_kernel_hides_it_from_the_program_the_buffer_tells() {
        let mut loss = Loss::default();
        assert_eq!(loss.count(counted(430, 2, 0), 134, 294), 136);
        assert_eq!(loss.count(counted(440, 2, 0), 134, 304), 136);
    }

    #[test]
    fn what_was_lost_last_is_known_without_another_record() {
        let mut loss = Loss::default();
        // Nothing says whether the rest is lost or on its way.
        assert_eq!(loss.count(counted(430, 2, 0), 0, 294), 2);
        // Now something does.
        assert_eq!(loss.count(counted(430, 2, 0), 0, 294), 136);
        // The next record that fits brings word of the same ones.
        assert_eq!(loss.count(counted(431, 2, 0), 134, 295), 136);
    }

    #[test]
    fn records_on_their_way_are_not_lost() {
        let mut loss = Loss::default();
        for interval in 1..10 {
            let attempted = counted(interval * 100, 0, 0);
            assert_eq!(loss.count(attempted, 0, (interval - 1) * 100), 0);
        }
    }

    #[test]
    fn a_kind_has_counters_of_its_own_and_a_part_of_all() {
        let kind = RECORD_KINDS[0];
        let counters = Counters::of(&[
            (kind.counter(abi::WB_OUTCOME_ATTEMPTED), 430),
            (kind.counter(abi::WB_OUTCOME_DROPPED), 2),
            (kind.counter(abi::WB_OUTCOME_FULL), 134),
        ]);
        let metrics = Metrics::default();
        let mut arrived = [0; KINDS];
        arrived[0] = 294;
        Losses::default().publish(&counters, 0, &arrived, &metrics);
        let all: Vec<_> = metrics.snapshot().into_iter().collect();
        for (name, value) in [
            ("kernel_records_attempted_total", 430),
            ("kernel_records_attempted_connection_total", 430),
            ("kernel_records_dropped_total", 136),
            ("kernel_records_dropped_connection_total", 136),
        ] {
            assert!(all.contains(&(name.to_owned(), value)), "{name}: {all:?}");
        }
    }
}
