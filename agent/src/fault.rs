//! Faults of trials: ends and clocks that a test cannot have otherwise.
//!
//! Debug builds alone look at `WAYBILL_FAULT`; a release has none of this. One of:
//! `kill@POINT` kills the agent, as by SIGKILL, when its start reaches that point;
//! `fail@STEP,STEP` lets these steps fail as if the kernel had refused them;
//! `stand-still@MS` lets the disk of its small files stand still when it has run for so long;
//! `clock+SECONDS@MS` and `clock-SECONDS@MS` move its wall clock when it has run for so long.
//! [`POINTS`] lists the points, [`STEPS`] the steps.

use std::time::SystemTime;

/// The points of a start, in their order; after the last one the agent measures.
pub const POINTS: [&str; 12] = [
    "config.loaded",
    "host.probed",
    "jail.mounted",
    "jail.entered",
    "lock.held",
    "programs.loaded",
    "sockets.opened",
    "agent.confined",
    "identity.known",
    "spool.opened",
    "threads.started",
    "report.closed",
];

/// What the start can go on without.
pub const STEPS: [&str; 6] = [
    "programs",
    "filters",
    "sockets",
    "lists",
    "tracking",
    "listeners",
];

#[cfg(not(debug_assertions))]
mod asked {
    use std::time::SystemTime;

    pub(super) const fn at(_: &str) {}

    pub(super) const fn fails(_: &str) -> bool {
        false
    }

    pub(super) const fn stand_still() {}

    pub(super) const fn wall(now: SystemTime) -> SystemTime {
        now
    }
}

#[cfg(debug_assertions)]
mod asked {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant, SystemTime};

    use nix::sys::signal::{Signal, raise};

    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Fault {
        pub(super) kill_at: Option<String>,
        /// After how long.
        pub(super) stand_still: Option<Duration>,
        pub(super) fail: Vec<String>,
        /// Seconds, whether forward, and after how long.
        pub(super) clock: Option<(Duration, bool, Duration)>,
    }

    pub(super) fn parse(text: &str) -> Fault {
        let Some((what, at)) = text.split_once('@') else {
            return Fault::default();
        };
        let clock = || {
            let shift = what.strip_prefix("clock")?;
            let forward = shift.starts_with('+');
            let seconds = shift.trim_start_matches(['+', '-']).parse().ok()?;
            let after = Duration::from_millis(at.parse().ok()?);
            Some((Duration::from_secs(seconds), forward, after))
        };
        Fault {
            kill_at: (what == "kill").then(|| at.to_owned()),
            stand_still: (what == "stand-still")
                .then(|| at.parse().ok().map(Duration::from_millis))
                .flatten(),
            fail: match what {
                "fail" => at.split(',').map(str::to_owned).collect(),
                _ => Vec::new(),
            },
            clock: clock(),
        }
    }

    /// The fault that was asked for, and when it was first looked at.
    fn asked() -> &'static (Fault, Instant) {
        static ASKED: OnceLock<(Fault, Instant)> = OnceLock::new();
        ASKED.get_or_init(|| {
            let text = std::env::var("WAYBILL_FAULT").unwrap_or_default();
            (parse(&text), Instant::now())
        })
    }

    pub(super) fn at(point: &str) {
        if asked().0.kill_at.as_deref() == Some(point) {
            // To this thread: the confined agent may signal no process, not even itself.
            raise(Signal::SIGKILL).ok();
        }
    }

    pub(super) fn fails(step: &str) -> bool {
        asked().0.fail.iter().any(|one| one == step)
    }

    pub(super) fn stand_still() {
        let (fault, since) = asked();
        while fault
            .stand_still
            .is_some_and(|after| since.elapsed() >= after)
        {
            std::thread::park();
        }
    }

    pub(super) fn wall(now: SystemTime) -> SystemTime {
        let (fault, since) = asked();
        let shifted = match fault.clock {
            Some((shift, true, after)) if since.elapsed() >= after => now.checked_add(shift),
            Some((shift, false, after)) if since.elapsed() >= after => now.checked_sub(shift),
            Some(_) | None => None,
        };
        shifted.unwrap_or(now)
    }
}

/// Says that the start reached one of [`POINTS`].
pub fn at(point: &'static str) {
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    asked::at(point);
}

/// Whether one of [`STEPS`] may be done.
///
/// # Errors
/// A trial wants it to fail.
pub fn before(step: &'static str) -> std::io::Result<()> {
    debug_assert!(STEPS.contains(&step), "{step} is not listed");
    match asked::fails(step) {
        true => Err(std::io::Error::other("refused for a trial")),
        false => Ok(()),
    }
}

/// Does not come back while the trial wants the disk to stand still.
pub fn stand_still() {
    asked::stand_still();
}

/// The wall clock as the trial wants it.
#[must_use]
pub fn wall(now: SystemTime) -> SystemTime {
    asked::wall(now)
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::asked::{Fault, parse};
    use std::time::Duration;

    #[test]
    fn the_trials_kill_at_every_point() {
        let trials = include_str!("../../tests/e2e/faults.rs");
        for point in super::POINTS {
            assert!(trials.contains(&format!("\"{point}\"")), "{point}");
        }
        let trials = include_str!("../../tests/e2e/fall_backs.rs");
        let failed: Vec<&str> = trials
            .split("fail: \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .flat_map(|steps| steps.split(','))
            .collect();
        for step in super::STEPS {
            assert!(failed.contains(&step), "{step}");
        }
    }

    #[test]
    fn a_fault_is_read_and_nonsense_is_none() {
        assert_eq!(
            parse("kill@lock.held").kill_at.as_deref(),
            Some("lock.held")
        );
        assert_eq!(parse("fail@lists,tracking").fail, ["lists", "tracking"]);
        let seconds = Duration::from_secs;
        let clock = |text: &str| parse(text).clock;
        assert_eq!(clock("clock+7@2000"), Some((seconds(7), true, seconds(2))));
        assert_eq!(clock("clock-7@0"), Some((seconds(7), false, seconds(0))));
        for nonsense in ["", "kill", "clock@1", "clock+x@1", "clock+1@", "x@y"] {
            assert_eq!(parse(nonsense), Fault::default(), "{nonsense}");
        }
    }
}
