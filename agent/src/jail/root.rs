//! What the agent sees: one system call per paragraph.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, pivot_root};

use crate::files;
use crate::plan::{JailMount, Source};
use crate::sandbox::{mount_tmpfs, mount_tracefs, private_mounts, read_only};

const NOTHING: Option<&str> = None;
/// Enough for a resolver's configuration and a long hosts file.
const MAX_NAME_FILE: u64 = 4 << 20;
/// `MS_NOSYMFOLLOW` in `linux/mount.h`, since 5.10; older kernels take no notice.
const NO_LINKS: u64 = 256;

/// How the root directory became the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The old root is not only out of sight but gone from the namespace.
    Pivoted,
    /// On hosts that run from their initial ramdisk, which cannot be pivoted away from.
    Chrooted,
}

impl How {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chrooted => "chroot",
            Self::Pivoted => "pivot_root",
        }
    }
}

/// The directory without symbolic links, after making sure that only root can change it.
pub(super) fn check(rootfs: &Path, mounts: &[JailMount], uid: u32) -> Result<PathBuf> {
    let rootfs = rootfs
        .canonicalize()
        .context("is not there; install or assemble it first")?;
    let metadata = fs::metadata(&rootfs)?;
    if !metadata.is_dir() {
        bail!("is not a directory");
    }
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        bail!("must belong to root and be writable by nobody else");
    }
    // Who may rename a directory above it decides what the agent is started in.
    for parent in rootfs.ancestors().skip(1) {
        if !is_held_by_root(&fs::metadata(parent)?) {
            bail!(
                "{} above it must belong to root and be writable by nobody else",
                parent.display()
            );
        }
    }
    for mount in mounts {
        let target = rootfs.join(mount.target);
        let between = target.ancestors().skip(1);
        for parent in between.take_while(|parent| *parent != rootfs) {
            let metadata = fs::symlink_metadata(parent);
            // What is missing is said below, by the name of what it is for.
            if metadata.is_ok_and(|one| !one.is_dir() || !is_held_by_root(&one)) {
                bail!(
                    "{} must be a directory of root, writable by nobody else",
                    parent.display()
                );
            }
        }
        let metadata = fs::symlink_metadata(&target).with_context(|| {
            format!(
                "lacks {}; install or assemble it again ({})",
                mount.target, mount.why
            )
        })?;
        let owner = metadata.uid();
        let ours = owner == 0 || (owner == uid && mount.source == Source::Itself);
        if metadata.is_symlink() || !ours {
            bail!(
                "{} must be a directory or file of root, not a link nor of user {owner}",
                mount.target
            );
        }
    }
    Ok(rootfs)
}

/// Whether only root can put something else in the place of what root has in this directory: others
/// may make files of their own in one with the sticky bit.
fn is_held_by_root(metadata: &fs::Metadata) -> bool {
    let mode = metadata.mode();
    metadata.uid() == 0 && (mode & 0o022 == 0 || mode & 0o1000 != 0)
}

/// Copies the host's resolver configuration and hosts file, as the agent will not see theirs; true
/// when one of them differs from the copy that was there.
///
/// # Errors
/// A file cannot be read, or its copy not be written.
pub fn refresh_name_files(rootfs: &Path) -> Result<bool> {
    let mut changed = false;
    for name in ["resolv.conf", "hosts"] {
        let mut text = Vec::new();
        // A host without the file has no names in it: the jail's then says the same.
        if let Ok(file) = files::open(&Path::new("/etc").join(name)) {
            file.take(MAX_NAME_FILE)
                .read_to_end(&mut text)
                .with_context(|| format!("read /etc/{name}"))?;
        }
        let target = rootfs.join("etc").join(name);
        if fs::read(&target).is_ok_and(|old| old == text) {
            continue;
        }
        let fresh = rootfs.join("etc").join(format!(".{name}.new"));
        let copy = || -> std::io::Result<()> {
            let mut file = fs::File::create(&fresh)?;
            file.write_all(&text)?;
            // Whatever the umask is: the running agent is another user than who copies.
            files::set_mode(&file, files::READABLE)?;
            fs::rename(&fresh, &target)
        };
        copy().with_context(|| format!("copy /etc/{name} to {}", target.display()))?;
        changed = true;
    }
    Ok(changed)
}

/// Builds the agent's view in a private mount namespace; returns what was mounted, and what was
/// optional and failed.
pub(super) fn mount_all(
    rootfs: &Path,
    mounts: &[JailMount],
) -> Result<(Vec<JailMount>, Vec<String>)> {
    private_mounts()?;

    // What stays writable may be a file system of its own, which the bind below would hide.
    let own = mounts.iter().map(|one| {
        let itself = one.source == Source::Itself;
        itself.then(|| hold(&rootfs.join(one.target))).transpose()
    });
    let own = own.collect::<Result<Vec<_>>>()?;

    // A mount point of its own can be pivoted to and made read-only.
    mount(Some(rootfs), rootfs, NOTHING, MsFlags::MS_BIND, NOTHING)
        .context("bind the root directory onto itself")?;

    let (mut mounted, mut left_out) = (Vec::new(), Vec::new());
    for (one, own) in mounts.iter().zip(&own) {
        let target = rootfs.join(one.target);
        let done = match own {
            Some(own) => place_itself(own, &target),
            None => place(&one.source, &target),
        };
        match done.with_context(|| format!("mount {} ({})", one.target, one.why)) {
            Ok(()) => mounted.push(one.clone()),
            Err(error) if one.optional => left_out.push(format!("{}: {error:#}", one.target)),
            Err(error) => return Err(error),
        }
    }

    // Last, because writable directories are bound from it.
    read_only(
        rootfs,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
    )
    .context("make the root directory read-only")?;
    Ok((mounted, left_out))
}

/// A handle on a directory, whatever is mounted over its path later.
fn hold(path: &Path) -> Result<fs::File> {
    let flags = nix::libc::O_PATH | nix::libc::O_NOFOLLOW | nix::libc::O_DIRECTORY;
    let mut options = fs::File::options();
    let opened = options.read(true).custom_flags(flags).open(path);
    opened.with_context(|| format!("open {}", path.display()))
}

/// Makes a directory writable within what becomes read-only around it.
fn place_itself(own: &fs::File, target: &Path) -> nix::Result<()> {
    let from = format!("/proc/self/fd/{}", own.as_raw_fd());
    let source = Some(Path::new(&from));
    mount(source, target, NOTHING, MsFlags::MS_BIND, NOTHING)?;
    let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | inert;
    mount(NOTHING, target, NOTHING, flags, NOTHING)
}

fn place(source: &Source, target: &Path) -> nix::Result<()> {
    let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match source {
        Source::Cgroup2(options) => {
            let options = Some(options.as_str());
            mount(Some("cgroup2"), target, Some("cgroup2"), inert, options)?;
            read_only(target, inert)
        }
        Source::Host(path) => {
            mount(
                Some(path.as_path()),
                target,
                NOTHING,
                MsFlags::MS_BIND,
                NOTHING,
            )?;
            // Devices must stay usable where a device is what was asked for.
            let device = path.starts_with("/dev");
            read_only(
                target,
                if device {
                    inert - MsFlags::MS_NODEV
                } else {
                    inert
                },
            )
        }
        // Bound by its handle.
        Source::Itself => Ok(()),
        Source::Tmpfs => mount_tmpfs(target),
        Source::Tracefs { writable } => mount_tracefs(target, *writable),
    }
}

/// Makes `rootfs` the root and lets go of the old one.
pub(super) fn make_root(rootfs: &Path) -> Result<How> {
    chdir(rootfs).context("change into the root directory")?;

    // The old root ends up mounted over the new one at "/" ...
    let how = match pivot_root(".", ".") {
        Ok(()) => How::Pivoted,
        // ... except where the old one is the initial ramdisk or no mount of its own.
        Err(Errno::EINVAL) => How::Chrooted,
        Err(errno) => return Err(errno).context("make the root directory the root"),
    };

    if how == How::Pivoted {
        // ... from where it is taken away: file systems that the host unmounts later are not kept
        // busy by this namespace, and there is no way back.
        umount2(".", MntFlags::MNT_DETACH).context("let go of the old root")?;
    } else {
        chroot(".").context("change the root directory")?;
    }

    chdir("/").context("change to the new root")?;
    Ok(how)
}

/// Gives what is writable to `uid` alone, with everything in it, as an earlier run may have been
/// another user, had another umask, or been an older version. Links are not followed, and modes are
/// set by descriptor: who was here before may have been taken over.
pub(super) fn give(mounts: &[JailMount], uid: u32) -> Result<()> {
    let writable = |source: &Source| matches!(source, Source::Itself | Source::Tmpfs);
    let tops = mounts.iter().filter(|mount| writable(&mount.source));
    // The manifest lets others look into some of these.
    let mut left: Vec<(PathBuf, bool)> = tops
        .map(|mount| (Path::new("/").join(mount.target), true))
        .collect();
    while let Some((path, is_top)) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let mode = match (is_top, metadata.is_dir()) {
            (true, _) => metadata.mode() & 0o755,
            (false, true) => files::PRIVATE_DIRECTORY,
            (false, false) => files::PRIVATE,
        };
        let done = set_mode(&path, &metadata, mode).and_then(|()| own(&path, &metadata, uid));
        match done {
            // Who is to write there will say what that means.
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                let path = path.display().to_string();
                log::warn!(path = path.as_str(), error:% = error; "owner and mode not changed");
            }
            given => given.with_context(|| format!("give {} to user {uid}", path.display()))?,
        }
        if metadata.is_dir() {
            let entries =
                fs::read_dir(&path).with_context(|| format!("list {}", path.display()))?;
            left.extend(entries.flatten().map(|entry| (entry.path(), false)));
        }
    }
    Ok(())
}

fn own(path: &Path, metadata: &fs::Metadata, uid: u32) -> std::io::Result<()> {
    match (metadata.uid(), metadata.gid()) == (uid, uid) {
        true => Ok(()),
        false => lchown(path, Some(uid), Some(uid)),
    }
}

/// Links have no mode, and what is neither file nor directory is no business of the agent's.
fn set_mode(path: &Path, metadata: &fs::Metadata, mode: u32) -> std::io::Result<()> {
    let flags = match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => nix::libc::O_DIRECTORY,
        (_, true) => nix::libc::O_NONBLOCK,
        _ => return Ok(()),
    };
    let mut options = fs::File::options();
    let options = options
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | flags);
    files::set_mode(&options.open(path)?, mode)
}

/// Lets no link below `target` be followed from here on; reading where it points stays possible.
///
/// `/proc/<pid>/root`, `cwd` and `fd` are links that lead out of the jail for whoever may look into
/// that process. Not from the beginning: loading programs follows some.
pub(super) fn forbid_links(target: &Path) -> Result<()> {
    let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    read_only(target, inert | MsFlags::from_bits_retain(NO_LINKS))
        .with_context(|| format!("forbid links below {}", target.display()))
}

/// Takes a mount away; open files in it stay usable.
pub(super) fn unmount(target: &Path) -> Result<()> {
    umount2(target, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", target.display()))
}
