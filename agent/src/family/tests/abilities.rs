//! What hosts may lack beside their kernel's programs.

use super::host::{Take, capable_host, config, decide, lacking, plan_without};
use crate::family::connection::plan::Accept;
use crate::host::probe::EVENTS;
use crate::host::{Cgroup2, HostFacts};
use crate::plan::{Mode, Outcome, Transport};
use crate::sandbox::{Capabilities, Capability};

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
    assert_eq!(
        plan.connection.mode.value,
        Mode::TcClone,
        "{}",
        plan.connection.mode.reason
    );
    assert!(plan.connection.mode.reason.contains("hang on a cgroup"));
    let mut facts = capable_host();
    take(&mut facts);
    let mut below = config();
    below.scope.cgroup = "/system.slice".into();
    facts.sockets.packets = lacking();
    let Outcome::Skip { reason } = decide(&facts, &below).connection.variant else {
        panic!("a scope that is not there cannot be measured");
    };
    assert!(reason.contains("scope's cgroup"), "{reason}");
}

#[test]
fn who_accepts_is_told_by_the_surest_that_others_do_not_pay_for() {
    let told = |takes: &[Take]| {
        let plan = plan_without(|facts| takes.iter().for_each(|take| take(facts)));
        let events = plan.jail.mounts.iter().any(|mount| mount.target == EVENTS);
        (
            plan.connection.accept.value,
            plan.connection.accept.reason,
            events,
        )
    };
    let (accept, _, events) = told(&[]);
    assert_eq!((accept, events), (Accept::Probe, true));
    let no_probe: Take = |facts| facts.accept_probe = lacking();
    let (accept, reason, events) = told(&[no_probe]);
    assert_eq!((accept, events), (Accept::Reader, false));
    assert!(
        reason.contains("reads first: tried and refused"),
        "{reason}"
    );
    let (accept, reason, _) = told(&[no_probe, |facts| facts.reader_tracepoint = lacking()]);
    assert_eq!(accept, Accept::Listener);
    assert!(reason.contains("process that listens"), "{reason}");
    // Where all hangs on probes, this one does, too; only those of the tracing directory are there.
    let (accept, _, events) = told(&[no_probe, |facts| facts.raw_tracepoint = lacking()]);
    assert_eq!((accept, events), (Accept::Probe, false));
}

#[test]
fn perf_buffers_are_not_asked_for_where_perf_events_are_refused() {
    let mut perf = config();
    perf.agent.transport = crate::config::TransportSetting::Perf;
    let mut facts = capable_host();
    facts.perf_events = lacking();
    let plan = decide(&facts, &perf);
    assert_eq!(plan.connection.transport.value, Transport::RingBuffer);
}

#[test]
fn a_capability_that_is_not_there_is_not_kept() {
    let plan =
        plan_without(|facts| facts.capabilities = [Capability::NET_ADMIN].into_iter().collect());
    assert_eq!(plan.jail.capability_set(), Capabilities::default());
}
