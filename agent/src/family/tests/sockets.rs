//! When connections are followed by sockets.

use wire::Columns;

use super::host::{Take, capable_host, config, decide, lacking, plan_without, variant};
use crate::config::HooksSetting;
use crate::family::connection::plan::ConnectionVariant;
use crate::host::Cgroup2;
use crate::plan::Outcome;

#[test]
fn the_operator_chooses_between_programs_and_sockets() {
    let with = |hooks, change: Take| {
        let mut config = config();
        config.agent.hooks = hooks;
        let mut facts = capable_host();
        change(&mut facts);
        decide(&facts, &config)
    };
    let forced = with(HooksSetting::Sockets, |_| {});
    assert_eq!(variant(&forced), Some(ConnectionVariant::Sockets));
    assert!(forced.connection.mode.reason.contains("agent.hooks"));
    let kept = forced.jail.capability_set().to_string();
    assert_eq!(kept, "CAP_SYS_PTRACE");
    let refused = with(HooksSetting::Kernel, |facts| facts.bpf = lacking());
    let Outcome::Skip { reason } = &refused.connection.variant else {
        panic!("programs or nothing");
    };
    assert!(reason.contains("agent.hooks") && reason.contains("tried and refused"));
}

#[test]
fn sockets_without_news_cannot_tell_what_short_connections_counted() {
    let plan = plan_without(|facts| {
        facts.bpf = lacking();
        facts.sockets.news = lacking();
    });
    assert!(
        plan.connection.absent.has(Columns::SEGMENTS_SENT)
            && !plan.connection.absent.has(Columns::BYTES_SENT)
    );
}

#[test]
fn sockets_of_a_scope_that_is_not_there_are_not_followed() {
    let mut config = config();
    config.scope.cgroup = "/none".into();
    let mut facts = capable_host();
    facts.scope = lacking();
    let plan = decide(&facts, &config);
    assert_eq!(variant(&plan), None);
    // Without a cgroup2 tree it is looked for in /proc.
    facts.cgroup2 = Cgroup2::Missing {
        why: "tried and refused".into(),
    };
    assert_eq!(
        variant(&decide(&facts, &config)),
        Some(ConnectionVariant::Sockets)
    );
}
