//! What the agent may do: one system call per paragraph.

use std::fs::File;
use std::os::fd::RawFd;

use anyhow::{Context as _, Result, bail};
use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::sandbox::{Capabilities, to_caps};

/// Descriptors: programs, maps, links, one per CPU for a perf buffer, database, sockets.
const MAX_OPEN_FILES: u64 = 4096;

/// Closes every descriptor but the three standard ones: an inherited one could lead out of the jail
/// or keep a file system of the host busy. To be called before anything is opened.
///
/// # Errors
/// The list of descriptors cannot be read.
pub fn close_inherited() -> Result<()> {
    close_all_but(&[])
}

/// The same for what is open by now, except `keep`.
pub(super) fn close_all_but(keep: &[RawFd]) -> Result<()> {
    let names: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .context("list the open descriptors")?
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .parse::<RawFd>()
                .ok()
        })
        .collect();
    let others = names
        .into_iter()
        .filter(|one| *one > 2 && !keep.contains(one));
    for descriptor in others {
        // The one that read the list is among them and closed by now.
        nix::unistd::close(descriptor).ok();
    }
    Ok(())
}

/// Bounds what a fault could cost the host.
pub(super) fn limit_resources() -> Result<()> {
    // A core file would hold the fleet key.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbid core files")?;

    // Only downwards: raising would need a capability that is not there everywhere.
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)
        .context("read the limit of open files")?;
    let files = hard.min(MAX_OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, files, files).context("limit open files")
}

/// How readily the kernel takes this process when memory runs out; lowering it takes
/// `CAP_SYS_RESOURCE`, and who lacks it keeps what the service manager set.
pub(super) fn set_oom_score_adj(score: i32) -> Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .context("write /proc/self/oom_score_adj")
}

/// Becomes user and group `uid`, drops every capability but `keep`, for good, and reads back what is
/// left; 0 stays root.
pub(super) fn drop_all_but(keep: Capabilities, uid: u32) -> Result<Capabilities> {
    // Nothing that is ever executed can get back what is dropped below.
    prctl::set_no_new_privs().context("set no_new_privs")?;

    // Before the effective set, because it needs CAP_SETPCAP. What this kernel knows ends at its
    // cap_last_cap.
    let known = caps::runtime::procfs_all_supported(None).context("list the capabilities")?;
    for capability in known {
        caps::drop(None, CapSet::Bounding, capability)
            .with_context(|| format!("drop {capability} from the bounding set"))?;
    }

    // Kernels before 4.3 have no ambient set, so there is nothing to clear.
    if caps::runtime::ambient_set_supported().is_ok() {
        caps::clear(None, CapSet::Ambient).context("clear the ambient set")?;
    }

    caps::clear(None, CapSet::Inheritable).context("clear the inheritable set")?;

    if uid != 0 {
        become_user(uid)?;
    }

    // Effective before permitted, of which it must be a part.
    let kept = to_caps(keep);
    caps::set(None, CapSet::Effective, &kept).context("set the effective capabilities")?;

    caps::set(None, CapSet::Permitted, &kept).context("set the permitted capabilities")?;

    // Nor may another process of the same user attach to this one and read it. After the user,
    // because a change of it sets this anew.
    prctl::set_dumpable(false).context("forbid dumps")?;

    read_back(keep, uid)
}

/// Gives root up and keeps the permitted capabilities for the steps that follow.
fn become_user(uid: u32) -> Result<()> {
    prctl::set_keepcaps(true).context("keep capabilities over the change of user")?;

    // Groups first: they cannot be changed by who is not root any more.
    setgroups(&[]).context("leave all groups")?;

    let group = Gid::from_raw(uid);
    setresgid(group, group, group).with_context(|| format!("become group {uid}"))?;

    let user = Uid::from_raw(uid);
    setresuid(user, user, user).with_context(|| format!("become user {uid}"))?;

    prctl::set_keepcaps(false).context("keep no capabilities over a change of user")
}

/// Enters a cgroup namespace, with the threads that are started later; no process changes its cgroup.
///
/// # Errors
/// `CAP_SYS_ADMIN` is missing in the user namespace of the old or of the new one.
pub fn see_cgroups_of(file: &File) -> Result<()> {
    let cgroups = nix::sched::CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(file, cgroups).context("enter a cgroup namespace")
}

/// Old kernels drop unknown capabilities without an error, so only the kernel's word counts.
fn read_back(keep: Capabilities, uid: u32) -> Result<Capabilities> {
    let set = |name: &str| -> Result<Capabilities> {
        let line = format!("{name}:\t{}\n", status_field(name)?);
        Capabilities::from_status(&line, name).with_context(|| format!("read {name}"))
    };
    for name in ["CapInh", "CapBnd", "CapAmb"] {
        match set(name) {
            Ok(left) if left == Capabilities::default() => {}
            Ok(left) => bail!("{name} still holds {left}"),
            // Kernels before 4.3 have no such line.
            Err(_) if name == "CapAmb" => {}
            Err(error) => return Err(error),
        }
    }
    let (effective, permitted) = (set("CapEff")?, set("CapPrm")?);
    if effective != permitted {
        bail!("effective capabilities {effective} differ from permitted ones {permitted}");
    }
    if let Some(excess) = effective.iter().find(|capability| !keep.has(*capability)) {
        bail!("{excess} could not be dropped");
    }
    if !prctl::get_no_new_privs().context("read no_new_privs")? {
        bail!("no_new_privs is not set");
    }
    for name in ["Uid", "Gid"] {
        // Real, effective, saved, and that of files.
        let ids = status_field(name)?;
        if ids.split_whitespace().any(|id| id != uid.to_string()) {
            bail!("{name} is {ids} instead of {uid}");
        }
    }
    Ok(effective)
}

/// A file of this process below `/proc`, where links may not be followed any more.
pub(super) fn own_file(name: &str) -> Result<String> {
    let own = std::fs::read_link("/proc/self").context("read /proc/self")?;
    let path = std::path::Path::new("/proc").join(own).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// One field of this thread's `/proc/self/status`.
pub(super) fn status_field(name: &str) -> Result<String> {
    let status = own_file("status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .map(|value| value.trim().to_owned())
        .with_context(|| format!("{name} in /proc/self/status"))
}
