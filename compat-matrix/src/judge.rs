//! From what a guest said and how it ended to a verdict. Pure.
//!
//! Everything that can be wrong is a cell with a name; a kernel fails when one of its cells is
//! red, and its report says which and why. What happens before a guest is ready says nothing
//! about Waybill and makes no cell red.

use serde::{Deserialize, Serialize};

use crate::baseline;
use crate::golden::{self, Golden};
use crate::klog;
use crate::machine::{End, Run};
use crate::matrix::{INFRASTRUCTURE, Tier};
use crate::record::{Check, Record, Status, Verified};

/// The cell of a kernel that must break: how it did.
const BOOT: &str = "run/boot";

/// What a kernel is held to.
#[derive(Clone, Debug)]
pub struct Held {
    /// Name of the kernel.
    pub id: String,
    /// What a user calls it.
    pub title: String,
    /// Whether a failure stops a change.
    pub tier: Tier,
    /// Where it came from.
    pub origin: String,
    /// The mode that it must come out with.
    pub verdict: Option<String>,
    /// What it showed when somebody last looked.
    pub golden: Option<Golden>,
    /// What its verifier counted then.
    pub baseline: Option<Vec<Verified>>,
    /// Growth of a program that is let pass.
    pub more_percent: u64,
    /// Whether the agent's report was asked for.
    pub report: bool,
}

/// A kernel's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the kernel.
    pub id: String,
    /// What a user calls it.
    pub title: String,
    /// Whether a failure stops a change.
    pub tier: Tier,
    /// Where it came from.
    pub origin: String,
    /// Whether it is as it must be.
    pub status: Verdict,
    /// Supported mode; `?` when that is unknown.
    pub mode: String,
    /// Edges that were found, and that should have been.
    pub edges: (u64, u64),
    /// Every check, and what the runner itself looked at.
    pub cells: Vec<Check>,
    /// What happened before the guest was ready, when it never was.
    pub infrastructure: Option<String>,
    /// How long the guest ran.
    pub seconds: f64,
    /// How often it was started.
    pub attempts: u32,
    /// What the guest said.
    pub record: Record,
}

/// Whether a kernel is as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every cell is green or skipped as expected.
    Pass,
    /// At least one cell is red.
    Fail,
    /// The guest never was ready: nothing is known.
    Infrastructure,
}

impl Verdict {
    /// As it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Infrastructure => "infrastructure",
        }
    }
}

impl Outcome {
    /// A kernel that was never started, and why.
    #[must_use]
    pub fn never_started(held: &Held, why: String) -> Self {
        Self {
            id: held.id.clone(),
            title: held.title.clone(),
            tier: held.tier,
            origin: held.origin.clone(),
            status: Verdict::Infrastructure,
            mode: "?".into(),
            edges: (0, 0),
            cells: Vec::new(),
            infrastructure: Some(why),
            seconds: 0.0,
            attempts: 0,
            record: Record::default(),
        }
    }

    /// The cells that are red.
    pub fn red(&self) -> impl Iterator<Item = &Check> {
        self.cells.iter().filter(|cell| cell.status == Status::Fail)
    }

    /// The kernel's release, or `?`.
    #[must_use]
    pub fn release(&self) -> &str {
        self.record.release.as_deref().unwrap_or("?")
    }
}

/// True when a run is worth one more attempt: whatever ended it, it was not the product.
#[must_use]
pub fn died_before_ready(run: &Run) -> bool {
    run.record.release.is_none()
}

/// Judges a guest that ended.
#[must_use]
pub fn judge(held: &Held, run: Run, attempts: u32) -> Outcome {
    if died_before_ready(&run) || incomplete(&run) {
        let why = before_ready(&run);
        // Only what the kernel says itself: a failing emulator is what no entry is about.
        let wanted = held.verdict.as_deref() == Some(INFRASTRUCTURE);
        if wanted && klog::first_break(&run.log).is_some() {
            return broke_as_it_must(held, run, attempts, why);
        }
        return Outcome {
            seconds: run.seconds,
            attempts,
            record: run.record,
            ..Outcome::never_started(held, why)
        };
    }
    let mut cells = run.record.checks.clone();
    cells.push(ended(&run));
    cells.push(log(held, &run));
    cells.extend(held.report.then(|| mode(held, &run.record)));
    cells.extend(golden(held, &run.record));
    cells.extend(verifier(held, &run.record));
    let edges = cells
        .iter()
        .filter(|cell| cell.name.starts_with("edges/") && cell.status != Status::Skip)
        .fold((0, 0), |(found, expected), cell| {
            // A check that did not get as far as counting has still not found its edge.
            let least = u64::from(cell.status == Status::Fail);
            (found + cell.found, expected + cell.expected.max(least))
        });
    let failed = cells.iter().any(|cell| cell.status == Status::Fail);
    Outcome {
        status: if failed { Verdict::Fail } else { Verdict::Pass },
        mode: golden::mode(&run.record),
        edges,
        cells,
        infrastructure: None,
        seconds: run.seconds,
        attempts,
        record: run.record,
        ..Outcome::never_started(held, String::new())
    }
}

/// A kernel of which the matrix says that it breaks before anything of Waybill runs.
fn broke_as_it_must(held: &Held, run: Run, attempts: u32, why: String) -> Outcome {
    let boot = Check {
        status: Status::Pass,
        ..cell(BOOT, why)
    };
    Outcome {
        status: Verdict::Pass,
        mode: INFRASTRUCTURE.into(),
        cells: vec![boot],
        infrastructure: None,
        seconds: run.seconds,
        attempts,
        record: run.record,
        ..Outcome::never_started(held, String::new())
    }
}

/// True when not even the last file of the guest's file system was there: a kernel with too little
/// memory for all of it goes on with what it has.
fn incomplete(run: &Run) -> bool {
    run.record.checks.iter().any(|check| {
        check.status == Status::Fail && check.reason.starts_with("read /payload/guest.json")
    })
}

/// In words, what kept a guest from being ready.
fn before_ready(run: &Run) -> String {
    let broken = klog::first_break(&run.log);
    let what = match &broken {
        _ if incomplete(run) || klog::out_of_memory(&run.log) => {
            "the guest has too little memory for its file system".to_owned()
        }
        Some(broken) => format!("the kernel did not come up ({})", broken.kind),
        None => match run.end {
            End::Deadline => "the guest was not ready before its deadline".to_owned(),
            End::Emulator => format!("the emulator failed: {}", run.emulator.trim()),
            End::Itself => "the guest ended before it was ready".to_owned(),
        },
    };
    if run.log.trim().is_empty() {
        return format!("{what}; the kernel wrote no log");
    }
    match broken {
        Some(broken) => format!(
            "{what}; its log up to there:\n{}",
            klog::leading_to(&run.log, &broken, 8)
        ),
        None => format!("{what}; its log ends with:\n{}", klog::tail(&run.log, 5)),
    }
}

/// A cell of the runner's own.
fn cell(name: &str, reason: String) -> Check {
    Check {
        family: "kernel".into(),
        name: name.into(),
        status: if reason.is_empty() {
            Status::Pass
        } else {
            Status::Fail
        },
        reason,
        found: 0,
        expected: 0,
        seconds: 0.0,
    }
}

fn ended(run: &Run) -> Check {
    let reason = match (run.end, run.record.done) {
        (_, Some(true)) => String::new(),
        (_, Some(false)) => "the guest did not come to the end of its checks".into(),
        (End::Deadline, None) => "the guest was not done before its deadline".into(),
        (_, None) => {
            let last = run
                .record
                .checks
                .last()
                .map_or("it was ready", |check| &check.name);
            format!("the guest ended without being done, after {last}")
        }
    };
    let reason = if !reason.is_empty() && klog::out_of_memory(&run.log) {
        format!("{reason}: it ran out of memory, give it more with --memory")
    } else {
        reason
    };
    let reason = if run.record.strange > 0 && reason.is_empty() {
        format!(
            "{} lines on the port for results are none",
            run.record.strange
        )
    } else {
        reason
    };
    cell("run/end", reason)
}

fn log(held: &Held, run: &Run) -> Check {
    let reason = klog::first_break(klog::since_ready(&run.log, &held.id))
        .map(|broken| format!("{}: {}", broken.kind, broken.line))
        .unwrap_or_default();
    cell("run/kernel-log", reason)
}

fn mode(held: &Held, record: &Record) -> Check {
    let mode = golden::mode(record);
    let promised = golden::promised(record);
    let reason = match &held.verdict {
        _ if promised == "?" => "the agent's report is missing".into(),
        _ if promised != mode => {
            format!("the agent's report promises {promised}, and the agent runs {mode}")
        }
        Some(wanted) if *wanted != mode => format!("mode {mode}, and it must be {wanted}"),
        _ => String::new(),
    };
    cell("run/mode", reason)
}

fn golden(held: &Held, record: &Record) -> Option<Check> {
    let golden = held.golden.as_ref()?;
    let failed: Vec<&str> = record
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| check.name.as_str())
        .collect();
    let lines = golden.difference(&Golden::of(record), &failed);
    Some(cell("golden", lines.join("\n")))
}

fn verifier(held: &Held, record: &Record) -> Vec<Check> {
    let Some(baseline) = &held.baseline else {
        return Vec::new();
    };
    let worse = baseline::regressions(baseline, &record.verifier, held.more_percent);
    if worse.is_empty() {
        return vec![cell("verifier", String::new())];
    }
    worse
        .into_iter()
        .map(|(program, words)| cell(&format!("verifier/{program}"), words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Held, Outcome, Verdict, judge};
    use crate::machine::{End, Run};
    use crate::matrix::{INFRASTRUCTURE, Tier};
    use crate::record::Record;

    /// The outcome of a guest that wrote this log and was never ready.
    fn never_ready(verdict: &str, log: &str) -> Outcome {
        let held = Held {
            id: "x".into(),
            title: "x".into(),
            tier: Tier::BestEffort,
            origin: "x".into(),
            verdict: Some(verdict.into()),
            golden: None,
            baseline: None,
            more_percent: 10,
            report: true,
        };
        let run = Run {
            record: Record::default(),
            log: log.into(),
            emulator: String::new(),
            end: End::Itself,
            seconds: 1.0,
            ready_seconds: None,
        };
        judge(&held, run, 2)
    }

    const PANIC: &str = "[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n";

    #[test]
    fn a_kernel_that_must_break_is_as_it_must_be_when_it_says_how_it_broke() {
        let outcome = never_ready(INFRASTRUCTURE, PANIC);
        assert_eq!(outcome.status, Verdict::Pass);
        assert_eq!(outcome.mode, INFRASTRUCTURE);
        assert!(outcome.cells[0].reason.contains("Unable to mount root fs"));
    }

    #[test]
    fn a_kernel_that_must_break_and_of_which_nothing_is_known_is_no_pass() {
        let outcome = never_ready(INFRASTRUCTURE, "[ 1.2] still fine\n");
        assert_eq!(outcome.status, Verdict::Infrastructure);
        let other = never_ready("sockops", PANIC);
        assert_eq!(other.status, Verdict::Infrastructure);
    }
}
