//! Which system calls are left, for what.

use super::super::decide;
use super::host::{capable_host, config, lacking};
use crate::config::{Config, ModeSetting, SeccompSetting, TransportSetting};
use crate::host::{Fact, HostFacts};
use crate::plan::{Caller, Plan, SeccompMode};

fn plan(change: impl FnOnce(&mut HostFacts, &mut Config)) -> Plan {
    let (mut facts, mut config) = (capable_host(), config());
    change(&mut facts, &mut config);
    decide(&facts, &config)
}

#[test]
fn no_caller_is_forgotten() {
    // A new one does not compile here until it is counted.
    let place = |caller| match caller {
        Caller::Runtime => 0,
        Caller::Files => 1,
        Caller::Loop => 2,
        Caller::Upload => 3,
        Caller::Tables => 4,
        Caller::PerfBuffer => 5,
        Caller::Filters => 6,
        Caller::Keeper => 7,
        Caller::Reader => 8,
        Caller::Followed => 9,
        Caller::Scope => 10,
        Caller::Sockets => 11,
        Caller::Tracking => 12,
    };
    assert!(Caller::ALL.into_iter().map(place).eq(0..13));
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
        Caller::Runtime,
        Caller::Files,
        Caller::Loop,
        Caller::Followed,
    ];
    let with = |more: &[Caller]| [always.as_slice(), more].concat();
    assert_eq!(callers(|_, _| {}), with(&[Caller::Tables]));
    let sockets = callers(|facts, _| facts.bpf = lacking());
    assert_eq!(sockets, with(&[Caller::Sockets]));
    let gateway = callers(|facts, _| facts.forwards = Fact::Yes);
    assert_eq!(gateway, with(&[Caller::Tables, Caller::Tracking]));
    let copies = callers(|_, config| config.option.mode = ModeSetting::TcClone);
    assert_eq!(copies, with(&[Caller::Tables, Caller::Filters]));
    let perf = callers(|_, config| config.agent.transport = TransportSetting::Perf);
    assert_eq!(perf, with(&[Caller::Tables, Caller::PerfBuffer]));
    let (facts, mut config) = (capable_host(), config());
    config.option.mode = ModeSetting::TcClone;
    let mut plan = decide(&facts, &config);
    plan.settle(&facts, &config, &[]);
    assert_eq!(plan.jail.seccomp.callers, always);
    assert_eq!(plan.jail.keeper, None);
}
