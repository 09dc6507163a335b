//! Whether connections can be followed without a program in the kernel.

use wire::Columns;

use crate::config::{Config, HooksSetting};
use crate::family::connection::plan::{ConnectionVariant, DumpMethod};
use crate::host::{Cgroup2, Fact, HostFacts};
use crate::plan::{Choice, Outcome};
use crate::sock_diag;

/// Sockets because of `reason`, or why they cannot be had either.
pub(super) fn choose(
    facts: &HostFacts,
    config: &Config,
    reason: &str,
) -> Outcome<ConnectionVariant> {
    let skip = |why: &str| Outcome::Skip {
        reason: match why.is_empty() {
            true => reason.to_owned(),
            false => format!("{reason}; and {why}"),
        },
    };
    if matches!(
        config.agent.hooks,
        HooksSetting::Kernel | HooksSetting::Kprobes
    ) {
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
        None => Outcome::Run(Choice::new(
            ConnectionVariant::Sockets,
            format!("connections are measured without programs, the option is only read: {reason}"),
        )),
    }
}

/// Whether that was chosen.
pub(super) fn is_chosen(connection: &Outcome<ConnectionVariant>) -> bool {
    matches!(connection, Outcome::Run(choice) if choice.value == ConnectionVariant::Sockets)
}

/// How open connections are found and read.
pub(super) fn lists() -> Choice<DumpMethod> {
    Choice::new(DumpMethod::Sockets, "by diagnostic sockets")
}

/// What cannot be measured so on this host.
pub(super) fn absent(facts: &HostFacts) -> Columns {
    let told = facts.sockets.news.is_yes();
    sock_diag::absent(facts.sockets.tcp_info_bytes, told)
}
