//! What hosts may lack beside their kernel's programs.

use super::super::{Capability, Family, Mode, Transport, decide};
use super::{Take, capable_host, config, lacking, plan_without};
use crate::host::{Capabilities, Cgroup2, HostFacts};

#[test]
fn every_process_is_in_scope_without_a_cgroup_tree() {
    let take = |facts: &mut HostFacts| {
        facts.cgroup2 = Cgroup2::Missing {
            why: "tried and refused".into(),
        };
        facts.scope = lacking();
    };
    // The default scope is everything.
    let plan = plan_without(take);
    assert_eq!(plan.mode.value, Mode::TcClone, "{}", plan.mode.reason);
    assert!(plan.mode.reason.contains("hang on a cgroup"));
    let mut facts = capable_host();
    take(&mut facts);
    let mut below = config();
    below.scope.cgroup = "/system.slice".into();
    facts.sockets.packets = lacking();
    let Family::Skip { reason } = decide(&facts, &below).connection else {
        panic!("a scope that is not there cannot be measured");
    };
    assert!(reason.contains("scope's cgroup"), "{reason}");
}

#[test]
fn who_accepts_is_told_where_tracepoints_of_system_calls_can_be_attached() {
    assert!(plan_without(|_| {}).accept.value);
    let takes: [Take; 2] = [
        |facts| facts.tracefs = lacking(),
        |facts| facts.perf_events = lacking(),
    ];
    for take in takes {
        let plan = plan_without(take);
        assert!(!plan.accept.value);
        let reason = plan.accept.reason;
        assert!(reason.contains("process that listens"), "{reason}");
        assert!(reason.contains("tried and refused"), "{reason}");
    }
    let mut perf = config();
    perf.agent.transport = crate::config::TransportWish::Perf;
    let mut facts = capable_host();
    facts.perf_events = lacking();
    let plan = decide(&facts, &perf);
    assert_eq!(plan.transport.value, Transport::RingBuffer);
}

#[test]
fn a_capability_that_is_not_there_is_not_kept() {
    let plan =
        plan_without(|facts| facts.capabilities = [Capability::NET_ADMIN].into_iter().collect());
    assert_eq!(plan.jail.capability_set(), Capabilities::default());
}
