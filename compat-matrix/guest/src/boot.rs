//! What a distribution's init does before the first service: mounts, modules, names, loopback.

use std::ffi::CStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ::tests::lab::command;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Modules in the order in which they are loaded, one path below /modules per line.
const ORDER: &str = "/modules/order";

/// How the host side wants the cgroup trees, on the kernel's command line.
const CGROUP: &str = "waybill.cgroup=";

const NOTHING: Option<&str> = None;

/// Boots and returns what the kernel did not have.
///
/// # Errors
/// When something is missing without which nothing can be said at all.
pub(crate) fn boot() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    leave_ramdisk().context("make an ordinary root")?;
    required("proc", "/proc", "proc", None)?;
    required("sysfs", "/sys", "sysfs", None)?;
    devices(&mut problems);
    required("tmpfs", "/run", "tmpfs", Some("mode=0755"))?;
    // In memory like everything here, and of the same file system: labs link what they would copy.
    fs::create_dir_all("/tmp").context("make /tmp")?;
    fs::set_permissions("/tmp", Permissions::from_mode(0o1777)).context("open /tmp to all")?;
    let line = fs::read_to_string("/proc/cmdline").context("read the kernel's command line")?;
    cgroups(Layout::asked(&line), &mut problems);
    modules(&mut problems);
    for (kind, target) in [
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        optional(kind, target, kind, None, &mut problems);
    }
    // Kernels without security modules have none, and lack nothing by that.
    place("securityfs", "/sys/kernel/security", "securityfs", None).ok();
    nix::unistd::sethostname("matrix-guest").context("set the host name")?;
    let mut up = Command::new("ip");
    up.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let Err(error) = command::run(up.args(["link", "set", "lo", "up"])) {
        problems.push(format!("loopback: {error:#}"));
    }
    Ok(problems)
}

/// Puts a mount of its own over the initial ramdisk, which cannot be pivoted away from.
///
/// The agent's jail shall be made as on an ordinary host.
fn leave_ramdisk() -> Result<()> {
    fs::create_dir_all("/root.new")?;
    mount(Some("/"), "/root.new", NOTHING, MsFlags::MS_BIND, NOTHING).context("bind the root")?;
    nix::unistd::chdir("/root.new")?;
    mount(Some("."), "/", NOTHING, MsFlags::MS_MOVE, NOTHING).context("move the root")?;
    nix::unistd::chroot(".").context("enter the root")?;
    nix::unistd::chdir("/").context("enter the root")
}

fn place(source: &str, target: &str, kind: &str, options: Option<&str>) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("make {target}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // Devices are what the device file system is for; programs run from the temporary one.
    let flags = if kind == "devtmpfs" {
        MsFlags::MS_NOSUID
    } else {
        flags
    };
    match mount(Some(source), target, Some(kind), flags, options) {
        // Kernels mount some of these by themselves.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("mount {kind} at {target}")),
    }
}

fn required(source: &str, target: &str, kind: &str, options: Option<&str>) -> Result<()> {
    place(source, target, kind, options)
}

fn optional(
    source: &str,
    target: &str,
    kind: &str,
    options: Option<&str>,
    problems: &mut Vec<String>,
) {
    if let Err(error) = place(source, target, kind, options) {
        problems.push(format!("{error:#}"));
    }
}

/// Devices by the kernel, or the few that are needed by hand.
fn devices(problems: &mut Vec<String>) {
    if place("devtmpfs", "/dev", "devtmpfs", None).is_ok() {
        return;
    }
    problems.push("no devtmpfs".into());
    let nodes = [
        ("null", 1, 3, 0o666),
        ("zero", 1, 5, 0o666),
        ("random", 1, 8, 0o666),
        ("urandom", 1, 9, 0o666),
        ("ttyS0", 4, 64, 0o600),
        ("ttyS1", 4, 65, 0o600),
    ];
    for (name, major, minor, mode) in nodes {
        let path = Path::new("/dev").join(name);
        let made = mknod(
            &path,
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(mode),
            makedev(major, minor),
        );
        if !matches!(made, Ok(()) | Err(Errno::EEXIST)) {
            problems.push(format!("no {}", path.display()));
        }
    }
}

/// How the cgroup trees are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Controllers in version 1 trees, and a version 2 tree beside them.
    Hybrid,
    /// Nothing is mounted.
    None,
    /// Version 1 trees only.
    V1,
    /// One version 2 tree.
    V2,
}

impl Layout {
    /// As the command line says: ours, or what systemd understands; else version 2.
    fn asked(line: &str) -> Self {
        let own = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(CGROUP));
        match own {
            Some("v1") => Self::V1,
            Some("hybrid") => Self::Hybrid,
            Some("none") => Self::None,
            None if line.contains("systemd.unified_cgroup_hierarchy=0") => Self::Hybrid,
            Some(_) | None => Self::V2,
        }
    }
}

fn cgroups(layout: Layout, problems: &mut Vec<String>) {
    const TREE: &str = "/sys/fs/cgroup";
    // The kernel makes this place, and nobody else can.
    if !Path::new(TREE).exists() {
        problems.push("the kernel has no cgroups".into());
        return;
    }
    match layout {
        Layout::None => {}
        Layout::V2 => optional("cgroup2", TREE, "cgroup2", None, problems),
        Layout::Hybrid | Layout::V1 => {
            optional("tmpfs", TREE, "tmpfs", Some("mode=0755"), problems);
            let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
            for name in known.lines().filter(|line| !line.starts_with('#')) {
                let name = name.split_whitespace().next().unwrap_or_default();
                optional(
                    "cgroup",
                    &format!("{TREE}/{name}"),
                    "cgroup",
                    Some(name),
                    problems,
                );
            }
            if layout == Layout::Hybrid {
                optional(
                    "cgroup2",
                    &format!("{TREE}/unified"),
                    "cgroup2",
                    None,
                    problems,
                );
            }
        }
    }
}

/// Loads the modules; a kernel that has one built in has none to load.
fn modules(problems: &mut Vec<String>) {
    let Ok(order) = fs::read_to_string(ORDER) else {
        return;
    };
    for name in order.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let path = Path::new("/modules").join(name.trim_start_matches('/'));
        let loaded = File::open(&path)
            .map_err(anyhow::Error::from)
            .and_then(
                |file| match finit_module(&file, c"" as &CStr, ModuleInitFlags::empty()) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(error) => Err(error.into()),
                },
            );
        if let Err(error) = loaded {
            problems.push(format!("module {name}: {error:#}"));
        }
    }
    // What is loaded need not stay in memory as a file, too.
    fs::remove_dir_all("/modules").ok();
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn the_command_line_says_how_cgroups_are_arranged() {
        assert_eq!(Layout::asked("quiet"), Layout::V2);
        assert_eq!(Layout::asked("quiet waybill.cgroup=v1"), Layout::V1);
        assert_eq!(Layout::asked("waybill.cgroup=none x"), Layout::None);
        let systemd = "systemd.unified_cgroup_hierarchy=0";
        assert_eq!(Layout::asked(systemd), Layout::Hybrid);
    }
}
