//! What the jail must leave: the least that the chosen programs work with.

use std::path::PathBuf;

use super::{Choice, HelperNeeds, JailMount, JailNeeds, Source, Transport, Until, seccomp};
use crate::config::Config;
use crate::host::{Cgroup2, HostFacts, Least, probe};
use crate::sandbox::Capability;

/// What runs, or is to run: capabilities and system calls follow from this alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Programs follow connections, and their records come by this.
    pub programs: Option<Transport>,
    /// Packet filters carry the option.
    pub filters: bool,
    /// Packet and diagnostic sockets follow connections in place of programs.
    pub sockets: bool,
    /// Diagnostic sockets are asked beside the programs.
    pub lists: bool,
    /// Connection tracking is listened to.
    pub tracking: bool,
}

/// Mounts, capabilities and system calls for what is to run on this host; `probes` says what the
/// programs hang on.
pub(super) fn decide(facts: &HostFacts, config: &Config, uses: &Uses, probes: bool) -> JailNeeds {
    let mut mounts = always();
    if uses.programs.is_some() {
        mounts.extend(for_loading(facts, probes));
    }
    mounts.extend(cgroup_tree(&facts.cgroup2));
    let mut needs = JailNeeds {
        capabilities: Vec::new(),
        mounts,
        user: user(facts, config.jail.uid),
        seccomp: seccomp::decide(facts, config, uses),
        keeper: None,
        reader: reader(facts, config),
    };
    needs.settle(facts, config, uses);
    needs
}

impl JailNeeds {
    /// Capabilities and system calls for what runs; what is mounted stays as it is.
    pub(super) fn settle(&mut self, facts: &HostFacts, config: &Config, uses: &Uses) {
        self.capabilities = kept(facts, uses);
        self.seccomp = seccomp::decide(facts, config, uses);
        self.keeper = uses.filters.then(|| HelperNeeds {
            capabilities: keep(
                facts,
                &[(
                    &facts.least_for_filters,
                    "attach packet filters to devices that come later, and remove them at the end",
                )],
            ),
            user: self.user.value,
            seccomp: seccomp::for_keeper(facts, config),
        });
    }
}

/// It is root, as whom the files can be read and the jail's copies be written: it is reached by
/// nobody, and understands nothing of what it reads.
fn reader(facts: &HostFacts, config: &Config) -> HelperNeeds {
    let why = "read certificates, tokens and keys again that belong to another user";
    HelperNeeds {
        capabilities: Some(Capability::DAC_READ_SEARCH)
            .filter(|one| facts.capabilities.has(*one))
            .map(|one| (one, why.to_owned()))
            .into_iter()
            .collect(),
        user: 0,
        seccomp: seccomp::for_reader(facts, config),
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
    if facts.accept_probe.is_yes() && !probes {
        mounts.push(bind(
            probe::EVENTS,
            Until::Loaded,
            true,
            "number of the events that probes are",
        ));
    }
    if facts.tracefs.is_yes() && probes {
        mounts.push(JailMount {
            target: "sys/kernel/tracing",
            source: Source::Tracefs { writable: true },
            until: Until::Loaded,
            optional: false,
            why: "probes at kernel functions",
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
fn kept(facts: &HostFacts, uses: &Uses) -> Vec<(Capability, String)> {
    let mut wanted: Vec<(&Least, &str)> = Vec::new();
    if uses.programs.is_some() {
        wanted.push((&facts.least_for_maps, "read the tables of the programs"));
    }
    if uses.sockets {
        wanted.push((
            &facts.sockets.least_for_descriptors,
            "find the processes that sockets belong to",
        ));
    }
    if uses.programs.is_some() || uses.sockets {
        wanted.push((
            &facts.least_for_executables,
            "read paths of other processes' executables",
        ));
    }
    keep(facts, &wanted)
}

/// Each capability once, with everything that it is for.
fn keep(facts: &HostFacts, wanted: &[(&Least, &str)]) -> Vec<(Capability, String)> {
    let mut kept: Vec<(Capability, String)> = Vec::new();
    for (least, why) in wanted {
        // What was only assumed may not be there to be kept.
        let there = least.capabilities().iter();
        for capability in there.filter(|one| facts.capabilities.has(**one)) {
            match kept.iter_mut().find(|(known, _)| known == capability) {
                Some((_, reasons)) => *reasons = format!("{reasons}; {why}"),
                None => kept.push((*capability, (*why).to_owned())),
            }
        }
    }
    kept
}
