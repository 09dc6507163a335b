//! What works less than it seems to, in an operator's words.

use super::{Choice, Mode};
use crate::config::{Config, ServiceRule};
use crate::host::{Cgroup2, Fact, HostFacts};

/// All of them.
pub(super) fn all(
    facts: &HostFacts,
    config: &Config,
    mode: &Choice<Mode>,
    nat: &Choice<bool>,
) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(branch(facts, config, mode));
    all.extend(processes(facts, config));
    all.extend(scope(facts, config));
    all.extend(translations(facts, nat));
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

/// Connection tracking that is told to keep quiet.
fn translations(facts: &HostFacts, nat: &Choice<bool>) -> Option<String> {
    let silent = facts.conntrack_events.as_deref() == Some("0");
    (nat.value && silent).then(|| {
        "net.netfilter.nf_conntrack_events is 0: the kernel tells of no connection that begins or ends \
         from now on, so that translations of this gateway are not known; set it to 1"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::decide;
    use super::super::tests::{capable_host, config, lacking};
    use crate::config::{Config, Glob};
    use crate::host::{Cgroup2, Fact, HostFacts};
    use crate::plan::Mode;

    fn warned(change: impl FnOnce(&mut HostFacts, &mut Config)) -> String {
        let (mut facts, mut config) = (capable_host(), config());
        change(&mut facts, &mut config);
        let plan = decide(&facts, &config);
        let row = plan.rows().into_iter().find(|(name, _)| name == "warnings");
        assert_eq!(row.is_some(), !plan.warnings.is_empty());
        plan.warnings.join("\n")
    }

    fn rule(config: &mut Config, name: &str, by: impl FnOnce(&mut crate::config::ServiceRule)) {
        let mut rule = crate::config::ServiceRule {
            name: name.into(),
            exe: None,
            comm: None,
            cgroup: None,
            unit: None,
            container: None,
            tags: Vec::new(),
        };
        by(&mut rule);
        config.services.push(rule);
    }

    #[test]
    fn a_host_that_shows_everything_has_no_warning() {
        assert_eq!(warned(|_, _| {}), "");
    }

    #[test]
    fn a_branch_is_said_with_what_cannot_be_done_in_it() {
        let said = warned(|facts, config| {
            facts.cgroup_tree = Fact::no("/x is a branch of the host's tree");
            rule(config, "web", |rule| rule.unit = Some(Glob::new("web")));
            rule(config, "db", |rule| rule.exe = Some(Glob::new("/db")));
        });
        assert!(
            said.contains("/x is a branch") && said.contains("option is written"),
            "{said}"
        );
        assert!(
            said.contains("[[service]] web choose") && !said.contains("db"),
            "{said}"
        );
    }

    #[test]
    fn a_pid_namespace_is_said_with_the_rules_that_cannot_match() {
        let said = warned(|facts, config| {
            facts.processes = lacking();
            rule(config, "web", |rule| rule.unit = Some(Glob::new("web")));
            rule(config, "db", |rule| rule.exe = Some(Glob::new("/db")));
        });
        assert!(
            said.contains("PID namespace") && said.contains("db choose by exe"),
            "{said}"
        );
        assert!(!said.contains("web"), "{said}");
    }

    #[test]
    fn a_scope_that_may_come_later_does_not_cost_the_family() {
        let (mut facts, mut config) = (capable_host(), config());
        config.scope.cgroup = "/later".into();
        facts.cgroup2 = Cgroup2::Mounted { at: "/c".into() };
        facts.scope = Fact::unknown("there is no such cgroup yet: /later");
        let plan = decide(&facts, &config);
        assert_eq!(plan.mode.value, Mode::Sockops);
        assert!(
            plan.warnings[0].contains("nothing is measured until"),
            "{:?}",
            plan.warnings
        );
    }

    #[test]
    fn a_gateway_whose_connection_tracking_keeps_quiet_names_the_setting() {
        let said = |events: &str, forwards: bool| {
            warned(|facts, _| {
                facts.conntrack_events = Some(events.into());
                facts.forwards = Fact::when(forwards, "no device forwards packets");
            })
        };
        assert!(said("0", true).contains("nf_conntrack_events is 0"));
        assert_eq!(said("1", true), "");
        assert_eq!(said("0", false), "", "no gateway");
    }
}
