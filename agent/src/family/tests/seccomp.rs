//! Which system calls are left, for what.

use std::collections::BTreeSet;

use super::super::{callers, decide, nat};
use super::host::{capable_host, config, lacking};
use crate::calls::Caller;
use crate::config::{Config, ModeSetting, SeccompSetting, TransportSetting};
use crate::host::{Fact, HostFacts};
use crate::plan::{Plan, SeccompMode};

fn plan(change: impl FnOnce(&mut HostFacts, &mut Config)) -> Plan {
    let (mut facts, mut config) = (capable_host(), config());
    change(&mut facts, &mut config);
    decide(&facts, &config)
}

#[test]
fn reports_name_each_caller_by_a_name_of_its_own() {
    let names: BTreeSet<&str> = callers().map(|caller| caller.name).collect();
    assert_eq!(names.len(), callers().count());
    // What a plan keeps is found again by its name.
    let gateway = plan(|facts, _| facts.forwards = Fact::Yes);
    for caller in gateway.jail.seccomp.callers {
        assert!(names.contains(caller.name), "{caller:?}");
    }
}

#[test]
fn other_calls_are_refused_unless_the_operator_or_the_kernel_says_otherwise() {
    let mode = |setting, change: fn(&mut HostFacts)| {
        let plan = plan(|facts, config| {
            config.jail.seccomp = setting;
            change(facts);
        });
        let mode = plan.jail.seccomp.mode;
        (mode.value, mode.reason)
    };
    let settings = [
        SeccompSetting::Enforce,
        SeccompSetting::Log,
        SeccompSetting::Off,
    ];
    let modes = [SeccompMode::Enforce, SeccompMode::Log, SeccompMode::Off];
    for (setting, expected) in settings.into_iter().zip(modes) {
        assert_eq!(mode(setting, |_| {}).0, expected);
    }
    let (value, reason) = mode(SeccompSetting::Log, |facts| facts.seccomp_log = lacking());
    assert_eq!(value, SeccompMode::Off, "a log must not refuse");
    assert!(reason.contains("tried and refused"), "{reason}");
    let (value, reason) = mode(SeccompSetting::Enforce, |facts| facts.seccomp = lacking());
    assert_eq!(value, SeccompMode::Off);
    assert!(reason.contains("cannot filter system calls"), "{reason}");
}

#[test]
fn only_what_the_plan_needs_is_allowed() {
    let callers = |change: fn(&mut HostFacts, &mut Config)| plan(change).jail.seccomp.callers;
    let always = [
        Caller::RUNTIME,
        Caller::FILES,
        Caller::LOOP,
        Caller::FOLLOWED,
    ];
    let with = |more: &[Caller]| [always.as_slice(), more].concat();
    assert_eq!(callers(|_, _| {}), with(&[Caller::TABLES, Caller::SOCKETS]));
    let sockets = callers(|facts, _| facts.bpf = lacking());
    assert_eq!(sockets, with(&[Caller::SOCKETS]));
    let gateway = callers(|facts, _| facts.forwards = Fact::Yes);
    assert_eq!(
        gateway,
        with(&[Caller::TABLES, nat::TRACKING, Caller::SOCKETS])
    );
    let copies = callers(|_, config| config.option.mode = ModeSetting::TcClone);
    assert_eq!(
        copies,
        with(&[Caller::TABLES, Caller::FILTERS, Caller::SOCKETS])
    );
    let perf = callers(|_, config| config.agent.transport = TransportSetting::Perf);
    assert_eq!(
        perf,
        with(&[Caller::TABLES, Caller::PERF_BUFFER, Caller::SOCKETS])
    );
    let (facts, mut config) = (capable_host(), config());
    config.option.mode = ModeSetting::TcClone;
    let mut plan = decide(&facts, &config);
    plan.settle(&facts, &config, &[]);
    assert_eq!(plan.jail.seccomp.callers, always);
    assert_eq!(plan.jail.keeper, None);
}
