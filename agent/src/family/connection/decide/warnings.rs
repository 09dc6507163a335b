//! What works less than it seems to, in an operator's words.

use crate::config::{Config, ServiceRule};
use crate::host::{Cgroup2, Fact, HostFacts};
use crate::plan::{Choice, Mode};

/// All of them.
pub(crate) fn all(facts: &HostFacts, config: &Config, mode: &Choice<Mode>) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(branch(facts, config, mode));
    all.extend(processes(facts, config));
    all.extend(scope(facts, config));
    all
}

/// The tree of cgroups is only a part of the host's.
fn branch(facts: &HostFacts, config: &Config, mode: &Choice<Mode>) -> Option<String> {
    let Fact::No { why } = &facts.cgroup_tree else {
        return None;
    };
    let mut said = format!("{why}, as the agent is in a cgroup namespace");
    if config.scope.cgroup != "/" {
        said.push_str(": scope.cgroup is looked for below that branch, and its connections cannot be told from others");
    } else if mode.value == Mode::Sockops {
        said.push_str(
            ": the option is written and read below that branch only, all else is measured",
        );
    }
    let rules = rules(config, |rule| {
        rule.cgroup.is_some() || rule.unit.is_some() || rule.container.is_some()
    });
    if let Some(rules) = rules {
        said.push_str(&format!(
            "; [[service]] {rules} by cgroup, unit or container, which are those of the branch, and \
             match nothing outside of it"
        ));
    }
    said.push_str(". Start the agent in the host's cgroup namespace");
    Some(said)
}

/// Processes have other numbers here than the kernel's programs tell.
fn processes(facts: &HostFacts, config: &Config) -> Option<String> {
    let Fact::No { .. } = &facts.processes else {
        return None;
    };
    let mut said = String::from(
        "the agent is in a PID namespace: processes outside of it are not in /proc here, so that they \
         have neither the path of their program nor, without a cgroup2 tree, a cgroup",
    );
    if let Some(rules) = rules(config, |rule| rule.exe.is_some()) {
        said.push_str(&format!(
            "; [[service]] {rules} by exe, which match nothing outside of it"
        ));
    }
    said.push_str(". Start the agent in the host's PID namespace");
    Some(said)
}

/// `a, b are`: the rules by what may not be there.
fn rules(config: &Config, by: impl Fn(&ServiceRule) -> bool) -> Option<String> {
    let names: Vec<&str> = config
        .services
        .iter()
        .filter(|rule| by(rule))
        .map(|rule| rule.name.as_str())
        .collect();
    (!names.is_empty()).then(|| format!("{} choose", names.join(", ")))
}

fn scope(facts: &HostFacts, config: &Config) -> Option<String> {
    match (&facts.scope, &facts.cgroup2) {
        (Fact::Unknown { why }, Cgroup2::Mounted { .. }) if config.scope.cgroup != "/" => {
            Some(format!(
                "scope.cgroup: {why}; nothing is measured until it is there, and it is looked for \
                 every second"
            ))
        }
        _ => None,
    }
}
