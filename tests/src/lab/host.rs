//! A host of a lab: a network namespace and a cgroup in which programs run.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::command;
use super::netns;
use super::process::Running;
use crate::program::MARKER;

/// How long a short tool or a short transfer may take on a busy machine.
pub const TOOL_DEADLINE: Duration = Duration::from_secs(60);

/// A host; a cheap handle whose namespace and cgroup belong to the lab.
#[derive(Clone, Debug)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    netns: String,
    /// Directory of the cgroup whose processes are this host's.
    cgroup: PathBuf,
    /// Directory of the cgroup for the agent, which must not measure itself.
    agents: PathBuf,
    directory: PathBuf,
    launcher: PathBuf,
    programs: AtomicU32,
    one_cpu: AtomicBool,
    userland: OnceLock<PathBuf>,
    hidden: OnceLock<Vec<PathBuf>>,
    /// What is taken away from what runs beside this host.
    hindrances: OnceLock<Vec<String>>,
}

/// Where a host's parts are; made by the lab.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) netns: String,
    pub(super) cgroup: PathBuf,
    pub(super) agents: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) launcher: PathBuf,
}

impl Host {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            name,
            netns,
            cgroup,
            agents,
            directory,
            launcher,
        } = parts;
        let programs = AtomicU32::new(1);
        let one_cpu = AtomicBool::new(false);
        Self(Arc::new(Inner {
            name,
            netns,
            cgroup,
            agents,
            directory,
            launcher,
            programs,
            one_cpu,
            userland: OnceLock::new(),
            hidden: OnceLock::new(),
            hindrances: OnceLock::new(),
        }))
    }

    /// The host's name, which its agent also reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Name of its network namespace.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.0.netns
    }

    /// Directory of its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.0.cgroup
    }

    /// Directory for its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The binary that carries the lab's own programs.
    #[must_use]
    pub fn launcher(&self) -> &Path {
        &self.0.launcher
    }

    /// A command that runs `program` in this host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_in(&self.0.cgroup, program.as_ref())
    }

    /// A command that runs `program` in this host's network but outside its measured cgroup.
    #[must_use]
    pub fn command_beside(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        if let Some(less) = self.0.hindrances.get() {
            let mut command = self.command_in(&self.0.agents, self.0.launcher.as_os_str());
            command.args([MARKER, "without", "--scratch"]);
            command.arg(&self.0.directory).args(less);
            command.arg("--").arg(program);
            return command;
        }
        match self.0.userland.get() {
            Some(root) => self.command_in_userland(root, program),
            None => self.command_in(&self.0.agents, program),
        }
    }

    /// A command that runs beside this host, with `root` as its file system; what it changes goes to
    /// [`Host::userland_changes`].
    #[must_use]
    pub fn command_in_userland(&self, root: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command_in(&self.0.agents, self.0.launcher.as_os_str());
        command.args([MARKER, "userland", "--root"]).arg(root);
        command.arg("--upper").arg(self.userland_changes());
        command.arg("--keep").arg(self.directory_of_lab());
        command.arg("--").arg(program.as_ref());
        command
    }

    /// A command that runs beside this host and sees the mounts of process `holder`; with `inside`
    /// also its root directory.
    #[must_use]
    pub fn command_joining(&self, holder: i32, inside: bool) -> Command {
        let mut command = self.command_in(&self.0.agents, OsStr::new("nsenter"));
        command.args(["--mount", "--target", &holder.to_string()]);
        if inside {
            command.args(["--root", "--wd"]);
        }
        command.arg("--");
        command
    }

    /// Makes these directories look empty to what runs beside this host from now on; once.
    pub fn hide(&self, folders: &[&Path]) {
        let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
        self.0.hidden.get_or_init(|| folders);
    }

    /// Takes abilities away from what runs beside this host from now on, by options of the lab's
    /// program `without`; once.
    pub fn hinder(&self, less: &[&str]) {
        let less = less.iter().map(ToString::to_string).collect();
        self.0.hindrances.get_or_init(|| less);
    }

    /// Makes what runs beside this host see `root` as its file system from now on, and the lab's
    /// directory in it; `root` itself is not changed.
    pub fn use_userland(&self, root: &Path) {
        self.0.userland.get_or_init(|| root.to_owned());
    }

    /// Directory with what was changed in the userland.
    #[must_use]
    pub fn userland_changes(&self) -> PathBuf {
        self.0.directory.join("userland")
    }

    /// Everything that programs of the lab are given or write.
    fn directory_of_lab(&self) -> &Path {
        let own = self.0.directory.as_path();
        own.parent().unwrap_or(own)
    }

    /// Makes everything started from now on run on the first processor.
    ///
    /// Packets then never overtake each other: a veth hands them on through a queue per processor.
    pub fn use_one_cpu(&self) {
        self.0.one_cpu.store(true, Ordering::Relaxed);
    }

    fn command_in(&self, cgroup: &Path, program: &OsStr) -> Command {
        let mut command = Command::new(&self.0.launcher);
        command.args([MARKER, "exec", "--netns", &self.0.netns, "--cgroup"]);
        command.arg(cgroup);
        if cgroup == self.0.agents {
            for folder in self.0.hidden.get().into_iter().flatten() {
                command.arg("--hide").arg(folder);
            }
        }
        if self.0.one_cpu.load(Ordering::Relaxed) {
            command.args(["--cpu", "0"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// A command that runs one of the lab's own programs (`serve`, `connect`, `talk`) here.
    #[must_use]
    pub fn lab_program(&self, verb: &str) -> Command {
        let mut command = self.command(&self.0.launcher);
        command.args([MARKER, verb]);
        command
    }

    /// A fresh path, without extension, for the files of one program.
    #[must_use]
    pub fn stem(&self, label: &str) -> PathBuf {
        let number = self.0.programs.fetch_add(1, Ordering::Relaxed);
        self.0.directory.join(format!("{number}-{label}"))
    }

    /// Starts a command made by [`Host::command`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, label: &str, command: Command) -> Result<Running> {
        Running::start(command, &self.stem(label))
    }

    /// Runs `program` here to its end and returns its standard output.
    ///
    /// # Errors
    /// When it fails or takes longer than [`TOOL_DEADLINE`].
    pub fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        let label = Path::new(program)
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or("program");
        self.start(label, command)?.succeed(TOOL_DEADLINE)
    }

    /// Runs a `connect` program and returns one entry per connection.
    ///
    /// # Errors
    /// When the program itself fails; failed connections are entries.
    pub fn connect(
        &self,
        to: SocketAddr,
        options: &[&str],
    ) -> Result<Vec<crate::program::connect::Connected>> {
        let running = self.start_connect(to, options)?;
        lines(&running.succeed(TOOL_DEADLINE * 2)?)
    }

    /// Starts a `connect` program whose output [`lines`] reads.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_connect(&self, to: SocketAddr, options: &[&str]) -> Result<Running> {
        let mut command = self.lab_program("connect");
        command.args(["--to", &to.to_string()]).args(options);
        self.start("connect", command)
    }

    /// Writes a kernel setting of this host's network namespace (dots or slashes).
    ///
    /// # Errors
    /// When the setting does not exist or refuses the value.
    pub fn sysctl(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(setting.replace('.', "/"));
        netns::inside(&self.0.netns, || {
            std::fs::write(&path, value).with_context(|| format!("set {}", path.display()))
        })
    }

    /// Reads a file as a process in this host's network namespace sees it (/proc/net/...).
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, path: &str) -> Result<String> {
        // The main thread's /proc/net would show the namespace of the whole process.
        let path = path.replace("/proc/net", "/proc/thread-self/net");
        netns::inside(&self.0.netns, || {
            std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
        })
    }

    /// Runs lines of `ip` commands in this host.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn ip(&self, batch: &str) -> Result<()> {
        netns::ip(&self.0.netns, batch)
    }

    /// Feeds `rules` to nft in this host.
    ///
    /// # Errors
    /// Those of nft, which name the line.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut command = self.command_beside("nft");
        command::run_with_input(command.args(["-f", "-"]), rules).context("load nft rules")?;
        Ok(())
    }
}

/// Reads one JSON object per line.
///
/// # Errors
/// At the first line that is not such an object.
pub fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("entry {line:?}")))
        .collect()
}
