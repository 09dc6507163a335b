//! The variant for a host, and the one for a kernel that refuses it.

use wire::Columns;

use super::{accept, carrier, dumps, hooks, sockets};
use crate::config::{Config, HooksSetting, TransportSetting};
use crate::family::connection::plan::Connection;
use crate::host::{HostFacts, Pack};
use crate::plan::{Choice, Outcome, Transport, Types};

/// The best that the host allows and the operator wants.
pub(crate) fn choose(facts: &HostFacts, config: &Config) -> Connection {
    let hooks = hooks::choose(facts, config.agent.hooks);
    let missing = match config.agent.hooks {
        HooksSetting::Sockets => Some("agent.hooks asks for it".to_owned()),
        _ => hooks::missing(facts, config, &hooks),
    };
    let probes = missing.is_none() && matches!(hooks, Ok(hooks::Hooks::Probes { .. }));
    let carrier = carrier::choose(facts, config, probes);
    let mode = carrier::mode(config, missing.as_deref(), &carrier);
    let variant = match missing {
        Some(reason) => sockets::choose(facts, config, &reason),
        None => Outcome::Run(carrier::variant(config, &mode, &carrier, &hooks)),
    };
    let by_sockets = sockets::is_chosen(&variant);
    let runs = matches!(variant, Outcome::Run(_)) && !by_sockets;
    let (discovery, snapshot) = match by_sockets {
        true => (sockets::lists(), sockets::lists()),
        false => dumps::choose(facts, config.agent.lists, (runs, probes)),
    };
    Connection {
        variant,
        types: match &facts.btf_pack {
            Pack::Found(name) => Types::Pack(name.clone()),
            Pack::NotNeeded | Pack::Missing { .. } => Types::Kernel,
        },
        mode,
        transport: match probes && runs {
            true => Choice::new(Transport::PerfBuffer, "programs on probes use perf events"),
            false => transport(facts, config.agent.transport, runs),
        },
        accept: accept::choose(facts, runs, &hooks),
        discovery,
        snapshot,
        absent: match by_sockets {
            true => sockets::absent(facts),
            false if probes => Columns::ZERO_WINDOWS,
            false => Columns::NONE,
        },
        refused: Vec::new(),
    }
}

/// Follows connections by sockets after the kernel refused the programs; if that cannot be done
/// either, gives the family up.
pub(crate) fn fall_back(plan: &mut Connection, facts: &HostFacts, config: &Config, reason: &str) {
    plan.skip(reason);
    plan.variant = match config.agent.hooks {
        HooksSetting::Kernel => return,
        HooksSetting::Auto | HooksSetting::Kprobes | HooksSetting::Sockets => {
            sockets::choose(facts, config, reason)
        }
    };
    if plan.is_by_sockets() {
        plan.discovery = sockets::lists();
        plan.snapshot = sockets::lists();
        plan.absent = sockets::absent(facts);
    }
}

fn transport(facts: &HostFacts, setting: TransportSetting, runs: bool) -> Choice<Transport> {
    if !runs {
        return Choice::new(Transport::RingBuffer, "no family needs it");
    }
    if setting == TransportSetting::Perf && hooks::has_perf_buffers(facts) {
        return Choice::new(Transport::PerfBuffer, "agent.transport asks for it");
    }
    match facts.ring_buffer.is_yes() {
        true => Choice::new(
            Transport::RingBuffer,
            "one ring for all CPUs keeps the order",
        ),
        false => Choice::new(
            Transport::PerfBuffer,
            format!("the kernel has no ring buffer: {}", facts.ring_buffer.why()),
        ),
    }
}
