//! What every guest gets, whatever its kernel: init, the shipped agent, programs, tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use rootfs::Manifest;

use crate::bundle::Bundle;
use crate::initramfs::Initramfs;
use crate::kernel::Bootable;
use crate::matrix::Payload;

/// Names under which `xtables-legacy-multi` is started.
const XTABLES: &str = "usr/sbin/xtables-legacy-multi";

/// Links of a merged file system, as distributions have it.
const MERGED: [(&str, &str); 4] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// Files that resolvers and tools open and that must not be the host's.
const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/false\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/resolv.conf", ""),
];

/// Puts together what is the same for all kernels.
///
/// `programs` are the folders of built binaries, the first that has one counts; `scratch` is used while this runs.
///
/// # Errors
/// When a program is not built, or a file cannot be read.
pub fn shared(
    payload: &Payload,
    programs: &[PathBuf],
    tools: &Bundle,
    scratch: &Path,
) -> Result<Initramfs> {
    let mut system = Initramfs::default();
    for (link, target) in MERGED {
        system.symlink(link, target);
    }
    for (folder, mode) in [
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
    ] {
        system.directory(folder, mode);
    }
    // The kernel opens it for the first process, before anything is mounted.
    system.device("dev/console", 0o600, 5, 1);
    for (path, text) in FILES {
        system.file(path, 0o644, text.as_bytes().to_vec());
    }
    system.file("init", 0o755, program(programs, &payload.programs.guest)?);
    for name in &payload.programs.carried {
        system.file(
            &format!("payload/bin/{name}"),
            0o755,
            program(programs, name)?,
        );
    }
    agent(&mut system, payload, programs, scratch)?;
    add_tools(&mut system, payload, tools)?;
    Ok(system)
}

/// The folder that has a program.
fn folder<'a>(folders: &'a [PathBuf], name: &str) -> Result<&'a Path> {
    let found = folders.iter().find(|folder| folder.join(name).exists());
    found.map(PathBuf::as_path).with_context(|| {
        let folders: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
        format!(
            "{name} is not in {}: build it first, or name its folder with --programs",
            folders.join(" or ")
        )
    })
}

fn program(folders: &[PathBuf], name: &str) -> Result<Vec<u8>> {
    let path = folder(folders, name)?.join(name);
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// The root directory as it is shipped, and the agent in it among the programs.
fn agent(
    system: &mut Initramfs,
    payload: &Payload,
    programs: &[PathBuf],
    scratch: &Path,
) -> Result<()> {
    let jail = scratch.join("rootfs");
    if jail.exists() {
        fs::remove_dir_all(&jail)?;
    }
    let name = &payload.programs.agent;
    let programs = folder(programs, name)?;
    let manifest = Manifest::current()?;
    rootfs::assemble(&manifest, programs, &jail, SystemTime::UNIX_EPOCH)?;
    system.tree(&jail, "payload/rootfs")?;
    // One copy, in a guest whose files all are in memory.
    system.symlink(
        &format!("payload/bin/{name}"),
        &format!("/payload/rootfs/usr/bin/{name}"),
    );
    fs::remove_dir_all(&jail)?;
    Ok(())
}

fn add_tools(system: &mut Initramfs, payload: &Payload, tools: &Bundle) -> Result<()> {
    let mut files = Vec::new();
    for path in &payload.tools.programs {
        let Some(file) = tools.file(path) else {
            continue;
        };
        let name = Path::new(path).file_name().context("a tool has a name")?;
        let to = format!("usr/sbin/{}", name.to_string_lossy());
        system.file(&to, 0o755, fs::read(&file)?);
        files.push(file);
    }
    if system.has(XTABLES) {
        for family in ["iptables", "ip6tables"] {
            for form in ["", "-save", "-restore"] {
                for legacy in ["", "-legacy"] {
                    let link = format!("usr/sbin/{family}{legacy}{form}");
                    system.symlink(&link, "xtables-legacy-multi");
                }
            }
        }
    }
    for folder in &payload.tools.folders {
        let Ok(entries) = fs::read_dir(tools.root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if let Some(file) = tools.file(&path) {
                system.file(&path, 0o644, fs::read(&file)?);
                files.push(file);
            }
        }
    }
    for (name, file) in tools.libraries(&files)? {
        let folder = if name.starts_with("ld-linux") {
            "usr/lib64"
        } else {
            "usr/lib/x86_64-linux-gnu"
        };
        system.file(&format!("{folder}/{name}"), 0o755, fs::read(&file)?);
    }
    Ok(())
}

/// What one guest gets besides: its kernel's modules and what it shall do.
///
/// # Errors
/// When a module cannot be read.
pub fn own(kernel: &Bootable, order: &str) -> Result<Initramfs> {
    let mut system = Initramfs::default();
    for entry in fs::read_dir(&kernel.modules)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().context("a module has a name")?;
        let name = name.to_string_lossy();
        system.file(&format!("modules/{name}"), 0o644, fs::read(&path)?);
    }
    system.file("payload/guest.json", 0o644, order.as_bytes().to_vec());
    Ok(system)
}
/// Installs BTF packs with the agent: all files of a folder and of those in it.
///
/// # Errors
/// When there is none.
pub fn add_packs(system: &mut Initramfs, folder: &Path) -> Result<()> {
    let arch = std::env::consts::ARCH;
    let place = format!("payload/rootfs/usr/share/waybill/btf/{arch}");
    system.directory(&place, 0o755);
    let mut packs = 0;
    for below in [folder.join(arch), folder.to_owned()] {
        for entry in fs::read_dir(below).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".btf.zst") {
                system.file(&format!("{place}/{name}"), 0o644, fs::read(entry.path())?);
                packs += 1;
            }
        }
    }
    ensure!(
        packs > 0,
        "no BTF pack is in {0}: `cargo xtask btf --from VMLINUX --out {0}` makes one",
        folder.display()
    );
    Ok(())
}
