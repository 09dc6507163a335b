//! Runs of an agent, one after the other: what one counted and left open, the next one finds open.
//!
//! What a run adopts may have been counted before by the run before it, as far as that one's last
//! report says it was open. What goes beyond was opened while nobody looked, or after that report.

/// One run of an agent, in the order of a host's runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// When it began by the host's clock, and what tells it from others: runs are in this order.
    pub order: (i64, i64),
    /// A later run of the host reported up to the end of the window: nothing is this one's any more.
    pub ended: bool,
}

/// What one run saw of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunCounts {
    pub(super) run: Run,
    /// Open when the run, or the window, began.
    pub(super) found: u64,
    pub(super) opened: u64,
    pub(super) closed: u64,
}

/// What all runs saw, each connection once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Connections that nobody saw being opened in the window.
    pub(super) found: u64,
    /// Open at the end of the window.
    pub(super) open: u64,
}

/// Adds up what the runs of one row saw, in any order and in as many pieces as there are flows.
pub(super) fn sum(seen: &mut [RunCounts]) -> Sum {
    seen.sort_unstable();
    let mut sum = Sum::default();
    // Of a run that is known by what it told behind the window, nothing is known in it.
    let counted = |seen: &&RunCounts| (seen.found, seen.opened, seen.closed) != (0, 0, 0);
    let last = seen.iter().filter(counted).map(|seen| seen.run).next_back();
    let total = |run: &[RunCounts], value: fn(&RunCounts) -> u64| {
        run.iter().map(value).fold(0, u64::saturating_add)
    };
    for run in seen.chunk_by(|a, b| a.run == b.run) {
        if !run.iter().any(|seen| counted(&seen)) {
            continue;
        }
        let found = total(run, |seen| seen.found);
        sum.found = sum.found.saturating_add(found.saturating_sub(sum.open));
        let known = found.saturating_add(total(run, |seen| seen.opened));
        sum.open = known.saturating_sub(total(run, |seen| seen.closed));
    }
    if last.is_some_and(|last| last.ended) {
        sum.open = 0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Run, RunCounts, Sum, sum};

    fn seen(run: i64, found: u64, opened: u64, closed: u64) -> RunCounts {
        RunCounts {
            run: Run {
                order: (run, 0),
                ended: false,
            },
            found,
            opened,
            closed,
        }
    }

    #[test]
    fn five_idle_connections_are_five_however_often_their_agent_starts() {
        let mut runs: Vec<RunCounts> = (1..9).map(|run| seen(run, 5, 0, 0)).collect();
        runs.push(seen(0, 0, 5, 0));
        assert_eq!(sum(&mut runs), Sum { found: 0, open: 5 });
        let late = sum(&mut runs[1..]);
        assert_eq!(
            late,
            Sum { found: 5, open: 5 },
            "the first run is not in the window"
        );
    }

    #[test]
    fn what_was_opened_while_nobody_looked_was_found() {
        let mut runs = [seen(0, 0, 5, 2), seen(1, 4, 1, 0)];
        assert_eq!(sum(&mut runs), Sum { found: 1, open: 5 });
        let mut gone = [seen(0, 0, 5, 0), seen(1, 2, 0, 0)];
        assert_eq!(sum(&mut gone), Sum { found: 0, open: 2 });
    }

    #[test]
    fn nothing_is_open_by_a_run_that_another_has_followed() {
        let mut runs = [seen(0, 0, 5, 2)];
        runs[0].run.ended = true;
        assert_eq!(sum(&mut runs), Sum { found: 0, open: 0 });
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        Close,
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Open), Just(Step::Close), Just(Step::Restart)]
    }

    proptest! {
        #[test]
        fn any_interleaving_of_restarts_adds_up_as_none(
            before in 0_u64..5,
            steps in proptest::collection::vec(step(), 0..60),
            pieces in 1_u64..4,
        ) {
            let (mut open, mut opened, mut closed) = (before, 0, 0);
            let mut runs = vec![seen(0, before, 0, 0)];
            for step in steps {
                let last = runs.last_mut().expect("one at least");
                match step {
                    Step::Open => {
                        (open, opened) = (open + 1, opened + 1);
                        last.opened += 1;
                    }
                    Step::Close if open > 0 => {
                        (open, closed) = (open - 1, closed + 1);
                        last.closed += 1;
                    }
                    Step::Close => {}
                    Step::Restart => {
                        let next = last.run.order.0 + 1;
                        runs.push(seen(next, open, 0, 0));
                    }
                }
            }
            // A row is several flows of each run.
            let mut parts: Vec<RunCounts> = runs
                .iter()
                .flat_map(|run| {
                    let part = move |at: u64, n: u64| n * (at + 1) / pieces - n * at / pieces;
                    (0..pieces).map(move |at| RunCounts {
                        found: part(at, run.found),
                        opened: part(at, run.opened),
                        closed: part(at, run.closed),
                        ..*run
                    })
                })
                .collect();
            parts.reverse();
            let total = |value: fn(&RunCounts) -> u64| parts.iter().map(value).sum::<u64>();
            prop_assert_eq!((total(|s| s.opened), total(|s| s.closed)), (opened, closed));
            prop_assert_eq!(sum(&mut parts), Sum { found: before, open });
        }
    }
}
