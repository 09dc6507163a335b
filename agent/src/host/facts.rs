//! Everything that the host answered.

use super::access::Least;
use super::bpf::CoAttached;
use super::fact::Fact;
use super::sockets::Sockets;
use super::tree::{Cgroup2, Hierarchy};
use super::types::Pack;
use crate::clock::Clocks;
use crate::sandbox::Capabilities;

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The host's own name.
    pub hostname: String,
    /// Kernel release: reported, never compared.
    pub kernel: String,
    /// Machine architecture, `x86_64` or `aarch64`.
    pub arch: String,
    /// Unix time of the kernel's clocks.
    pub clocks: Clocks,

    /// Effective capabilities of this process.
    pub capabilities: Capabilities,
    /// A map can be created: bpf(2) is there and allowed.
    pub bpf: Fact,
    /// The kernel describes its own structures.
    pub btf: Fact,
    /// What does so in its place.
    pub btf_pack: Pack,
    /// Program type `raw_tracepoint`.
    pub raw_tracepoint: Fact,
    /// Programs may read kernel memory.
    pub kernel_memory: Fact,
    /// Tracepoint `inet_sock_set_state`.
    pub state_tracepoint: Fact,
    /// Tracepoint `tcp_rcv_space_adjust`, in the context of who reads.
    pub reader_tracepoint: Fact,
    /// A probe can hang on what accept(2) calls, and ends with its process.
    pub accept_probe: Fact,
    /// Program type `sock_ops`.
    pub sockops: Fact,
    /// Helpers that load, store and reserve TCP options in `sock_ops`.
    pub header_options: Fact,
    /// Packet filters, and their helpers that copy a packet and change the copy.
    pub packet_filters: Fact,
    /// Queueing discipline `clsact`, which packet filters hang on.
    pub clsact: Fact,
    /// Map type LRU hash.
    pub lru_hash: Fact,
    /// Map type longest-prefix trie.
    pub lpm_trie: Fact,
    /// Map type ring buffer.
    pub ring_buffer: Fact,
    /// Map type perf event array.
    pub perf_event_array: Fact,
    /// Perf events can be opened: perf buffers and the kernel's own tracepoints need them.
    pub perf_events: Fact,
    /// Iterator over all open files.
    pub file_iterator: Fact,
    /// Iterator over the entries of a map.
    pub map_iterator: Fact,
    /// tracefs is there or can be mounted.
    pub tracefs: Fact,

    /// What can be had without bpf(2).
    pub sockets: Sockets,

    /// How the host arranges its cgroups.
    pub hierarchy: Hierarchy,
    /// Where the cgroup2 tree is.
    pub cgroup2: Cgroup2,
    /// That tree is the host's whole one.
    pub cgroup_tree: Fact,
    /// `/proc` numbers processes as the kernel does.
    pub processes: Fact,
    /// The scope's cgroup exists; unknown where it may come later.
    pub scope: Fact,
    /// sock_ops programs of others that run for the scope's cgroup; `None` when not to be told.
    pub co_attached: Option<Vec<CoAttached>>,

    /// Least capabilities with which maps can be read by descriptor.
    pub least_for_maps: Least,
    /// Least capabilities with which packet filters can be attached.
    pub least_for_filters: Least,
    /// Least capabilities with which `/proc/<pid>/exe` of other processes can be read.
    pub least_for_executables: Least,

    /// Programs can be attached to cgroups.
    pub cgroup_programs: Fact,
    /// Programs can hang on probes at kernel functions.
    pub kprobe: Fact,
    /// Connection tracking is in use, and tells by netlink.
    pub conntrack: Fact,
    /// `net.netfilter.nf_conntrack_events`, as it reads.
    pub conntrack_events: Option<String>,
    /// The host forwards packets.
    pub forwards: Fact,
    /// `kernel.unprivileged_bpf_disabled`, as it reads.
    pub unprivileged_bpf_disabled: Option<String>,
    /// A mount namespace can be made, and mounts in it.
    pub private_mounts: Fact,
    /// System calls of a thread can be filtered.
    pub seccomp: Fact,
    /// What a filter finds can be written to the kernel's audit log.
    pub seccomp_log: Fact,
    /// Lockdown mode, as it reads.
    pub lockdown: Option<String>,
    /// Security modules, as they read.
    pub lsm: Option<String>,
    /// Soft limit of locked memory, as it reads.
    pub memlock: Option<String>,
}

impl HostFacts {
    /// Name and value of each, sorted by name, for reports and host rows.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        let co_attached = match &self.co_attached {
            None => "unknown".into(),
            Some(programs) if programs.is_empty() => "none".into(),
            Some(programs) => programs
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let mut rows = vec![
            ("accept_probe", self.accept_probe.to_string()),
            ("arch", self.arch.clone()),
            ("bpf", self.bpf.to_string()),
            ("btf", self.btf.to_string()),
            ("btf_pack", self.btf_pack.to_string()),
            ("capabilities", self.capabilities.to_string()),
            ("cgroup_hierarchy", self.hierarchy.name().into()),
            ("cgroup2", self.cgroup2.to_string()),
            ("cgroup_programs", self.cgroup_programs.to_string()),
            ("cgroup_tree", self.cgroup_tree.to_string()),
            ("clsact", self.clsact.to_string()),
            ("conntrack", self.conntrack.to_string()),
            ("conntrack_events", text(&self.conntrack_events)),
            ("file_iterator", self.file_iterator.to_string()),
            ("forwards", self.forwards.to_string()),
            ("header_options", self.header_options.to_string()),
            ("kernel", self.kernel.clone()),
            ("kprobe", self.kprobe.to_string()),
            ("kernel_memory", self.kernel_memory.to_string()),
            (
                "least_for_descriptors",
                self.sockets.least_for_descriptors.to_string(),
            ),
            (
                "least_for_executables",
                self.least_for_executables.to_string(),
            ),
            ("least_for_filters", self.least_for_filters.to_string()),
            ("least_for_maps", self.least_for_maps.to_string()),
            ("lockdown", text(&self.lockdown)),
            ("lpm_trie", self.lpm_trie.to_string()),
            ("lru_hash", self.lru_hash.to_string()),
            ("lsm", text(&self.lsm)),
            ("map_iterator", self.map_iterator.to_string()),
            ("memlock", text(&self.memlock)),
            ("packet_filters", self.packet_filters.to_string()),
            ("packet_sockets", self.sockets.packets.to_string()),
            ("perf_event_array", self.perf_event_array.to_string()),
            ("perf_events", self.perf_events.to_string()),
            ("private_mounts", self.private_mounts.to_string()),
            ("processes", self.processes.to_string()),
            ("raw_tracepoint", self.raw_tracepoint.to_string()),
            ("reader_tracepoint", self.reader_tracepoint.to_string()),
            ("ring_buffer", self.ring_buffer.to_string()),
            ("scope", self.scope.to_string()),
            ("seccomp", self.seccomp.to_string()),
            ("seccomp_log", self.seccomp_log.to_string()),
            ("socket_lists", self.sockets.lists.to_string()),
            ("socket_news", self.sockets.news.to_string()),
            ("sockops", self.sockops.to_string()),
            ("sockops_neighbours", co_attached),
            ("state_tracepoint", self.state_tracepoint.to_string()),
            ("tcp_info_bytes", self.sockets.tcp_info_bytes.to_string()),
            ("tracefs", self.tracefs.to_string()),
            (
                "unprivileged_bpf_disabled",
                text(&self.unprivileged_bpf_disabled),
            ),
        ];
        rows.sort_unstable();
        rows.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
