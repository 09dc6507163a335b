//! What programs hang on to follow connections, and what they cannot do without.

use crate::config::{Config, HooksSetting};
use crate::host::{Fact, HostFacts, Pack};

/// What tells the life of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hooks {
    RawTracepoints,
    Probes {
        /// Why not tracepoints.
        because: String,
    },
}

/// The best hooks there are, or why there are none.
pub(super) fn choose(facts: &HostFacts, setting: HooksSetting) -> Result<Hooks, String> {
    let tracepoints: [(&Fact, &str); 2] = [
        (
            &facts.raw_tracepoint,
            "the kernel has no raw tracepoint programs",
        ),
        (
            &facts.state_tracepoint,
            "the kernel has no tracepoint for changes of a socket's state",
        ),
    ];
    let lacking = tracepoints.into_iter().find(|(fact, _)| !fact.is_yes());
    let because = match (setting, lacking) {
        (HooksSetting::Kprobes, _) => "agent.hooks asks for it".to_owned(),
        (_, None) => return Ok(Hooks::RawTracepoints),
        (_, Some((fact, what))) => format!("{what}: {}", fact.why()),
    };
    match &facts.kprobe {
        Fact::No { why } => Err(format!(
            "{because}; and programs cannot hang on probes: {why}"
        )),
        // What could not be tried may well work: the loader will tell.
        Fact::Yes | Fact::Unknown { .. } => Ok(Hooks::Probes { because }),
    }
}

/// The first thing without which no connection can be followed, in an operator's words.
pub(super) fn missing(
    facts: &HostFacts,
    config: &Config,
    hooks: &Result<Hooks, String>,
) -> Option<String> {
    if let (true, Pack::Missing { why }) = (facts.bpf.is_yes(), &facts.btf_pack) {
        return Some(format!(
            "the kernel does not describe its structures (BTF), and {why}"
        ));
    }
    let needed: [(&Fact, &str); 4] = [
        (&facts.bpf, "BPF programs cannot be loaded"),
        (
            &facts.kernel_memory,
            "the kernel does not let programs read its memory (lockdown)",
        ),
        (
            &facts.lru_hash,
            "the kernel has no hash tables that evict the oldest entry",
        ),
        (
            &facts.lpm_trie,
            "the kernel has no tables of address prefixes",
        ),
    ];
    let lacking = needed.into_iter().find(|(fact, _)| !fact.is_yes());
    if let Some((fact, what)) = lacking {
        return Some(format!("{what}: {}", fact.why()));
    }
    if let Err(why) = hooks {
        return Some(why.clone());
    }
    if !facts.ring_buffer.is_yes() && !has_perf_buffers(facts) {
        let (array, events) = (&facts.perf_event_array, &facts.perf_events);
        let why = if array.is_yes() { events } else { array }.why();
        return Some(format!("the kernel has no way to hand records over: {why}"));
    }
    // What cannot be looked at before the jail is there may well exist: the loader will tell. All
    // processes are in scope without any cgroup tree.
    match &facts.scope {
        Fact::No { why } if config.scope.cgroup != "/" => {
            Some(format!("the scope's cgroup is out of reach: {why}"))
        }
        Fact::No { .. } | Fact::Yes | Fact::Unknown { .. } => None,
    }
}

/// Whether records can come through perf buffers.
pub(super) fn has_perf_buffers(facts: &HostFacts) -> bool {
    facts.perf_event_array.is_yes() && facts.perf_events.is_yes()
}
