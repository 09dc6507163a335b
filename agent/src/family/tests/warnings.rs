//! What works less than it seems to is said.

use super::host::{capable_host, config, decide, lacking};
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
    assert_eq!(plan.connection.mode.value, Mode::Sockops);
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
