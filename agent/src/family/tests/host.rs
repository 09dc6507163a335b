//! A host that can do everything, and what may be taken from it.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use super::super::connection;
use crate::clock::Clocks;
use crate::config::{Config, Key, Secret};
use crate::family::connection::plan::{Connection, ConnectionVariant, DumpMethod};
use crate::host::{Cgroup2, Fact, Hierarchy, HostFacts, Least, Pack, Sockets};
use crate::plan::{Needs, Outcome, Plan};
use crate::sandbox::{Capabilities, Capability};

pub(in crate::family) fn capable_host() -> HostFacts {
    HostFacts {
        hostname: "host".into(),
        kernel: "6.1.0".into(),
        arch: "x86_64".into(),
        clocks: Clocks::default(),
        capabilities: Capabilities::from_status("CapEff:\t1ffffffffff\n", "CapEff").unwrap(),
        bpf: Fact::Yes,
        btf: Fact::Yes,
        btf_pack: Pack::NotNeeded,
        raw_tracepoint: Fact::Yes,
        kernel_memory: Fact::Yes,
        state_tracepoint: Fact::Yes,
        reader_tracepoint: Fact::Yes,
        accept_probe: Fact::Yes,
        sockops: Fact::Yes,
        header_options: Fact::Yes,
        packet_filters: Fact::Yes,
        clsact: Fact::Yes,
        kprobe: Fact::Yes,
        cgroup_programs: Fact::Yes,
        conntrack: Fact::Yes,
        forwards: Fact::no("no device forwards packets"),
        lru_hash: Fact::Yes,
        lpm_trie: Fact::Yes,
        ring_buffer: Fact::Yes,
        perf_event_array: Fact::Yes,
        perf_events: Fact::Yes,
        file_iterator: Fact::Yes,
        map_iterator: Fact::Yes,
        tracefs: Fact::Yes,
        sockets: Sockets {
            packets: Fact::Yes,
            lists: Fact::Yes,
            news: Fact::Yes,
            tcp_info_bytes: 248,
            least_for_descriptors: Least::new(&[Capability::SYS_PTRACE], "tried"),
        },
        hierarchy: Hierarchy::V2,
        cgroup2: Cgroup2::Mounted {
            at: PathBuf::from("/sys/fs/cgroup"),
        },
        cgroup_tree: Fact::Yes,
        processes: Fact::Yes,
        conntrack_events: Some("2".into()),
        scope: Fact::Yes,
        co_attached: Some(Vec::new()),
        least_for_maps: Least::new(&[], "tried"),
        least_for_filters: Least::new(&[Capability::NET_ADMIN], "tried"),
        least_for_executables: Least::new(&[Capability::SYS_PTRACE], "tried"),
        unprivileged_bpf_disabled: Some("2".into()),
        lockdown: Some("none".into()),
        lsm: None,
        memlock: None,
        private_mounts: Fact::Yes,
        seccomp: Fact::Yes,
        seccomp_log: Fact::Yes,
    }
}

pub(in crate::family) fn config() -> Config {
    let mut config = Config::defaults();
    config.keys = vec![Key {
        epoch: 1,
        secret: Secret::new([7; 16]),
    }];
    config
}

/// The plan of a host, with what stands behind it of the family that has most to choose.
#[derive(Debug)]
pub(super) struct Planned {
    plan: Plan,
    pub(super) connection: Connection,
}

impl Planned {
    /// What became of the family at its opening is what is decided from now on.
    pub(super) fn take_note(&mut self, config: &Config) {
        let decision = self
            .connection
            .decision(config, Needs::default(), Vec::new());
        self.plan.families[0] = decision;
    }
}

impl Deref for Planned {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

impl DerefMut for Planned {
    fn deref_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }
}

pub(super) fn decide(facts: &HostFacts, config: &Config) -> Planned {
    Planned {
        plan: super::super::decide(facts, config),
        connection: connection::decide::choose(facts, config),
    }
}

/// The plan of a capable host after `change`.
pub(super) fn plan_without(change: impl FnOnce(&mut HostFacts)) -> Planned {
    let mut facts = capable_host();
    change(&mut facts);
    decide(&facts, &config())
}

/// Takes one ability away.
pub(super) type Take = fn(&mut HostFacts);

pub(in crate::family) fn lacking() -> Fact {
    Fact::no("tried and refused")
}

pub(super) fn looks(plan: &Planned) -> [DumpMethod; 2] {
    [
        plan.connection.discovery.value,
        plan.connection.snapshot.value,
    ]
}

pub(super) fn variant(plan: &Planned) -> Option<ConnectionVariant> {
    match &plan.connection.variant {
        Outcome::Run(choice) => Some(choice.value),
        Outcome::Skip { .. } => None,
    }
}
