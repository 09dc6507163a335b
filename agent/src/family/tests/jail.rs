//! What the jail leaves follows from what is decided, and from what was opened.

use std::path::PathBuf;

use super::host::{capable_host, config, decide, lacking, plan_without, variant};
use crate::calls::Caller;
use crate::config::ModeSetting;
use crate::host::{Cgroup2, Least};
use crate::plan::{Mode, Plan, Source};
use crate::sandbox::Capability;

#[test]
fn only_the_keeper_of_packet_filters_may_change_the_network() {
    let mut config = config();
    config.option.mode = ModeSetting::TcClone;
    let plan = decide(&capable_host(), &config);
    assert_eq!(plan.connection.mode.value, Mode::TcClone);
    assert_eq!(plan.jail.capability_set().to_string(), "CAP_SYS_PTRACE");
    let keeper = plan.jail.keeper.as_ref().unwrap();
    assert_eq!(keeper.capability_set().to_string(), "CAP_NET_ADMIN");
    assert_eq!(keeper.seccomp.callers, [Caller::KEEPER]);
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
fn the_jail_mounts_only_what_the_manifest_has_a_place_for() {
    let manifest = include_str!("../../../../rootfs/manifest.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let paths: Vec<&str> = ["directory", "file"]
        .iter()
        .flat_map(|kind| manifest[*kind].as_array().unwrap())
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    for mount in &plan_without(|_| {}).jail.mounts {
        assert!(
            paths.contains(&mount.target),
            "rootfs/manifest.toml lacks {}",
            mount.target
        );
    }
}

#[test]
fn the_manifest_gives_each_entry_a_reason_and_a_parent() {
    let manifest = include_str!("../../../../rootfs/manifest.toml");
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
fn a_family_that_the_kernel_refuses_leaves_no_capability_behind() {
    let (facts, config) = (capable_host(), config());
    let mut plan = decide(&facts, &config);
    let mounts = plan.jail.mounts.clone();
    plan.connection.skip("the verifier says no");
    plan.take_note(&config);
    plan.settle(&facts, &config, &[]);
    assert_eq!(variant(&plan), None);
    assert_eq!(plan.connection.mode.value, Mode::Observe);
    assert!(plan.jail.capabilities.is_empty());
    assert_eq!(
        plan.jail.mounts, mounts,
        "what is mounted is to be unmounted"
    );
    assert!(plan.rows()[0].1.contains("the verifier says no"));
}
