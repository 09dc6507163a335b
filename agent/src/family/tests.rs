//! Every test starts from a host that can do everything and takes one thing away.

mod abilities;
mod calls;
pub(super) mod host;
mod jail;
mod seccomp;
mod sockets;
mod warnings;

use wire::Columns;

use crate::config::{Config, FamilySetting, ModeSetting};
use crate::family::connection::plan::{ConnectionVariant, DumpMethod};
use crate::host::{Cgroup2, Fact, HostFacts, Pack};
use crate::plan::{JailMount, Mode, Outcome, Source, Transport, Types};
use crate::sandbox::Capability;
use host::{Take, capable_host, config, decide, lacking, looks, plan_without, variant};

#[test]
fn a_capable_host_gets_everything() {
    let plan = plan_without(|_| {});
    assert_eq!(plan.connection.mode.value, Mode::Sockops);
    assert_eq!(plan.connection.transport.value, Transport::RingBuffer);
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops)
    );
    assert_eq!(looks(&plan), [DumpMethod::Iterator; 2]);
    assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    assert_eq!(plan.jail.keeper, None);
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
        let Outcome::Run(choice) = &by_sockets.connection.variant else {
            panic!("{words}: sockets should do");
        };
        assert_eq!(choice.value, ConnectionVariant::Sockets, "{words}");
        assert!(choice.reason.contains(words), "{}", choice.reason);
        assert_eq!(by_sockets.connection.mode.value, Mode::Observe, "{words}");
        assert_eq!(looks(&by_sockets), [DumpMethod::Sockets; 2]);
        assert!(by_sockets.connection.absent.has(Columns::ZERO_WINDOWS));
        let absent =
            |(name, what): &(String, String)| name == "absent" && what.starts_with("zero_windows:");
        assert!(by_sockets.rows().iter().any(absent), "{words}");
        let plan = plan_without(|facts| {
            take(facts);
            facts.sockets.packets = lacking();
            facts.sockets.lists = lacking();
        });
        let Outcome::Skip { reason } = &plan.connection.variant else {
            panic!("{words}: the family should be skipped");
        };
        assert!(
            reason.contains(words) && reason.contains("tried and refused"),
            "{reason}"
        );
        assert_eq!(plan.connection.mode.value, Mode::Observe, "{words}");
        assert_eq!(looks(&plan), [DumpMethod::No; 2], "{words}");
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
        assert_eq!(plan.connection.mode.value, Mode::TcClone);
        assert_eq!(plan.connection.transport.value, Transport::PerfBuffer);
        assert_eq!(looks(&plan), [DumpMethod::Sockets; 2]);
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
    assert_eq!(both.connection.mode.value, Mode::Observe);
}

#[test]
fn without_header_options_copies_carry_the_option() {
    for plan in [
        plan_without(|facts| facts.header_options = lacking()),
        plan_without(|facts| facts.sockops = Fact::unknown("not permitted")),
    ] {
        assert_eq!(plan.connection.mode.value, Mode::TcClone);
        assert!(
            plan.connection.mode.reason.contains("sockops programs"),
            "{}",
            plan.connection.mode.reason
        );
        assert_eq!(
            variant(&plan),
            Some(ConnectionVariant::RawTracepointAndFilters)
        );
        let (kept, why) = &plan.jail.keeper.as_ref().unwrap().capabilities[0];
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
        assert_eq!(plan.connection.mode.value, Mode::Observe);
        for words in ["no such helper", "tc-clone", "tried and refused"] {
            assert!(
                plan.connection.mode.reason.contains(words),
                "{words}: {}",
                plan.connection.mode.reason
            );
        }
        assert_eq!(variant(&plan), Some(ConnectionVariant::RawTracepoint));
        assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    }
}

#[test]
fn without_programs_on_cgroups_copies_carry_the_option() {
    let plan = plan_without(|facts| facts.cgroup_programs = lacking());
    assert_eq!(plan.connection.mode.value, Mode::TcClone);
    assert!(
        plan.connection.mode.reason.contains("hang on a cgroup"),
        "{}",
        plan.connection.mode.reason
    );
}

#[test]
fn filters_that_could_not_be_tried_are_left_to_the_loader() {
    let plan = plan_without(|facts| {
        facts.header_options = lacking();
        facts.clsact = Fact::unknown("no network namespaces");
    });
    assert_eq!(plan.connection.mode.value, Mode::TcClone);
}

#[test]
fn the_operators_wish_is_taken_or_refused_and_never_replaced() {
    let wished = |setting, change: Take| {
        let mut facts = capable_host();
        change(&mut facts);
        let mut config = config();
        config.option.mode = setting;
        decide(&facts, &config)
    };
    let plan = wished(ModeSetting::TcClone, |_| {});
    assert_eq!(plan.connection.mode.value, Mode::TcClone);
    assert!(
        plan.connection
            .mode
            .reason
            .contains("option.mode asks for it")
    );
    let plan = wished(ModeSetting::TcClone, |facts| facts.clsact = lacking());
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    let plan = wished(ModeSetting::Sockops, |facts| {
        facts.header_options = lacking()
    });
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    assert!(
        plan.connection
            .mode
            .reason
            .contains("asks for nothing else")
    );
    let plan = wished(ModeSetting::Observe, |_| {});
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops),
        "what others write is still read"
    );
}

#[test]
fn without_a_ring_buffer_records_come_through_perf_events() {
    let plan = plan_without(|facts| facts.ring_buffer = lacking());
    assert_eq!(plan.connection.transport.value, Transport::PerfBuffer);
    assert!(
        plan.connection
            .transport
            .reason
            .contains("tried and refused")
    );
    assert!(
        !plan.jail.capability_set().has(Capability::PERFMON),
        "the buffers are mapped before confinement"
    );
    assert!(variant(&plan).is_some());
}

#[test]
fn what_sockets_discover_they_show_and_what_iterators_discover_both() {
    let plan = plan_without(|facts| facts.file_iterator = lacking());
    assert_eq!(looks(&plan), [DumpMethod::Sockets; 2]);
    assert!(
        plan.connection
            .discovery
            .reason
            .contains("tried and refused")
    );
    let plan = plan_without(|facts| facts.map_iterator = lacking());
    assert_eq!(looks(&plan), [DumpMethod::Iterator, DumpMethod::Sockets]);
    let reason = &plan.connection.snapshot.reason;
    assert!(reason.contains("tried and refused"), "{reason}");
    let neither = plan_without(|facts| {
        facts.file_iterator = lacking();
        facts.sockets.lists = lacking();
    });
    assert_eq!(looks(&neither), [DumpMethod::No, DumpMethod::Iterator]);
    assert!(
        neither
            .connection
            .discovery
            .reason
            .contains("older than the agent")
    );
}

#[test]
fn switched_off_means_nothing_is_written_and_others_are_still_read() {
    let mut config = config();
    config.option.enabled = false;
    let plan = decide(&capable_host(), &config);
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    assert!(plan.connection.mode.reason.contains("enabled = false"));
    assert_eq!(
        variant(&plan),
        Some(ConnectionVariant::RawTracepointAndSockops)
    );
    config.keys.clear();
    let plan = decide(&capable_host(), &config);
    assert_eq!(variant(&plan), Some(ConnectionVariant::RawTracepoint));
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
fn a_refused_option_program_means_that_nothing_is_written() {
    let mut plan = plan_without(|_| {});
    plan.connection.degrade(&[(
        "wb_conn_window".into(),
        "zero windows are not counted".into(),
    )]);
    assert_eq!(plan.connection.mode.value, Mode::Sockops);
    assert_eq!(
        plan.connection.absent,
        Columns::ZERO_WINDOWS,
        "absent, not zero"
    );
    plan.connection.degrade(&[
        ("wb_conn_rst_in".into(), "received resets".into()),
        ("wb_conn_rst_out".into(), "sent resets".into()),
    ]);
    let resets = Columns::RESET_LOCAL.with(Columns::RESET_REMOTE);
    assert_eq!(plan.connection.absent, Columns::ZERO_WINDOWS.with(resets));
    plan.connection
        .degrade(&[("wb_conn_option".into(), "neither written nor read".into())]);
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    let mut plan = plan_without(|facts| facts.header_options = lacking());
    plan.connection
        .degrade(&[("wb_clone_in".into(), "the option is not read".into())]);
    assert_eq!(plan.connection.mode.value, Mode::TcClone);
    plan.connection.degrade(&[
        ("wb_conn_window".into(), "zero windows".into()),
        ("wb_clone_out".into(), "cannot attach".into()),
    ]);
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    plan.take_note(&config());
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
    assert_eq!(plan.connection.mode.value, Mode::Sockops);
}

#[test]
fn a_pack_stands_in_for_the_kernels_types_and_packet_filters_for_sockops() {
    let plan = plan_without(|facts| {
        facts.btf = lacking();
        facts.btf_pack = Pack::Found("ab.4.19.btf.zst".into());
        facts.file_iterator = lacking();
        facts.map_iterator = lacking();
    });
    assert_eq!(plan.connection.types, Types::Pack("ab.4.19.btf.zst".into()));
    assert_eq!(
        plan.connection.mode.value,
        Mode::TcClone,
        "{}",
        plan.connection.mode.reason
    );
    assert!(
        plan.connection.mode.reason.contains("own types"),
        "{}",
        plan.connection.mode.reason
    );
    assert_eq!(looks(&plan), [DumpMethod::Sockets; 2]);
    let rows = plan.rows();
    assert!(rows.iter().any(|(name, _)| name == "types"), "{rows:?}");
    let bound = |target: &str| plan.jail.mounts.iter().any(|mount| mount.target == target);
    assert!(!bound("sys/kernel/btf"), "there is nothing to bind");
}

#[test]
fn only_gateways_read_connection_tracking_unless_asked_to() {
    let mut facts = capable_host();
    let mut config = config();
    let nat = |facts: &HostFacts, config: &Config| {
        let families = super::decide(facts, config).families.into_iter();
        let mut nat = families.filter(|one| one.family == "nat");
        nat.next().map(|one| one.outcome).unwrap()
    };
    let runs = |facts: &HostFacts, config: &Config| matches!(nat(facts, config), Outcome::Run(_));
    assert!(!runs(&facts, &config));
    facts.forwards = Fact::Yes;
    assert!(runs(&facts, &config));
    facts.conntrack = Fact::no("connection tracking is not in use");
    let reason = "connection tracking is not in use".to_owned();
    assert_eq!(nat(&facts, &config), Outcome::Skip { reason });
    facts.conntrack = Fact::Yes;
    config.families.insert("nat".to_owned(), FamilySetting::Off);
    assert!(!runs(&facts, &config));
    facts.forwards = Fact::no("no device forwards packets");
    config.families.insert("nat".to_owned(), FamilySetting::On);
    assert!(runs(&facts, &config));
}

#[test]
fn each_family_that_can_be_switched_is_off_where_the_configuration_says_so() {
    for name in wire::orders::families() {
        let mut config = config();
        config.families.insert(name.to_owned(), FamilySetting::Off);
        let mut facts = capable_host();
        facts.forwards = Fact::Yes;
        let plan = super::decide(&facts, &config);
        for one in &plan.families {
            assert_eq!(one.runs(), one.family != name, "{name} off: {}", one.family);
        }
        let row = (name.to_owned(), format!("off: families.{name} asks for it"));
        assert!(plan.rows().contains(&row), "{:?}", plan.rows());
        let off = plan.families.iter().find(|one| one.family == name).unwrap();
        assert_eq!(
            off.needs,
            crate::plan::Needs::default(),
            "nothing is kept for it"
        );
        assert!(off.shortfalls.is_empty(), "it was asked for");
        assert_eq!(plan.may_write(&config), name != "connection", "{name} off");
    }
}

#[test]
fn what_runs_everywhere_is_decided_like_all_others_and_takes_no_line_of_the_report() {
    let plan = plan_without(|facts| facts.bpf = lacking());
    let names: Vec<&str> = plan.families.iter().map(|one| one.family).collect();
    assert_eq!(names, ["connection", "nat", "listener", "process", "host"]);
    for one in &plan.families[3..] {
        assert!(one.runs() && one.needs == crate::plan::Needs::default());
        assert!(plan.rows().iter().all(|(name, _)| name != one.family));
    }
}
