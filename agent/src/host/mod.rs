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
mod fact;
mod facts;
mod kernel;
pub mod mounts;
mod namespaces;
pub mod probe;
pub mod refusal;
mod sockets;
mod tree;
mod types;

use crate::clock;
use crate::config::Config;
use crate::netlink::{CONNTRACK_NEW, Notifications};

pub use access::Least;
pub use account::account;
pub use bpf::CoAttached;
pub use cgroup_number::Numbers;
pub use fact::Fact;
pub use facts::HostFacts;
pub use namespaces::first_cgroups;
pub use sockets::Sockets;
pub use tree::{Cgroup2, Hierarchy};
pub use types::Pack;

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
    let co_attached = scope.as_ref().ok().and_then(bpf::co_attached);
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
        file_iterator: bpf::file_iterator(&btf, &bpf),
        map_iterator: bpf::map_iterator(&btf, &bpf),
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
        co_attached,
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
