//! The file system of a release in which packages are installed, and what changes in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::host::Host;
use tests::lab::process::Running;
use tests::lab::wait::wait_until;

/// How long one package tool may take on a busy machine.
const TOOL: Duration = Duration::from_secs(120);

/// What package managers write about themselves; the rest of a file system must not change.
const BOOKS: [&str; 16] = [
    "proc",
    "sys",
    "dev",
    "var/lib/dpkg",
    "var/lib/rpm",
    "var/lib/rpm-lab",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/cache",
    // Kept by useradd and userdel.
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/.pwd.lock",
    "var/log/faillog",
    "var/log/lastlog",
];

/// Paths below a root directory, each with what would tell a change.
pub(crate) type Files = BTreeMap<PathBuf, String>;

/// A file system with its own mounts, kept by a process that does nothing.
pub(crate) struct Root<'a> {
    pub(crate) host: &'a Host,
    lab: &'a Lab,
    holder: Running,
}

impl<'a> Root<'a> {
    /// Lays a file system of its own over `release`.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub(crate) fn open(lab: &'a Lab, host: &'a Host, release: &Path) -> Result<Self> {
        let mut hold = host.command_in_userland(release, "/bin/sleep");
        hold.arg("100000");
        let mut root = Self {
            host,
            lab,
            holder: host.start("holder", hold)?,
        };
        let place = root.place();
        wait_until(TOOL, "the file system of the release", || {
            ensure!(root.holder.ended()?.is_none(), "{}", root.holder.errors()?);
            // Entered when its root directory is the mounted one.
            let own = fs::read_link(format!("/proc/{}/root", root.pid()));
            Ok(own.is_ok_and(|own| own == place).then_some(()))
        })?;
        Ok(root)
    }

    /// Debian starts nothing in a file system without a running init, unless it is told that it may.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn let_services_start(&self) -> Result<()> {
        self.program("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n")
    }

    /// Writes a script that can be executed.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn program(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn pid(&self) -> i32 {
        self.holder.pid().as_raw()
    }

    /// Where it is mounted, for those who see its mounts from outside.
    pub(crate) fn place(&self) -> PathBuf {
        self.host.userland_changes().with_extension("root")
    }

    /// A path of it as this process sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(path)
    }

    /// Runs a program of the release in it, and returns what it said.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub(crate) fn run(&self, line: &[&str]) -> Result<String> {
        self.finish(true, line)
    }

    /// Runs a program of this machine that sees it at [`Root::place`].
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub(crate) fn run_outside(&self, line: &[&str]) -> Result<String> {
        self.finish(false, line)
    }

    fn finish(&self, inside: bool, line: &[&str]) -> Result<String> {
        let (success, said) = self.attempt(inside, line)?;
        ensure!(success, "{}: failed: {said}", line.join(" "));
        Ok(said)
    }

    /// Runs a program under the strictest umask that anybody has: whether it succeeded, and what it
    /// said.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub(crate) fn attempt(&self, inside: bool, line: &[&str]) -> Result<(bool, String)> {
        let mut command = self.host.command_joining(self.pid(), inside);
        command.args(["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
        command.args(line).env("DEBIAN_FRONTEND", "noninteractive");
        let label = Path::new(line[0]).file_name().unwrap_or_default();
        // To files, not by pipes: a service that was started must not hold them.
        let mut running = self.host.start(&label.to_string_lossy(), command)?;
        let status = running.wait(TOOL)?;
        let said = running.output()? + &running.errors()?;
        Ok((status.success(), said))
    }

    /// Permission bits of a path.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn mode(&self, path: &str) -> Result<u32> {
        let metadata = self.path(path).symlink_metadata();
        Ok(metadata.with_context(|| path.to_owned())?.mode() & 0o7777)
    }

    /// Everything that is there but [`BOOKS`] and the lab's own files.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn files(&self) -> Result<Files> {
        let top = self.path("");
        let lab = self.lab.directory().strip_prefix("/")?.to_owned();
        let mut files = Files::new();
        let mut left = vec![PathBuf::new()];
        while let Some(folder) = left.pop() {
            let entries = top.join(&folder).read_dir();
            let entries = entries.with_context(|| format!("list {}", folder.display()))?;
            for entry in entries {
                let path = folder.join(entry?.file_name());
                if path == lab || BOOKS.iter().any(|book| path == Path::new(book)) {
                    continue;
                }
                let full = top.join(&path);
                let metadata = full.symlink_metadata()?;
                let mut shown = format!(
                    "{:o} {}:{}",
                    metadata.mode(),
                    metadata.uid(),
                    metadata.gid()
                );
                if metadata.is_dir() {
                    left.push(path.clone());
                } else if metadata.is_symlink() {
                    shown += &format!(" to {}", full.read_link()?.display());
                } else if path.starts_with("etc") {
                    shown += &format!(" {:?}", String::from_utf8_lossy(&fs::read(&full)?));
                } else {
                    shown += &format!(" {} bytes", metadata.len());
                }
                files.insert(path, shown);
            }
        }
        Ok(files)
    }

    /// What is mounted there, without ids that change.
    ///
    /// # Errors
    /// When the holder is gone.
    pub(crate) fn mounts(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.pid()))?;
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').skip(3).take(2).collect();
            words.join(" ")
        };
        Ok(text.lines().map(line).collect())
    }
}

/// Paths that differ between two looks, each with what it was and is.
///
/// dpkg takes an empty `/opt` away with the last package that had something in it, as from every
/// package there; that is not counted.
pub(crate) fn changes(before: &Files, after: &Files) -> Vec<String> {
    let gone = before
        .iter()
        .filter(|(path, _)| !after.contains_key(*path) && *path != Path::new("opt"));
    let mut found: Vec<String> = gone
        .map(|(path, _)| format!("gone: {}", path.display()))
        .collect();
    for (path, now) in after {
        match before.get(path) {
            None => found.push(format!("new: {} {now}", path.display())),
            Some(old) if old != now => {
                found.push(format!("changed: {}: {old} -> {now}", path.display()));
            }
            Some(_) => {}
        }
    }
    found
}
