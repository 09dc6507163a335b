//! `[jail]` and `[budget]`: what the running agent may do, and what it may take.

use super::check::{number, size, value};
use super::raw::{RawBudget, RawJail};
use super::section::{At, Problems};
use super::value::Expected;
use super::{Budget, ByteSize, CpuShare, Jail, SeccompSetting};

/// Between what distributions give to accounts and what systemd takes for its own
/// (<https://systemd.io/UIDS-GIDS>): no account has to be made, and none is left.
const DEFAULT_UID: u32 = 60_742;
/// The kernel's own end, and the number that means none.
const MOST_UID: u32 = u32::MAX - 1;
/// Counts as half of the host's memory: the agent, of some megabytes, goes before anything that an
/// operator would miss more; its spool is on disk.
const DEFAULT_OOM_SCORE_ADJ: i32 = 500;
const DEFAULT_BUDGET_CPU: &str = "25%";
const DEFAULT_BUDGET_MEMORY: ByteSize = ByteSize::new(128 << 20);
/// The agent cannot start with less.
const LEAST_MEMORY: u64 = 16 << 20;
const MOST_MEMORY: u64 = 1 << 40;

pub(super) fn jail(raw: RawJail, problems: &mut Problems<'_>) -> Jail {
    Jail {
        seccomp: value(raw.seccomp, SeccompSetting::Enforce, problems, seccomp),
        uid: value(raw.uid, DEFAULT_UID, problems, number(0, MOST_UID)),
        oom_score_adj: value(
            raw.oom_score_adj,
            DEFAULT_OOM_SCORE_ADJ,
            problems,
            |value| match i32::try_from(value) {
                Ok(value) if (-999..=1000).contains(&value) => Ok(value),
                _ => Err(Expected("a number from -999 to 1000".into())),
            },
        ),
        cpu: bounded(raw.cpu, None, problems, |text| text.parse()),
        memory: bounded(raw.memory, None, problems, size(LEAST_MEMORY, MOST_MEMORY)),
    }
}

pub(super) fn budget(raw: RawBudget, problems: &mut Problems<'_>) -> Budget {
    let cpu: Option<CpuShare> = DEFAULT_BUDGET_CPU.parse().ok();
    Budget {
        cpu: bounded(raw.cpu, cpu, problems, |text| text.parse()),
        memory: bounded(
            raw.memory,
            Some(DEFAULT_BUDGET_MEMORY),
            problems,
            size(1 << 20, MOST_MEMORY),
        ),
    }
}

/// A bound, its default, or none for an empty text.
fn bounded<T>(
    field: Option<At<String>>,
    default: Option<T>,
    problems: &mut Problems<'_>,
    check: impl FnOnce(String) -> Result<T, Expected>,
) -> Option<T> {
    value(field, default, problems, |text| match text.as_str() {
        "" => Ok(None),
        _ => check(text).map(Some),
    })
}

fn seccomp(text: String) -> Result<SeccompSetting, Expected> {
    match text.as_str() {
        "enforce" => Ok(SeccompSetting::Enforce),
        "log" => Ok(SeccompSetting::Log),
        "off" => Ok(SeccompSetting::Off),
        _ => Err(Expected("\"enforce\", \"log\" or \"off\"".into())),
    }
}
