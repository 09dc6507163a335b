//! What the jail must leave: the least that the chosen programs work with.

use std::path::PathBuf;

use super::{
    Capability, Choice, ConnectionVariant, Family, JailMount, JailNeeds, Source, Transport, Until,
    seccomp,
};
use crate::config::Config;
use crate::host::{Cgroup2, HostFacts};

/// Mounts and capabilities for these choices on this host; `read` says by what records come, and
/// whether sockets are listed.
pub(super) fn decide(
    facts: &HostFacts,
    config: &Config,
    connection: &Family<ConnectionVariant>,
    read: (Transport, bool),
) -> JailNeeds {
    let mut mounts = always();
    let mut capabilities = Vec::new();
    if let Family::Run(choice) = connection {
        if choice.value != ConnectionVariant::Sockets {
            mounts.extend(for_loading(facts, choice.value.has_probes()));
        }
        capabilities = kept(facts, choice.value);
    }
    mounts.extend(cgroup_tree(&facts.cgroup2));
    JailNeeds {
        capabilities,
        mounts,
        user: user(facts, config.jail.uid),
        seccomp: seccomp::decide(facts, config, connection, read),
    }
}

/// Root could write the files of root that it reaches, whatever capabilities it lacks.
fn user(facts: &HostFacts, wish: u32) -> Choice<u32> {
    match (wish, facts.capabilities.can_change_user()) {
        (0, _) => Choice::new(0, "jail.uid asks for it"),
        (uid, true) => Choice::new(uid, "not even files of root can be written"),
        (_, false) => Choice::new(
            0,
            "it stays root: another user takes CAP_CHOWN, CAP_SETGID and CAP_SETUID",
        ),
    }
}

fn bind(target: &'static str, until: Until, optional: bool, why: &'static str) -> JailMount {
    JailMount {
        target,
        source: Source::Host(PathBuf::from("/").join(target)),
        until,
        optional,
        why,
    }
}

fn always() -> Vec<JailMount> {
    let writable = |target, source, why| JailMount {
        target,
        source,
        until: Until::End,
        optional: false,
        why,
    };
    vec![
        writable("var/lib/waybill", Source::Itself, "spool and host id"),
        writable("run", Source::Itself, "lock and status of this run"),
        writable(
            "tmp",
            Source::Tmpfs,
            "temporary files of the spool's database",
        ),
        bind("dev/null", Until::End, false, "libraries open it"),
        bind("proc", Until::End, false, "names and cgroups of processes"),
        bind(
            "sys/devices/system/cpu",
            Until::End,
            true,
            "tables per CPU are sized by it",
        ),
    ]
}

fn for_loading(facts: &HostFacts, probes: bool) -> Vec<JailMount> {
    let mut mounts = Vec::new();
    if facts.btf.is_yes() {
        mounts.push(bind(
            "sys/kernel/btf",
            Until::Loaded,
            false,
            "layout of kernel structures",
        ));
    }
    if facts.tracefs.is_yes() {
        mounts.push(JailMount {
            target: "sys/kernel/tracing",
            source: Source::Tracefs { writable: probes },
            until: Until::Loaded,
            optional: !probes,
            why: match probes {
                true => "probes at kernel functions, and numbers of the tracepoints for accept",
                false => "numbers of the tracepoints for accept",
            },
        });
    }
    mounts
}

fn cgroup_tree(cgroup2: &Cgroup2) -> Option<JailMount> {
    let source = match cgroup2 {
        // Bound where it can be: a new mount sets the tree's options (nsdelegate and others) for
        // the whole host, apply_cgroup_root_flags() in the kernel.
        Cgroup2::Mounted { at } => Source::Host(at.clone()),
        Cgroup2::Mountable { options } => Source::Cgroup2(options.clone()),
        Cgroup2::Missing { .. } => return None,
    };
    Some(JailMount {
        target: "sys/fs/cgroup",
        source,
        until: Until::End,
        optional: false,
        why: "the scope, and names of cgroups",
    })
}

/// Capabilities kept after loading; which ones really help was tried on this host.
fn kept(facts: &HostFacts, variant: ConnectionVariant) -> Vec<(Capability, String)> {
    let mut kept: Vec<(Capability, String)> = Vec::new();
    let mut keep = |capabilities: &[Capability], why: &str| {
        // What was only assumed may not be there to be kept.
        let there = capabilities
            .iter()
            .filter(|one| facts.capabilities.has(**one));
        for capability in there {
            match kept.iter_mut().find(|(known, _)| known == capability) {
                Some((_, reasons)) => *reasons = format!("{reasons}; {why}"),
                None => kept.push((*capability, why.to_owned())),
            }
        }
    };
    if variant == ConnectionVariant::Sockets {
        keep(
            facts.sockets.least_for_descriptors.capabilities(),
            "find the processes that sockets belong to",
        );
    } else {
        keep(
            facts.least_for_maps.capabilities(),
            "read the tables of the programs",
        );
    }
    keep(
        facts.least_for_executables.capabilities(),
        "read paths of other processes' executables",
    );
    if variant == ConnectionVariant::RawTracepointAndSockops {
        keep(
            facts.least_for_query.capabilities(),
            "notice other sockops programs on the scope's cgroup",
        );
    }
    if variant.has_filters() {
        keep(
            facts.least_for_filters.capabilities(),
            "attach packet filters to devices that come later, and remove them at the end",
        );
    }
    kept
}
