//! What writes and reads the option on this host, and why not something better.

use super::hooks::Hooks;
use crate::config::{Config, ModeSetting};
use crate::family::connection::plan::ConnectionVariant;
use crate::host::{Fact, HostFacts};
use crate::plan::{Choice, Mode};

/// What can touch the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The kernel's TCP stack.
    Sockops,
    /// Packet filters.
    Filters {
        /// Why not the TCP stack.
        because: String,
    },
    /// Nothing.
    None {
        /// Why not.
        because: String,
    },
}

/// The best that the kernel has and the operator wants.
///
/// With probes only packet filters are left: kernels that need them have no header options.
pub(super) fn choose(facts: &HostFacts, config: &Config, probes: bool) -> Carrier {
    let setting = config.option.mode;
    let sockops = match probes {
        true => Err("programs on probes do not reach the TCP stack's options".to_owned()),
        false => sockops(facts),
    };
    let because = match (setting, sockops) {
        (ModeSetting::Auto | ModeSetting::Observe | ModeSetting::Sockops, Ok(())) => {
            return Carrier::Sockops;
        }
        (ModeSetting::TcClone, _) => "option.mode asks for it".to_owned(),
        (_, Err(why)) => why,
    };
    match (setting, filters(facts)) {
        (ModeSetting::Sockops, _) => Carrier::None {
            because: format!("{because}, and option.mode asks for nothing else"),
        },
        (_, Ok(())) => Carrier::Filters { because },
        (ModeSetting::TcClone, Err(why)) => Carrier::None {
            because: format!("option.mode asks for tc-clone, but {why}"),
        },
        (_, Err(why)) => Carrier::None {
            because: format!("{because}; and for tc-clone {why}"),
        },
    }
}

/// Whether the kernel's TCP stack can write the option, and if not, why.
fn sockops(facts: &HostFacts) -> Result<(), String> {
    if let Fact::No { why } = &facts.scope {
        return Err(format!("sockops programs hang on a cgroup: {why}"));
    }
    if let Fact::No { why } = &facts.cgroup_programs {
        return Err(format!("sockops programs hang on a cgroup: {why}"));
    }
    let needed: [(&Fact, &str); 3] = [
        (&facts.sockops, "the kernel has no sockops programs"),
        (
            &facts.header_options,
            "sockops programs of this kernel cannot write TCP options",
        ),
        // bpf_skc_to_tcp_sock() returns a pointer that only the kernel's own types describe.
        (
            &facts.btf,
            "sockops programs find their connection by the kernel's own types",
        ),
    ];
    match needed.into_iter().find(|(fact, _)| !fact.is_yes()) {
        Some((fact, what)) => Err(format!("{what}: {}", fact.why())),
        None => Ok(()),
    }
}

/// Whether packet filters can copy a packet, and if not, why.
fn filters(facts: &HostFacts) -> Result<(), String> {
    if !facts.packet_filters.is_yes() {
        let why = facts.packet_filters.why();
        return Err(format!("the kernel has no packet filters that copy: {why}"));
    }
    match &facts.clsact {
        Fact::No { why } => Err(format!("packet filters cannot be attached: {why}")),
        // What could not be tried may well work: the loader will tell.
        Fact::Yes | Fact::Unknown { .. } => Ok(()),
    }
}

/// Who writes the option, if anybody.
pub(super) fn mode(config: &Config, missing: Option<&str>, carrier: &Carrier) -> Choice<Mode> {
    let observe = |reason: String| Choice::new(Mode::Observe, reason);
    if !config.option.enabled {
        return observe("switched off by [option] enabled = false".into());
    }
    if config.keys.is_empty() {
        return observe("there is no fleet key to sign the option with".into());
    }
    if config.option.mode == ModeSetting::Observe {
        return observe("option.mode asks for it".into());
    }
    match (missing, carrier) {
        (Some(missing), _) => observe(missing.to_owned()),
        (None, Carrier::None { because }) => observe(because.clone()),
        (None, Carrier::Sockops) => Choice::new(
            Mode::Sockops,
            "the kernel's TCP stack writes the option on the handshake ACK",
        ),
        (None, Carrier::Filters { because }) => Choice::new(
            Mode::TcClone,
            format!("a copy of the handshake ACK carries the option: {because}"),
        ),
    }
}

/// How connections are followed, and what of the option is seen.
pub(super) fn variant(
    config: &Config,
    mode: &Choice<Mode>,
    carrier: &Carrier,
    hooks: &Result<Hooks, String>,
) -> Choice<ConnectionVariant> {
    let choice = on_tracepoints(config, mode, carrier);
    let Ok(Hooks::Probes { because }) = hooks else {
        return choice;
    };
    let value = match choice.value.has_filters() {
        true => ConnectionVariant::ProbesAndFilters,
        false => ConnectionVariant::Probes,
    };
    // Before 4.15 a tracepoint takes one program, and probes that others made are such.
    let own = "each probe is the agent's own, so that other tracers keep theirs";
    Choice::new(value, format!("{}; {because}; {own}", choice.reason))
}

fn on_tracepoints(
    config: &Config,
    mode: &Choice<Mode>,
    carrier: &Carrier,
) -> Choice<ConnectionVariant> {
    if config.keys.is_empty() {
        return Choice::new(
            ConnectionVariant::RawTracepoint,
            "connections are measured; without a fleet key no option is read",
        );
    }
    let seen = if mode.value == Mode::Observe {
        "connections are measured, the option is only read"
    } else {
        "connections are measured, the option is written and read"
    };
    match carrier {
        Carrier::Sockops => Choice::new(ConnectionVariant::RawTracepointAndSockops, seen),
        Carrier::Filters { .. } => Choice::new(ConnectionVariant::RawTracepointAndFilters, seen),
        Carrier::None { because } => Choice::new(
            ConnectionVariant::RawTracepoint,
            format!("connections are measured, the option is not read: {because}"),
        ),
    }
}
