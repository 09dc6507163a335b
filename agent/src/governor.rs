//! The agent's budget: what it leaves out when it takes more than it may, and when it takes it up
//! again.
//!
//! Pure: samples in, steps out; `meter` reads what the agent takes, and each family knows what it
//! leaves out at a level.
//!
//! Down fast, up slowly: a step down follows one window over the budget, a step up several windows
//! clearly below it. Each way takes time to show what it brought, and who went up too early waits
//! longer the next time, so that a constant load finds one level and stays there.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Budget;

/// The lowest level.
pub const MOST: u8 = 5;
/// Intervals in a window.
const WINDOW: u32 = 5;
/// A window at least and at most.
const WINDOW_MS: std::ops::RangeInclusive<u64> = 1_000..=30_000;
/// Windows below the budget before a step up.
const RECOVER: u64 = 4;
/// At most this many times longer for who went up too early.
const MOST_PATIENCE: u64 = 16;
/// Below these parts of the budget is clearly below, in per cent: CPU comes and goes, memory is
/// given back late.
const CPU_BELOW: u64 = 75;
const MEMORY_BELOW: u64 = 90;
/// Samples in a window.
const SAMPLES: u64 = 16;

/// What the agent takes, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Monotonic milliseconds.
    pub at_ms: u64,
    /// CPU time of all threads since the start, in microseconds.
    pub cpu_us: u64,
    /// The most memory that was resident at any time since the sample before.
    pub peak_bytes: u64,
}

/// One step, for who tells operators of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The level before.
    pub from: u8,
    /// The level now.
    pub to: u8,
    /// What was taken, in an operator's words.
    pub why: String,
}

/// Watches the budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: Budget,
    window_ms: u64,
    samples: VecDeque<Sample>,
    /// The most of the samples that were left out since.
    peak_bytes: u64,
    level: u8,
    changed_ms: Option<u64>,
    /// Since when it takes clearly less.
    below_since_ms: Option<u64>,
    went_up: bool,
    patience: u64,
    said: Option<String>,
    /// What is left out at a level, in an operator's words.
    shed: fn(u8) -> String,
}

impl Governor {
    /// Nothing is left out; `interval` is the agent's own, and `shed` says what is left out at a level.
    #[must_use]
    pub fn new(budget: Budget, interval: Duration, shed: fn(u8) -> String) -> Self {
        let window = u64::try_from((interval * WINDOW).as_millis()).unwrap_or(u64::MAX);
        Self {
            budget,
            window_ms: window.clamp(*WINDOW_MS.start(), *WINDOW_MS.end()),
            samples: VecDeque::new(),
            peak_bytes: 0,
            level: 0,
            changed_ms: None,
            below_since_ms: None,
            went_up: false,
            patience: 1,
            said: None,
            shed,
        }
    }

    /// The level now: 0 leaves nothing out.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// For the plan of the host row, once there was a step.
    #[must_use]
    pub fn row(&self) -> Option<(String, String)> {
        let said = self.said.as_ref()?;
        Some(("governor".to_owned(), said.clone()))
    }

    /// Takes a sample; of those too close to the last one only the peak counts.
    pub fn observe(&mut self, mut sample: Sample) -> Option<Change> {
        self.peak_bytes = self.peak_bytes.max(sample.peak_bytes);
        let near = self.window_ms / SAMPLES;
        let last = self.samples.back().map_or(0, |last| last.at_ms + near);
        if sample.at_ms < last {
            return None;
        }
        sample.peak_bytes = std::mem::take(&mut self.peak_bytes);
        let begun_ms = *self.changed_ms.get_or_insert(sample.at_ms);
        self.samples.push_back(sample);
        let old = sample.at_ms.saturating_sub(self.window_ms);
        // One older than the window stays, so that the rest covers it.
        while self
            .samples
            .get(1)
            .is_some_and(|second| second.at_ms <= old)
        {
            self.samples.pop_front();
        }
        let first = self.samples.front().filter(|first| first.at_ms <= old)?;
        // The peak of the oldest one lies before the window.
        let peaks = self.samples.iter().skip(1).map(|one| one.peak_bytes);
        let taken = Taken::between(*first, sample, peaks.max().unwrap_or(0));
        if !taken.is_below(&self.budget) {
            self.below_since_ms = None;
        } else if self.below_since_ms.is_none() {
            self.below_since_ms = Some(sample.at_ms);
        }
        // What a step brought shows after a window that began with it.
        if sample.at_ms - begun_ms < self.window_ms {
            return None;
        }
        if self.level < MOST && taken.is_over(&self.budget) {
            if self.went_up {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            self.went_up = false;
            return Some(self.change(self.level + 1, taken, sample.at_ms));
        }
        let recovered_ms = self.window_ms * RECOVER * self.patience;
        let below_ms = self.below_since_ms.map_or(0, |since| sample.at_ms - since);
        if self.level > 0 && below_ms >= recovered_ms {
            self.went_up = true;
            self.below_since_ms = None;
            return Some(self.change(self.level - 1, taken, sample.at_ms));
        }
        None
    }

    fn change(&mut self, to: u8, taken: Taken, at_ms: u64) -> Change {
        let from = std::mem::replace(&mut self.level, to);
        self.changed_ms = Some(at_ms);
        let why = taken.words(&self.budget);
        self.said = Some(format!("{to} of {MOST}: {}; {why}", (self.shed)(to)));
        Change { from, to, why }
    }
}

/// What was taken in a window.
#[derive(Clone, Copy, Debug)]
struct Taken {
    cpu_per_mille: u64,
    peak_bytes: u64,
}

impl Taken {
    fn between(first: Sample, last: Sample, peak_bytes: u64) -> Self {
        let (us, ms) = (
            last.cpu_us.saturating_sub(first.cpu_us),
            last.at_ms.saturating_sub(first.at_ms).max(1),
        );
        Self {
            // Microseconds in a millisecond are thousandths.
            cpu_per_mille: us / ms,
            peak_bytes,
        }
    }

    fn is_over(self, budget: &Budget) -> bool {
        let cpu = budget.cpu.map(|cpu| u64::from(cpu.per_mille()));
        let memory = budget.memory.map(|memory| memory.bytes());
        cpu.is_some_and(|most| self.cpu_per_mille > most)
            || memory.is_some_and(|most| self.peak_bytes > most)
    }

    fn is_below(self, budget: &Budget) -> bool {
        let cpu = budget.cpu.map(|cpu| u64::from(cpu.per_mille()));
        let memory = budget.memory.map(|memory| memory.bytes());
        let part = |most: u64, percent: u64| most / 100 * percent + most % 100 * percent / 100;
        cpu.is_none_or(|most| self.cpu_per_mille <= part(most, CPU_BELOW))
            && memory.is_none_or(|most| self.peak_bytes <= part(most, MEMORY_BELOW))
    }

    fn words(self, budget: &Budget) -> String {
        let mut words = Vec::new();
        if let Some(cpu) = budget.cpu {
            let (whole, tenth) = (self.cpu_per_mille / 10, self.cpu_per_mille % 10);
            words.push(format!("CPU {whole}.{tenth}% of {cpu}"));
        }
        if let Some(memory) = budget.memory {
            words.push(format!("memory {} KiB of {memory}", self.peak_bytes >> 10));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Governor, MOST, Sample};
    use crate::config::{Budget, ByteSize};
    use proptest::prelude::*;
    use std::time::Duration;

    const MIB: u64 = 1 << 20;
    /// The window of an interval of one second.
    const WINDOW_MS: u64 = 5_000;

    fn shed(level: u8) -> String {
        format!("level {level}")
    }

    fn governor() -> Governor {
        let budget = Budget {
            cpu: "10%".parse().ok(),
            memory: Some(ByteSize::new(100 * MIB)),
        };
        Governor::new(budget, Duration::from_secs(1), shed)
    }

    /// An agent that takes `load(level)` (per mille of a CPU, MiB) for so many seconds: each change
    /// with the second in which it was made.
    fn run(
        governor: &mut Governor,
        seconds: u64,
        mut load: impl FnMut(u64, u8) -> (u64, u64),
    ) -> Vec<(u64, u8)> {
        let mut sample = Sample::default();
        let mut changes = Vec::new();
        for second in 0..seconds {
            let (per_mille, mib) = load(second, governor.level());
            sample.at_ms += 1_000;
            sample.cpu_us += per_mille * 1_000;
            sample.peak_bytes = mib * MIB;
            if let Some(change) = governor.observe(sample) {
                assert_eq!(change.from.abs_diff(change.to), 1);
                assert_eq!(change.to, governor.level());
                changes.push((second, change.to));
            }
        }
        changes
    }

    #[test]
    fn too_much_cpu_or_memory_goes_down_step_by_step_in_order() {
        for load in [(200, 20), (10, 200)] {
            let mut governor = governor();
            let levels: Vec<u8> = run(&mut governor, 60, |_, _| load)
                .into_iter()
                .map(|(_, level)| level)
                .collect();
            assert_eq!(levels, [1, 2, 3, 4, 5]);
            let (name, said) = governor.row().unwrap();
            assert_eq!(name, "governor");
            assert!(said.starts_with("5 of 5: level 5; "), "{said}");
        }
    }

    #[test]
    fn a_peak_between_two_samples_counts_as_long_as_the_window_has_it() {
        let mut governor = governor();
        // 10 MiB at each look, 300 in between, once in the fourth second.
        let changes = run(&mut governor, 30, |second, _| match second {
            3 => (10, 300),
            _ => (10, 10),
        });
        assert_eq!(changes.first().map(|(_, level)| *level), Some(1));
        // One that comes so soon after another that it is left out itself.
        let mut near = self::governor();
        let mut at_ms = 0;
        let mut look = |step_ms: u64, mib: u64| {
            at_ms += step_ms;
            let peak_bytes = mib * MIB;
            near.observe(Sample {
                at_ms,
                cpu_us: 0,
                peak_bytes,
            })
        };
        for _ in 0..4 {
            look(1_000, 10);
        }
        look(1, 300);
        look(1_000, 10);
        assert!(look(1_000, 10).is_some(), "the peak was forgotten");
    }

    #[test]
    fn when_there_is_room_again_everything_comes_back() {
        let mut governor = governor();
        let changes = run(&mut governor, 300, |second, _| match second {
            0..60 => (200, 20),
            _ => (10, 20),
        });
        let levels: Vec<u8> = changes.iter().map(|(_, level)| *level).collect();
        assert_eq!(levels, [1, 2, 3, 4, 5, 4, 3, 2, 1, 0]);
        let up: Vec<u64> = changes[5..].iter().map(|(second, _)| *second).collect();
        assert!(up.is_sorted_by(|a, b| a + 15 < *b), "too fast up: {up:?}");
        assert!(governor.row().unwrap().1.starts_with("0 of 5: level 0; "));
    }

    #[test]
    fn a_load_that_each_step_lowers_finds_its_level_and_rarely_leaves_it() {
        // 160 per mille at level 0, and 30 less with each.
        let mut governor = governor();
        let changes = run(&mut governor, 3_600, |_, level| {
            (160 - 30 * u64::from(level), 20)
        });
        assert!((2..=3).contains(&governor.level()), "{changes:?}");
        assert!(changes.len() <= 20, "it swings: {changes:?}");
    }

    #[test]
    fn without_a_budget_nothing_is_ever_left_out() {
        let mut governor = Governor::new(Budget::default(), Duration::from_secs(1), shed);
        assert!(run(&mut governor, 100, |_, _| (9_000, 9_000)).is_empty());
        assert!(governor.row().is_none());
    }

    proptest! {
        #[test]
        fn steps_take_their_time_and_stay_within_bounds(
            loads in prop::collection::vec((0_u64..300, 0_u64..200), 1..400)
        ) {
            let mut governor = governor();
            let changes = run(&mut governor, loads.len() as u64, |second, _| {
                loads[usize::try_from(second).unwrap()]
            });
            for pair in changes.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= WINDOW_MS / 1_000);
            }
            prop_assert!(changes.iter().all(|(_, level)| *level <= MOST));
        }

        #[test]
        fn within_the_budget_nothing_is_left_out(
            loads in prop::collection::vec((0_u64..=100, 0_u64..=100), 1..200)
        ) {
            let mut governor = governor();
            let changes = run(&mut governor, loads.len() as u64, |second, _| {
                loads[usize::try_from(second).unwrap()]
            });
            prop_assert!(changes.is_empty());
        }

        #[test]
        fn between_enough_and_too_much_nothing_changes(
            loads in prop::collection::vec(80_u64..=100, 1..200)
        ) {
            let mut governor = governor();
            run(&mut governor, 8, |_, _| (200, 20));
            prop_assert_eq!(governor.level(), 1);
            let mut sample = Sample { at_ms: 8_000, cpu_us: 8 * 200_000, peak_bytes: 20 * MIB };
            for load in loads {
                // The window still holds some of the time before.
                sample.at_ms += WINDOW_MS + 1_000;
                sample.cpu_us += load * (WINDOW_MS + 1_000);
                prop_assert!(governor.observe(sample).is_none_or(|_| sample.at_ms < 20_000));
            }
            prop_assert!(governor.level() <= 2);
        }

        #[test]
        fn clocks_and_counters_that_jump_break_nothing(
            samples in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..50)
        ) {
            let mut governor = governor();
            for (at, cpu, rss) in samples {
                governor.observe(Sample {
                    at_ms: at.into(),
                    cpu_us: cpu.into(),
                    peak_bytes: rss.into(),
                });
            }
            prop_assert!(governor.level() <= MOST);
        }
    }
}
