//! The filter on system calls: the lists of `calls` for one plan, compiled and installed.
//!
//! A filter belongs to a thread and to the threads that it makes, so it is installed while there
//! is one. It cannot be removed.

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule,
};

use super::privilege::status_field;
use crate::calls::Caller;
use crate::calls::call::Argument;
use crate::plan::{Seccomp, SeccompMode};
use crate::sandbox::{Rules, apply, compile};

/// Installs the filter for good, for the calling thread and those that it makes; without effect in mode `off`.
///
/// # Errors
/// The kernel refuses a filter, although it took one for a trial.
pub fn install(plan: &Seccomp) -> Result<()> {
    let refused = match plan.mode.value {
        SeccompMode::Off => return Ok(()),
        SeccompMode::Log => SeccompAction::Log,
        SeccompMode::Enforce => {
            apply(&without_clone3()?)?;
            SeccompAction::Errno(Errno::EPERM as u32)
        }
    };
    let allowed = SeccompAction::Allow;
    apply(&compile(rules(&plan.callers)?, refused, allowed)?)
}

/// Reads back that the filter is in force, for a process with one thread.
pub(super) fn read_back(plan: &Seccomp) -> Result<()> {
    if plan.mode.value == SeccompMode::Off {
        return Ok(());
    }
    // SECCOMP_MODE_FILTER
    let mode = status_field("Seccomp")?;
    ensure!(mode == "2", "the filter is not in force: mode {mode}");
    Ok(())
}

/// The C library makes threads by `clone3`, whose flags are in memory and out of a filter's sight;
/// told that there is no such call, it takes `clone`. Of two refusals the later one's number counts,
/// so this comes first and the main filter allows the call.
fn without_clone3() -> Result<BpfProgram> {
    let missing = SeccompAction::Errno(Errno::ENOSYS as u32);
    let rules = Rules::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, missing)
}

fn rules(callers: &[Caller]) -> Result<Rules> {
    let mut rules = Rules::new();
    // Refused by the other filter with the right number; in mode `log` it is needed.
    rules.insert(libc::SYS_clone3, Vec::new());
    for call in callers.iter().flat_map(|one| one.calls()) {
        let alternatives = call.only.iter().map(|conditions| rule(conditions));
        let alternatives = alternatives.collect::<Result<Vec<_>>>()?;
        match rules.get_mut(&call.number) {
            None => {
                rules.insert(call.number, alternatives);
            }
            Some(known) if known.is_empty() || alternatives.is_empty() => known.clear(),
            Some(known) => known.extend(alternatives),
        }
    }
    Ok(rules)
}

fn rule(conditions: &[Argument]) -> Result<SeccompRule> {
    let conditions = conditions.iter().map(|argument| {
        let op = SeccompCmpOp::MaskedEq(argument.mask);
        SeccompCondition::new(argument.index, SeccompCmpArgLen::Dword, op, argument.value)
    });
    let conditions = conditions
        .collect::<Result<_, _>>()
        .context("state a condition")?;
    SeccompRule::new(conditions).context("state a rule")
}

#[cfg(test)]
mod tests {
    use super::{Caller, compile, rules};
    use nix::libc;
    use seccompiler::SeccompAction;

    /// `BPF_MAXINSNS` in `linux/bpf_common.h`
    const MOST_INSTRUCTIONS: usize = 4096;

    #[test]
    fn the_largest_filter_fits_into_the_kernel() {
        let rules = rules(&Caller::ALL).unwrap();
        let program = compile(rules, SeccompAction::Errno(1), SeccompAction::Allow).unwrap();
        assert!(program.len() < MOST_INSTRUCTIONS, "{}", program.len());
    }

    #[test]
    fn forms_of_one_call_that_several_need_add_up() {
        let of = |callers: &[Caller]| rules(callers).unwrap()[&libc::SYS_ioctl].len();
        assert_eq!(of(&[Caller::UPLOAD]), 2);
        assert_eq!(of(&[Caller::UPLOAD, Caller::PERF_BUFFER]), 3);
        assert!(
            !rules(&[Caller::RUNTIME])
                .unwrap()
                .contains_key(&libc::SYS_bpf)
        );
    }
}
