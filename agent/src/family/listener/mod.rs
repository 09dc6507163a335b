//! Family `listener`: sockets that listen, how many connections wait there, and what is turned away.
//!
//! At the end of each interval the kernel lists who listens (`sources`); a program tells what no
//! list shows, where it can be loaded: who called listen(2), and the longest queue between two lists.

mod aggregate;
mod running;
mod sources;

use anyhow::{Context as _, Result};
use log::warn;

use crate::calls::Caller;
use crate::config::{Config, HooksSetting};
use crate::family::contract::{Family, Opening};
use crate::fault;
use crate::host::{Fact, HostFacts, Pack};
use crate::plan::{Choice, Decision, JailMount, Needs, Outcome};
use aggregate::NAME;
use running::{Running, SHED_FROM};
use sources::Program;

/// The variants: with a program beside the lists, and without.
const PROGRAM: &str = "program";
const SOCKETS: &str = "sockets";

/// Chooses whether a program is asked beside the kernel's lists. Pure.
pub(super) fn decide(facts: &HostFacts, config: &Config) -> Decision {
    let mut decision = match lacking(facts, config) {
        Some(why) => by_lists(facts, &why),
        None => {
            let why = "a program tells who listens and the longest queue of an interval";
            let needs = Needs {
                callers: vec![Caller::SOCKETS, Caller::TABLES],
                mounts: JailMount::types(facts).into_iter().collect(),
                ..Needs::default()
            };
            let needs = needs.with(&facts.least_for_maps, "read the tables of the programs");
            Decision::run(NAME, Choice::new(PROGRAM, why), needs)
        }
    };
    if !facts.sockets.lists.is_yes() {
        let why = facts.sockets.lists.why();
        decision.skip(format!("the kernel does not list TCP sockets: {why}"));
    }
    decision
}

/// No program is asked, for this reason.
fn by_lists(facts: &HostFacts, why: &str) -> Decision {
    let needs = Needs {
        callers: vec![Caller::SOCKETS],
        ..Needs::default()
    };
    let purpose = "find the processes that sockets belong to";
    let needs = needs.with(&facts.sockets.least_for_descriptors, purpose);
    let reason = format!("no longest queue between two looks: {why}");
    Decision::run(NAME, Choice::new(SOCKETS, reason), needs)
}

/// Why no program can be asked, if none can.
fn lacking(facts: &HostFacts, config: &Config) -> Option<String> {
    match config.agent.hooks {
        HooksSetting::Auto | HooksSetting::Kernel => {}
        HooksSetting::Sockets => return Some("agent.hooks asks for it".to_owned()),
        HooksSetting::Kprobes => return Some("it has no program on probes".to_owned()),
    }
    let needed = [
        (&facts.bpf, "BPF programs cannot be loaded"),
        (
            &facts.kernel_memory,
            "programs may not read the kernel's memory",
        ),
        (
            &facts.raw_tracepoint,
            "the kernel has no raw tracepoint programs",
        ),
        (
            &facts.state_tracepoint,
            "the kernel does not tell of changes of a socket's state",
        ),
    ];
    if let Some((fact, what)) = needed.into_iter().find(|(fact, _)| !fact.is_yes()) {
        return Some(format!("{what}: {}", fact.why()));
    }
    if let Pack::Missing { why } = &facts.btf_pack {
        return Some(format!(
            "the kernel does not describe its structures: {why}"
        ));
    }
    match &facts.scope {
        Fact::No { why } if config.scope.cgroup != "/" => {
            Some(format!("the scope's cgroup is out of reach: {why}"))
        }
        Fact::No { .. } | Fact::Yes | Fact::Unknown { .. } => None,
    }
}

/// What is left out at a level of the governor, in an operator's words.
pub(super) fn shed(level: u8) -> Vec<String> {
    let shed = (level >= SHED_FROM).then(|| "no listeners".to_owned());
    shed.into_iter().collect()
}

/// Opens the lists of every network namespace in reach, and the program; without it where the kernel
/// refuses it, which is decided from then on.
///
/// # Errors
/// Sockets of the own network namespace cannot be listed.
pub(super) fn open(opening: &Opening<'_>, decision: &mut Decision) -> Result<Box<dyn Family>> {
    fault::before("listeners").context("listeners cannot be followed")?;
    let mut program = None;
    if matches!(&decision.outcome, Outcome::Run(variant) if variant.value == PROGRAM) {
        match Program::load(opening) {
            Ok(loaded) => program = Some(loaded),
            Err(error) => {
                let reason = format!("{error:#}");
                warn!(reason = reason.as_str(); "listeners are followed without a program");
                *decision = by_lists(opening.facts, &reason);
            }
        }
    }
    Ok(Box::new(Running::open(opening.config, program)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::tests::host::{capable_host, config, lacking as missing};

    #[test]
    fn a_program_is_asked_where_it_can_be_and_without_one_descriptors_are_read() {
        let (facts, mut settings) = (capable_host(), config());
        let with = decide(&facts, &settings);
        assert_eq!(with.needs.callers, [Caller::SOCKETS, Caller::TABLES]);
        assert!(matches!(&with.outcome, Outcome::Run(choice) if choice.value == PROGRAM));
        settings.agent.hooks = HooksSetting::Sockets;
        let mut lists = vec![(decide(&facts, &settings), "agent.hooks")];
        let takes: [fn(&mut HostFacts); 4] = [
            |facts| facts.bpf = missing(),
            |facts| facts.kernel_memory = missing(),
            |facts| facts.raw_tracepoint = missing(),
            |facts| facts.state_tracepoint = missing(),
        ];
        for take in takes {
            let mut facts = capable_host();
            take(&mut facts);
            lists.push((decide(&facts, &config()), "tried and refused"));
        }
        let mut facts = capable_host();
        facts.scope = missing();
        let mut settings = config();
        settings.scope.cgroup = "/apps".to_owned();
        lists.push((
            decide(&facts, &settings),
            "the scope's cgroup is out of reach",
        ));
        settings.scope.cgroup = "/".to_owned();
        assert_eq!(
            decide(&facts, &settings).needs,
            with.needs,
            "all are in scope"
        );
        for (decision, why) in lists {
            let Outcome::Run(choice) = &decision.outcome else {
                panic!("{why}: lists should do");
            };
            assert_eq!((choice.value, choice.reason.contains(why)), (SOCKETS, true));
            assert_eq!(decision.needs.callers, [Caller::SOCKETS]);
            assert_eq!(decision.needs.capabilities.len(), 1, "to read descriptors");
        }
        let mut facts = capable_host();
        facts.sockets.lists = missing();
        let skipped = decide(&facts, &config());
        assert!(!skipped.runs() && skipped.needs == Needs::default());
    }
}
