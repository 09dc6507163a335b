//! What all families need together, beside what every agent needs.

use super::choice::Choice;
use super::decision::Needs;
use super::jail::{HelperNeeds, JailMount, JailNeeds, Source, Until};
use super::seccomp;
use crate::config::Config;
use crate::host::{Cgroup2, HostFacts};
use crate::sandbox::Capability;

impl JailNeeds {
    /// Mounts, capabilities and system calls for the families of which each has these needs.
    pub(crate) fn decide(facts: &HostFacts, config: &Config, families: &[Needs]) -> Self {
        let mut mounts = always();
        for mount in families.iter().flat_map(|needs| &needs.mounts) {
            if mounts.iter().all(|other| other.target != mount.target) {
                mounts.push(mount.clone());
            }
        }
        mounts.extend(cgroup_tree(&facts.cgroup2));
        let mut jail = Self {
            capabilities: Vec::new(),
            mounts,
            user: user(facts, config.jail.uid),
            seccomp: seccomp::decide(facts, config, []),
            keeper: None,
            reader: reader(facts, config),
        };
        jail.settle(facts, config, families);
        jail
    }

    /// Capabilities and system calls for what runs; what is mounted stays as it is.
    pub(crate) fn settle(&mut self, facts: &HostFacts, config: &Config, families: &[Needs]) {
        self.capabilities = keep(facts, families.iter().flat_map(|one| &one.capabilities));
        let callers = families.iter().flat_map(|one| &one.callers);
        self.seccomp = seccomp::decide(facts, config, callers);
        let keeper = families.iter().find_map(|one| one.keeper.as_ref());
        self.keeper = keeper.map(|wanted| HelperNeeds {
            capabilities: keep(facts, wanted),
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
        capabilities: keep(facts, &[(Capability::DAC_READ_SEARCH, why.to_owned())]),
        user: 0,
        seccomp: seccomp::for_reader(facts, config),
    }
}

/// Root could write the files of root that it reaches, whatever capabilities it lacks.
fn user(facts: &HostFacts, setting: u32) -> Choice<u32> {
    match (setting, facts.capabilities.can_change_user()) {
        (0, _) => Choice::new(0, "jail.uid asks for it"),
        (uid, true) => Choice::new(uid, "not even files of root can be written"),
        (_, false) => Choice::new(
            0,
            "it stays root: another user takes CAP_CHOWN, CAP_SETGID and CAP_SETUID",
        ),
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
        JailMount::bind("dev/null", Until::End, false, "libraries open it"),
        JailMount::bind("proc", Until::End, false, "names and cgroups of processes"),
        JailMount::bind(
            "sys/devices/system/cpu",
            Until::End,
            true,
            "tables per CPU are sized by it",
        ),
    ]
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

/// Each capability once, with everything that it is for.
fn keep<'n>(
    facts: &HostFacts,
    wanted: impl IntoIterator<Item = &'n (Capability, String)>,
) -> Vec<(Capability, String)> {
    let mut kept: Vec<(Capability, String)> = Vec::new();
    // What was only assumed may not be there to be kept.
    let wanted = wanted.into_iter();
    for (capability, why) in wanted.filter(|(one, _)| facts.capabilities.has(*one)) {
        match kept.iter_mut().find(|(known, _)| known == capability) {
            Some((_, reasons)) => *reasons = format!("{reasons}; {why}"),
            None => kept.push((*capability, why.clone())),
        }
    }
    kept
}
