//! Whether connections can be followed without a program in the kernel.

use wire::Columns;

use super::{Choice, ConnectionVariant, Family, Look};
use crate::config::{Config, HooksWish};
use crate::host::{Cgroup2, Fact, HostFacts};
use crate::sock_diag;

/// Sockets because of `reason`, or why they cannot be had either.
pub(super) fn choose(
    facts: &HostFacts,
    config: &Config,
    reason: &str,
) -> Family<ConnectionVariant> {
    let skip = |why: &str| Family::Skip {
        reason: match why.is_empty() {
            true => reason.to_owned(),
            false => format!("{reason}; and {why}"),
        },
    };
    if matches!(config.agent.hooks, HooksWish::Kernel | HooksWish::Kprobes) {
        return skip("agent.hooks asks for programs only");
    }
    // Without a cgroup2 tree the scope is looked for in the older ones, through /proc.
    let scoped = config.scope.cgroup != "/" && !matches!(facts.cgroup2, Cgroup2::Missing { .. });
    if let (true, Fact::No { why }) = (scoped, &facts.scope) {
        return skip(&format!("the scope's cgroup is out of reach: {why}"));
    }
    let needed = [
        (&facts.sockets.packets, "packet sockets cannot be opened"),
        (&facts.sockets.lists, "the kernel does not list TCP sockets"),
    ];
    match needed.into_iter().find(|(fact, _)| !fact.is_yes()) {
        Some((fact, what)) => skip(&format!("{what}: {}", fact.why())),
        None => Family::Run(Choice::new(
            ConnectionVariant::Sockets,
            format!("connections are measured without programs, the option is only read: {reason}"),
        )),
    }
}

/// Whether that was chosen.
pub(super) fn is_chosen(connection: &Family<ConnectionVariant>) -> bool {
    matches!(connection, Family::Run(choice) if choice.value == ConnectionVariant::Sockets)
}

/// How open connections are found and read.
pub(super) fn lists() -> Choice<Look> {
    Choice::new(Look::Sockets, "by diagnostic sockets")
}

/// What cannot be measured so on this host.
pub(super) fn absent(facts: &HostFacts) -> Columns {
    let told = facts.sockets.news.is_yes();
    sock_diag::absent(facts.sockets.tcp_info_bytes, told)
}

#[cfg(test)]
mod tests {
    use wire::Columns;

    use super::super::tests::{Take, capable_host, config, lacking, plan_without, variant};
    use super::super::{ConnectionVariant, Family, decide};
    use crate::config::HooksWish;
    use crate::host::Cgroup2;

    #[test]
    fn the_operator_chooses_between_programs_and_sockets() {
        let with = |hooks, change: Take| {
            let mut config = config();
            config.agent.hooks = hooks;
            let mut facts = capable_host();
            change(&mut facts);
            decide(&facts, &config)
        };
        let forced = with(HooksWish::Sockets, |_| {});
        assert_eq!(variant(&forced), Some(ConnectionVariant::Sockets));
        assert!(forced.mode.reason.contains("agent.hooks"));
        let kept = forced.jail.capability_set().to_string();
        assert_eq!(kept, "CAP_SYS_PTRACE");
        let refused = with(HooksWish::Kernel, |facts| facts.bpf = lacking());
        let Family::Skip { reason } = &refused.connection else {
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
        assert!(plan.absent.has(Columns::SEGMENTS_SENT) && !plan.absent.has(Columns::BYTES_SENT));
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
}
