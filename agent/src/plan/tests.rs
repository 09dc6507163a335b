//! Every test starts from a host that can do everything and takes one thing away.

mod abilities;

use std::path::PathBuf;

use wire::Columns;

use super::{
    Caller, ConnectionVariant, Family, JailMount, Look, Mode, Plan, Source, Transport, Types, Uses,
    decide,
};
use crate::clock::Clocks;
use crate::config::{Config, Key, ModeWish, NatWish, Secret};
use crate::host::{Cgroup2, Fact, Hierarchy, HostFacts, Least, Pack, Sockets};
use crate::sandbox::{Capabilities, Capability};

pub(super) fn capable_host() -> HostFacts {
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
        neighbours: Some(Vec::new()),
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

pub(super) fn config() -> Config {
    let mut config = Config::defaults();
    config.keys = vec![Key {
        epoch: 1,
        secret: Secret::new([7; 16]),
    }];
    config
}

/// The plan of a capable host after `change`.
pub(super) fn plan_without(change: impl FnOnce(&mut HostFacts)) -> Plan {
    let mut facts = capable_host();
    change(&mut facts);
    decide(&facts, &config())
}

/// Takes one ability away.
pub(super) type Take = fn(&mut HostFacts);

pub(super) fn lacking() -> Fact {
    Fact::no("tried and refused")
}

fn looks(plan: &Plan) -> [Look; 2] {
    [plan.discovery.value, plan.snapshot.value]
}

pub(super) fn variant(plan: &Plan) -> Option<ConnectionVariant> {
    match &plan.connection {
        Family::Run(choice) => Some(choice.value),
        Family::Skip { .. } => None,
    }
}

#[test]
fn a_capable_host_gets_everything() {
    let plan = plan_without(|_| {});
    assert_eq!(plan.mode.value, Mode::Sockops);
    assert_eq!(plan.transport.value, Transport::RingBuffer);
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops)
    );
    assert_eq!(looks(&plan), [Look::Iterator; 2]);
    assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    assert_eq!(plan.jail.keeper, None);
}

#[test]
fn only_the_keeper_of_packet_filters_may_change_the_network() {
    let mut config = config();
    config.option.mode = ModeWish::TcClone;
    let plan = decide(&capable_host(), &config);
    assert_eq!(plan.mode.value, Mode::TcClone);
    assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    let keeper = plan.jail.keeper.unwrap();
    assert_eq!(keeper.capability_set().to_string(), "CAP_NET_ADMIN");
    assert_eq!(keeper.seccomp.callers, [Caller::Keeper]);
}

#[test]
fn what_programs_lack_sockets_do_and_without_them_the_family_is_skipped_with_its_reason() {
    let takes: [(&str, Take); 9] = [
        ("hand records over", |facts| {
            facts.ring_buffer = lacking();
            facts.perf_events = lacking();
        }),
        ("cannot be loaded", |facts| facts.bpf = lacking()),
        ("BTF", |facts| {
            facts.btf = lacking();
            facts.btf_pack = Pack::Missing {
                why: "tried and refused".into(),
            };
        }),
        ("raw tracepoint", |facts| {
            facts.raw_tracepoint = lacking();
            facts.kprobe = lacking();
        }),
        ("read its memory", |facts| facts.kernel_memory = lacking()),
        ("socket's state", |facts| {
            facts.state_tracepoint = lacking();
            facts.kprobe = lacking();
        }),
        ("evict", |facts| facts.lru_hash = lacking()),
        ("prefixes", |facts| facts.lpm_trie = lacking()),
        ("hand records over", |facts| {
            facts.ring_buffer = lacking();
            facts.perf_event_array = lacking();
        }),
    ];
    for (words, take) in takes {
        let by_sockets = plan_without(take);
        let Family::Run(choice) = &by_sockets.connection else {
            panic!("{words}: sockets should do");
        };
        assert_eq!(choice.value, ConnectionVariant::Sockets, "{words}");
        assert!(choice.reason.contains(words), "{}", choice.reason);
        assert_eq!(by_sockets.mode.value, Mode::Observe, "{words}");
        assert_eq!(looks(&by_sockets), [Look::Sockets; 2]);
        assert!(by_sockets.absent.has(Columns::ZERO_WINDOWS));
        let absent =
            |(name, what): &(String, String)| name == "absent" && what.starts_with("zero_windows:");
        assert!(by_sockets.rows().iter().any(absent), "{words}");
        let plan = plan_without(|facts| {
            take(facts);
            facts.sockets.packets = lacking();
        });
        let Family::Skip { reason } = &plan.connection else {
            panic!("{words}: the family should be skipped");
        };
        assert!(
            reason.contains(words) && reason.contains("tried and refused"),
            "{reason}"
        );
        assert_eq!(plan.mode.value, Mode::Observe, "{words}");
        assert_eq!(looks(&plan), [Look::No; 2], "{words}");
        assert!(plan.jail.capabilities.is_empty(), "{words}");
    }
}

#[test]
fn without_tracepoints_probes_tell_the_life_of_connections_and_copies_carry_the_option() {
    let takes: [Take; 2] = [
        |facts| facts.raw_tracepoint = lacking(),
        |facts| facts.state_tracepoint = lacking(),
    ];
    for take in takes {
        let plan = plan_without(take);
        assert_eq!(variant(&plan), Some(ConnectionVariant::ProbesAndFilters));
        assert_eq!(plan.mode.value, Mode::TcClone);
        assert_eq!(plan.transport.value, Transport::PerfBuffer);
        assert_eq!(looks(&plan), [Look::Sockets; 2]);
        let tracing = |mount: &&JailMount| mount.source == Source::Tracefs { writable: true };
        assert!(plan.jail.mounts.iter().any(|mount| tracing(&mount)));
        let rows = plan.rows();
        assert!(rows[0].1.contains("probes and packet filters"), "{rows:?}");
        assert!(rows[0].1.contains("tried and refused"), "{rows:?}");
        assert!(rows[0].1.contains("other tracers keep theirs"), "{rows:?}");
    }
    let both = plan_without(|facts| {
        facts.raw_tracepoint = lacking();
        facts.packet_filters = lacking();
    });
    assert_eq!(variant(&both), Some(ConnectionVariant::Probes));
    assert_eq!(both.mode.value, Mode::Observe);
}

#[test]
fn without_header_options_copies_carry_the_option() {
    for plan in [
        plan_without(|facts| facts.header_options = lacking()),
        plan_without(|facts| facts.sockops = Fact::unknown("not permitted")),
    ] {
        assert_eq!(plan.mode.value, Mode::TcClone);
        assert!(
            plan.mode.reason.contains("sockops programs"),
            "{}",
            plan.mode.reason
        );
        assert_eq!(
            variant(&plan),
            Some(ConnectionVariant::RawTracepointAndFilters)
        );
        let (kept, why) = &plan.jail.keeper.unwrap().capabilities[0];
        assert_eq!(*kept, Capability::NET_ADMIN);
        assert!(why.contains("packet filters"), "{why}");
    }
}

#[test]
fn without_header_options_and_filters_connections_are_still_measured() {
    let takes: [Take; 2] = [
        |facts| facts.packet_filters = lacking(),
        |facts| facts.clsact = lacking(),
    ];
    for take in takes {
        let plan = plan_without(|facts| {
            facts.header_options = Fact::no("no such helper");
            take(facts);
        });
        assert_eq!(plan.mode.value, Mode::Observe);
        for words in ["no such helper", "tc-clone", "tried and refused"] {
            assert!(
                plan.mode.reason.contains(words),
                "{words}: {}",
                plan.mode.reason
            );
        }
        assert_eq!(variant(&plan), Some(ConnectionVariant::RawTracepoint));
        assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    }
}

#[test]
fn without_programs_on_cgroups_copies_carry_the_option() {
    let plan = plan_without(|facts| facts.cgroup_programs = lacking());
    assert_eq!(plan.mode.value, Mode::TcClone);
    assert!(
        plan.mode.reason.contains("hang on a cgroup"),
        "{}",
        plan.mode.reason
    );
}

#[test]
fn filters_that_could_not_be_tried_are_left_to_the_loader() {
    let plan = plan_without(|facts| {
        facts.header_options = lacking();
        facts.clsact = Fact::unknown("no network namespaces");
    });
    assert_eq!(plan.mode.value, Mode::TcClone);
}

#[test]
fn the_operators_wish_is_taken_or_refused_and_never_replaced() {
    let wished = |wish, change: Take| {
        let mut facts = capable_host();
        change(&mut facts);
        let mut config = config();
        config.option.mode = wish;
        decide(&facts, &config)
    };
    let plan = wished(ModeWish::TcClone, |_| {});
    assert_eq!(plan.mode.value, Mode::TcClone);
    assert!(plan.mode.reason.contains("option.mode asks for it"));
    let plan = wished(ModeWish::TcClone, |facts| facts.clsact = lacking());
    assert_eq!(plan.mode.value, Mode::Observe);
    let plan = wished(ModeWish::Sockops, |facts| facts.header_options = lacking());
    assert_eq!(plan.mode.value, Mode::Observe);
    assert!(plan.mode.reason.contains("asks for nothing else"));
    let plan = wished(ModeWish::Observe, |_| {});
    assert_eq!(plan.mode.value, Mode::Observe);
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops),
        "what others write is still read"
    );
}

#[test]
fn without_a_ring_buffer_records_come_through_perf_events() {
    let plan = plan_without(|facts| facts.ring_buffer = lacking());
    assert_eq!(plan.transport.value, Transport::PerfBuffer);
    assert!(plan.transport.reason.contains("tried and refused"));
    assert!(
        !plan.jail.capability_set().has(Capability::PERFMON),
        "the buffers are mapped before confinement"
    );
    assert!(variant(&plan).is_some());
}

#[test]
fn each_iterator_costs_only_what_it_does() {
    let plan = plan_without(|facts| facts.file_iterator = lacking());
    assert_eq!(looks(&plan), [Look::Sockets, Look::Iterator]);
    assert!(plan.discovery.reason.contains("tried and refused"));
    let plan = plan_without(|facts| facts.map_iterator = lacking());
    assert_eq!(looks(&plan), [Look::Iterator, Look::Sockets]);
    let neither = plan_without(|facts| {
        facts.file_iterator = lacking();
        facts.sockets.lists = lacking();
    });
    assert_eq!(looks(&neither), [Look::No, Look::Iterator]);
    assert!(neither.discovery.reason.contains("older than the agent"));
}

#[test]
fn switched_off_means_nothing_is_written_and_others_are_still_read() {
    let mut config = config();
    config.option.enabled = false;
    let plan = decide(&capable_host(), &config);
    assert_eq!(plan.mode.value, Mode::Observe);
    assert!(plan.mode.reason.contains("enabled = false"));
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops)
    );
    config.keys.clear();
    let plan = decide(&capable_host(), &config);
    assert_eq!(variant(&plan), Some(ConnectionVariant::RawTracepoint));
}

#[test]
fn capabilities_follow_from_what_was_tried_and_say_what_they_are_for() {
    let plan = plan_without(|facts| {
        facts.least_for_maps = Least::new(&[Capability::BPF], "tried");
        facts.least_for_executables = Least::new(&[Capability::BPF], "tried");
    });
    let set = plan.jail.capability_set();
    assert_eq!(set.to_string(), "CAP_BPF");
    let (_, why) = plan
        .jail
        .capabilities
        .iter()
        .find(|(one, _)| *one == Capability::BPF)
        .unwrap();
    assert!(
        why.contains("tables") && why.contains("executables"),
        "{why}"
    );
}

#[test]
fn a_cgroup_tree_in_reach_is_bound_and_another_mounted_with_its_own_options() {
    let tree = |plan: &Plan| {
        let mount = plan
            .jail
            .mounts
            .iter()
            .find(|mount| mount.target == "sys/fs/cgroup");
        mount.map(|mount| mount.source.clone())
    };
    let bound = tree(&plan_without(|_| {}));
    assert_eq!(bound, Some(Source::Host(PathBuf::from("/sys/fs/cgroup"))));
    let fresh = tree(&plan_without(|facts| {
        facts.cgroup2 = Cgroup2::Mountable {
            options: "nsdelegate".into(),
        }
    }));
    assert_eq!(fresh, Some(Source::Cgroup2("nsdelegate".into())));
    let none = tree(&plan_without(|facts| {
        facts.cgroup2 = Cgroup2::Missing { why: "old".into() };
        facts.scope = lacking();
    }));
    assert_eq!(none, None);
}

#[test]
fn every_decision_has_a_reason_in_the_report() {
    for plan in [
        plan_without(|_| {}),
        plan_without(|facts| facts.bpf = lacking()),
    ] {
        for (name, decision) in plan.rows() {
            let (_, reason) = decision.split_once(": ").unwrap();
            assert!(!reason.trim().is_empty(), "{name}: {decision}");
        }
    }
}

#[test]
fn the_jail_mounts_only_what_the_manifest_has_a_place_for() {
    let manifest = include_str!("../../../rootfs/manifest.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let paths: Vec<&str> = ["directory", "file"]
        .iter()
        .flat_map(|kind| manifest[*kind].as_array().unwrap())
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    for mount in plan_without(|_| {}).jail.mounts {
        assert!(
            paths.contains(&mount.target),
            "rootfs/manifest.toml lacks {}",
            mount.target
        );
    }
}

#[test]
fn the_manifest_gives_each_entry_a_reason_and_a_parent() {
    let manifest = include_str!("../../../rootfs/manifest.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut directories = vec![String::new()];
    for entry in manifest["directory"].as_array().unwrap() {
        let path = entry["path"].as_str().unwrap();
        assert!(!entry["why"].as_str().unwrap().is_empty(), "{path}");
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(
            directories.iter().any(|known| known == parent),
            "{path} comes before {parent}"
        );
        directories.push(path.to_owned());
    }
    for entry in manifest["file"].as_array().unwrap() {
        let path = entry["path"].as_str().unwrap();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(
            directories.iter().any(|known| known == parent),
            "{path} has no {parent}"
        );
    }
}

#[test]
fn a_refused_option_program_means_that_nothing_is_written() {
    let mut plan = plan_without(|_| {});
    plan.degrade(&[(
        "wb_conn_window".into(),
        "zero windows are not counted".into(),
    )]);
    assert_eq!(plan.mode.value, Mode::Sockops);
    assert_eq!(plan.absent, Columns::ZERO_WINDOWS, "absent, not zero");
    plan.degrade(&[("wb_conn_option".into(), "neither written nor read".into())]);
    assert_eq!(plan.mode.value, Mode::Observe);
    let mut plan = plan_without(|facts| facts.header_options = lacking());
    plan.degrade(&[("wb_clone_in".into(), "the option is not read".into())]);
    assert_eq!(plan.mode.value, Mode::TcClone);
    plan.degrade(&[
        ("wb_conn_window".into(), "zero windows".into()),
        ("wb_clone_out".into(), "cannot attach".into()),
    ]);
    assert_eq!(plan.mode.value, Mode::Observe);
    let rows = plan.rows();
    assert!(
        rows.iter()
            .any(|(name, what)| name == "wb_conn_window" && what.contains("zero"))
    );
}

#[test]
fn a_scope_that_only_the_jail_will_show_is_no_obstacle() {
    let plan = plan_without(|facts| {
        facts.cgroup2 = Cgroup2::Mountable {
            options: String::new(),
        };
        facts.scope = Fact::unknown("not mounted");
    });
    assert!(variant(&plan).is_some());
    assert_eq!(plan.mode.value, Mode::Sockops);
}

#[test]
fn a_family_that_the_kernel_refuses_leaves_no_capability_behind() {
    let (facts, config) = (capable_host(), config());
    let mut plan = decide(&facts, &config);
    let mounts = plan.jail.mounts.clone();
    plan.skip_connection("the verifier says no");
    plan.settle(&facts, &config, &Uses::default());
    assert_eq!(variant(&plan), None);
    assert_eq!(plan.mode.value, Mode::Observe);
    assert!(plan.jail.capabilities.is_empty());
    assert_eq!(
        plan.jail.mounts, mounts,
        "what is mounted is to be unmounted"
    );
    assert!(plan.rows()[0].1.contains("the verifier says no"));
}

#[test]
fn a_pack_stands_in_for_the_kernels_types_and_packet_filters_for_sockops() {
    let plan = plan_without(|facts| {
        facts.btf = lacking();
        facts.btf_pack = Pack::Found("ab.4.19.btf.zst".into());
        facts.file_iterator = lacking();
        facts.map_iterator = lacking();
    });
    assert_eq!(plan.types, Types::Pack("ab.4.19.btf.zst".into()));
    assert_eq!(plan.mode.value, Mode::TcClone, "{}", plan.mode.reason);
    assert!(
        plan.mode.reason.contains("own types"),
        "{}",
        plan.mode.reason
    );
    assert_eq!(looks(&plan), [Look::Sockets; 2]);
    let rows = plan.rows();
    assert!(rows.iter().any(|(name, _)| name == "types"), "{rows:?}");
    let bound = |target: &str| plan.jail.mounts.iter().any(|mount| mount.target == target);
    assert!(!bound("sys/kernel/btf"), "there is nothing to bind");
}

#[test]
fn only_gateways_read_connection_tracking_unless_asked_to() {
    let mut facts = capable_host();
    let mut config = config();
    assert!(!decide(&facts, &config).nat.value);
    facts.forwards = Fact::Yes;
    assert!(decide(&facts, &config).nat.value);
    facts.conntrack = Fact::no("connection tracking is not in use");
    let plan = decide(&facts, &config);
    assert_eq!(
        (plan.nat.value, plan.nat.reason.as_str()),
        (false, "connection tracking is not in use")
    );
    facts.conntrack = Fact::Yes;
    config.nat = NatWish::Off;
    assert!(!decide(&facts, &config).nat.value);
    facts.forwards = Fact::no("no device forwards packets");
    config.nat = NatWish::On;
    assert!(decide(&facts, &config).nat.value);
}
