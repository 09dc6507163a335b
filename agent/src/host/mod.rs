//! What this host can do, found by asking and never by comparing kernel versions.
//!
//! Facts only: the rules that turn them into a plan are in `plan.rs`. Each fact is one small
//! function that tries the thing itself (creates a map, loads a program, reads a file); what could
//! not be asked is [`Fact::Unknown`] and never taken for a yes.

mod access;
mod account;
mod bpf;
mod cgroup;
mod cgroup_number;
mod kernel;
pub mod mounts;
mod namespaces;
pub mod probe;
pub mod refusal;
mod sockets;
mod types;

use crate::clock::{self, Clocks};
use crate::config::Config;
use crate::netlink::{CONNTRACK_NEW, Notifications};
use crate::sandbox::Capabilities;

pub use access::Least;
pub use account::account;
pub use bpf::Neighbour;
pub use cgroup::{Cgroup2, Hierarchy};
pub use cgroup_number::Numbers;
pub use namespaces::first_cgroups;
pub use sockets::Sockets;
pub use types::Pack;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is there.
    Yes,
    /// It is not there.
    No {
        /// What was asked and answered, in an operator's words.
        why: String,
    },
    /// The question could not be asked.
    Unknown {
        /// What stood in the way.
        why: String,
    },
}

impl Fact {
    /// `No` with a reason.
    pub fn no(why: impl Into<String>) -> Self {
        Self::No { why: why.into() }
    }

    /// `Unknown` with a reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// `Yes`, or `No` with a reason.
    pub fn when(there: bool, why_not: impl Into<String>) -> Self {
        if there { Self::Yes } else { Self::no(why_not) }
    }

    /// True only for `Yes`.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// The reason, empty for `Yes`.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Yes => "",
            Self::No { why } | Self::Unknown { why } => why,
        }
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::No { why } => write!(f, "no: {why}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

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
    pub neighbours: Option<Vec<Neighbour>>,

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
        let neighbours = match &self.neighbours {
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
            ("sockops_neighbours", neighbours),
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

/// Asks the host everything the plan may need; changes nothing and never fails.
#[must_use]
pub fn probe(config: &Config) -> HostFacts {
    refusal::listen();
    let mounts = mounts::visible();
    let cgroup2 = cgroup::cgroup2(&mounts);
    let scope = cgroup::scope(&cgroup2, &config.scope.cgroup);
    let bpf = bpf::allowed();
    let btf = bpf::kernel_types();
    let packet_filters = bpf::packet_filters(&bpf);
    let (clsact, least_for_filters) = access::filters(&packet_filters);
    let neighbours = scope.as_ref().ok().and_then(bpf::neighbours);
    let raw_tracepoint = bpf::raw_tracepoint(&bpf);
    let capabilities = kernel::effective_capabilities();
    // What is tried for the running agent is tried as the user that it will be.
    let uid = match capabilities.can_change_user() {
        true => config.jail.uid,
        false => 0,
    };
    HostFacts {
        hostname: kernel::hostname(),
        btf_pack: match &btf {
            Ok(_) => Pack::NotNeeded,
            Err(_) => types::pack(&config.agent.rootfs),
        },
        kernel: kernel::release(),
        arch: std::env::consts::ARCH.to_owned(),
        clocks: clock::clocks(),
        capabilities,
        kernel_memory: bpf::kernel_memory(&bpf),
        kprobe: kernel::probes(bpf::kprobe(&bpf)),
        state_tracepoint: bpf::state_tracepoint(&btf, &raw_tracepoint),
        reader_tracepoint: bpf::reader_tracepoint(&btf, &raw_tracepoint),
        accept_probe: bpf::accept_probe(&bpf),
        raw_tracepoint,
        sockops: bpf::sockops(&bpf),
        header_options: bpf::header_options(&bpf),
        packet_filters,
        clsact,
        least_for_filters,
        cgroup_programs: bpf::cgroup_programs(&bpf),
        conntrack: conntrack(),
        forwards: Fact::when(crate::filters::forwards(), "no device forwards packets"),
        lru_hash: bpf::lru_hash(&bpf),
        lpm_trie: bpf::lpm_trie(&bpf),
        ring_buffer: bpf::ring_buffer(&bpf),
        perf_event_array: bpf::perf_event_array(&bpf),
        perf_events: bpf::perf_events(&bpf),
        file_iterator: bpf::iterator(&btf, "task_file"),
        map_iterator: bpf::iterator(&btf, "bpf_map_elem"),
        tracefs: kernel::tracefs(),
        sockets: sockets::probe(config, uid),
        hierarchy: cgroup::hierarchy(&mounts),
        least_for_maps: access::maps(uid),
        least_for_executables: access::executables(uid),
        unprivileged_bpf_disabled: kernel::text("/proc/sys/kernel/unprivileged_bpf_disabled"),
        private_mounts: access::private_mounts(),
        seccomp: access::seccomp(),
        seccomp_log: kernel::seccomp_log(),
        lockdown: kernel::lockdown(),
        lsm: kernel::text("/sys/kernel/security/lsm"),
        memlock: kernel::memlock(),
        bpf,
        btf: btf.map_or_else(|why| why, |_| Fact::Yes),
        scope: scope.map_or_else(|why| why, |_| Fact::Yes),
        cgroup_tree: namespaces::tree(&cgroup2),
        processes: namespaces::processes(),
        conntrack_events: kernel::text("/proc/sys/net/netfilter/nf_conntrack_events"),
        cgroup2,
        neighbours,
    }
}

/// Enough for a question.
const CONNTRACK_BYTES: usize = 64 << 10;

/// Whether connection tracking is there to be listened to. Asked only where its table is in use: the
/// question itself would load its modules.
fn conntrack() -> Fact {
    if !std::path::Path::new("/proc/sys/net/netfilter/nf_conntrack_count").exists() {
        return Fact::no("connection tracking is not in use");
    }
    match Notifications::open_netfilter(CONNTRACK_NEW, CONNTRACK_BYTES) {
        Ok(_) => Fact::Yes,
        Err(error) => Fact::no(format!("connection tracking does not tell: {error}")),
    }
}
