//! What the agent did not find on a kernel, and what that takes from a user. Pure.

use crate::record::Record;

/// A fact of the agent's report, what it is about, and what is lost without it.
const FACTS: [(&str, &str, &str); 18] = [
    (
        "bpf",
        "BPF programs",
        "nothing can be loaded: connections are measured by packet sockets and the kernel's lists of \
         sockets, and no option is written",
    ),
    (
        "btf",
        "type information (BTF)",
        "the agent's programs are fitted to a kernel by it; without it or a pack that stands in for \
         it none is loaded, connections are measured by sockets and no option is written",
    ),
    (
        "raw_tracepoint",
        "raw tracepoint programs",
        "connections are followed by them, or by probes at functions",
    ),
    (
        "kernel_memory",
        "reading the kernel's memory from programs",
        "what is measured is read there; lockdown=confidentiality forbids it for every program, \
         and lockdown=integrity does not",
    ),
    (
        "state_tracepoint",
        "the tracepoint for changes of a socket's state",
        "connections are followed by it, or by probes at functions",
    ),
    (
        "lru_hash",
        "hash tables that evict the oldest entry",
        "programs keep open connections in one; without it connections are measured by sockets",
    ),
    (
        "lpm_trie",
        "tables of address prefixes",
        "programs keep allowed destinations in one; without it connections are measured by sockets",
    ),
    (
        "cgroup2",
        "the cgroup2 tree",
        "what the agent measures is a branch of it, and the option is written by a program on it",
    ),
    (
        "scope",
        "the cgroup of the scope",
        "it says which connections are measured, and the option is written by a program on it",
    ),
    (
        "sockops",
        "programs in the TCP stack (sockops)",
        "the TCP stack cannot write the option; packet filters can, where the kernel has those",
    ),
    (
        "header_options",
        "TCP options written by programs",
        "the TCP stack cannot write the option; packet filters can, where the kernel has those",
    ),
    (
        "packet_filters",
        "packet filters that copy",
        "needed where the TCP stack cannot write the option, and for nothing else",
    ),
    (
        "clsact",
        "a place for packet filters at a device (clsact)",
        "needed where the TCP stack cannot write the option, and for nothing else",
    ),
    (
        "ring_buffer",
        "ring buffers",
        "records go through perf buffers, one for each CPU; nothing else is lost",
    ),
    (
        "file_iterator",
        "the list of open files for programs",
        "sockets that are older than the agent are not found at its start",
    ),
    (
        "map_iterator",
        "reading a table by a program",
        "an open connection is reported when it ends, not at each interval",
    ),
    (
        "accept_probe",
        "a probe in accept()",
        "an accepted connection is named after who reads from it first",
    ),
    (
        "reader_tracepoint",
        "a tracepoint in the context of who reads",
        "without a probe in accept() an accepted connection is named after who closes it",
    ),
];

/// The fact about type information.
pub const BTF: &str = "btf";

/// Whether a BTF pack was found for this kernel.
fn has_pack(record: &Record) -> bool {
    pack(record).is_some_and(|pack| !pack.starts_with("none"))
}

/// What the agent says about a pack for this kernel: its name, or why there is none.
#[must_use]
pub fn pack(record: &Record) -> Option<&str> {
    let doctor = record.doctor.as_ref()?;
    doctor["facts"]["btf_pack"].as_str()
}

/// One thing that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Name of the fact.
    pub fact: &'static str,
    /// In a user's words.
    pub what: &'static str,
    /// What the agent was answered.
    pub answer: String,
    /// What is lost.
    pub loss: &'static str,
}

/// Everything that is not there, the worst first.
#[must_use]
pub fn of(record: &Record) -> Vec<Lack> {
    let doctor = record.doctor.as_ref();
    let value = |fact: &str| doctor.and_then(|doctor| doctor["facts"][fact].as_str());
    FACTS
        .iter()
        .filter_map(|(fact, what, loss)| {
            let answer = answer(value(fact)?)?;
            // A pack stands in for the kernel's own types.
            if *fact == BTF && has_pack(record) {
                return None;
            }
            Some(Lack {
                fact,
                what,
                answer: answer.to_owned(),
                loss,
            })
        })
        .collect()
}

/// The reason in a fact that says no.
fn answer(value: &str) -> Option<&str> {
    ["no: ", "missing: "]
        .iter()
        .find_map(|no| value.strip_prefix(no))
        .or_else(|| matches!(value, "no" | "none").then_some("the agent gives no reason"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;
    use crate::record::Record;

    #[test]
    fn what_is_missing_is_told_with_its_reason_and_what_is_there_is_not() {
        let mut record = Record::default();
        let facts = json!({"btf": "no: ENOENT", "cgroup2": "missing: not built in",
            "bpf": "yes", "sockops": "unknown: not asked", "least_for_maps": "none (tried)"});
        record.line(&json!({"type": "doctor", "doctor": {"facts": facts}}).to_string());
        let lacks = of(&record);
        let told: Vec<_> = lacks.iter().map(|l| (l.fact, l.answer.as_str())).collect();
        assert_eq!(told, [("btf", "ENOENT"), ("cgroup2", "not built in")]);
    }

    #[test]
    fn types_that_a_pack_stands_in_for_are_not_missing() {
        let lacks = |pack: &str| {
            let mut record = Record::default();
            let facts = json!({"btf": "no: ENOENT", "btf_pack": pack});
            record.line(&json!({"type": "doctor", "doctor": {"facts": facts}}).to_string());
            of(&record).len()
        };
        assert_eq!(lacks("0a.4.14.btf.zst"), 0);
        assert_eq!(
            lacks("none: no BTF packs are installed; it would be 0a.4.14.btf.zst"),
            1
        );
    }

    #[test]
    fn without_a_report_nothing_is_known_to_be_missing() {
        assert_eq!(of(&Record::default()), []);
    }
}
