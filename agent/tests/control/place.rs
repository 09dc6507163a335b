//! An agent with a root directory and a scope of its own, and what runs in it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_waybill-agent");
const MANIFEST: &str = include_str!("../../../rootfs/manifest.toml");
const PATIENCE: Duration = Duration::from_secs(30);

/// The one place that waits: a condition, with a deadline.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {PATIENCE:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub(crate) fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Root directory, key and configuration of one agent, and a cgroup that is its scope.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cgroup: PathBuf,
}

impl Place {
    /// `None`, with a printed reason, where the test cannot run.
    pub(crate) fn new(name: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("{name}: skipped, needs root");
            return None;
        }
        let Some(tree) = cgroup_tree() else {
            eprintln!("{name}: skipped, no cgroup2 tree is mounted");
            return None;
        };
        let group = format!("waybill-{name}-{}", std::process::id());
        let cgroup = tree.join(&group);
        fs::create_dir(&cgroup).unwrap();
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            cgroup,
        };
        assemble(&place.rootfs());
        let key = place.path("fleet.key");
        fs::write(&key, "000102030405060708090a0b0c0d0e0f\n").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "[agent]\nrootfs = {:?}\ninterval = \"200ms\"\n[scope]\ncgroup = \"/{group}\"\n\
             [[key]]\nepoch = 1\nsecret_file = {key:?}\n",
            place.rootfs()
        );
        fs::write(place.config(), config).unwrap();
        Some(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path("rootfs")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("agent.toml")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--net", AGENT, "run", "--config"])
            .arg(self.config());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts an agent and waits until it reports.
    pub(crate) fn start(&self) -> Running {
        self.start_by(self.command())
    }

    pub(crate) fn start_by(&self, mut command: Command) -> Running {
        let status = self.rootfs().join("run/status.json");
        fs::remove_file(&status).ok();
        let mut running = Running(command.spawn().unwrap());
        eventually("the first status", || {
            if let Some(code) = running.0.try_wait().unwrap() {
                panic!("the agent ended with {code}: {}", running.errors());
            }
            status.exists()
        });
        running
    }

    pub(crate) fn doctor(&self) -> Value {
        let file = self.config();
        let output = agent(&[
            "doctor",
            "--format",
            "json",
            "--config",
            file.to_str().unwrap(),
        ]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts an agent that is to refuse with this exit code and message.
    pub(crate) fn refused(&self, code: i32, message: &str) {
        let output = self.command().output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A program that is still being detached keeps the group for a moment.
        eventually("removing the cgroup", || {
            fs::remove_dir(&self.cgroup).is_ok()
        });
    }
}

/// Killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    pub(crate) fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        errors
    }

    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.0.wait().unwrap()
    }

    pub(crate) fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    }

    pub(crate) fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.status(set), 16).unwrap()
    }

    /// Ids of the BPF programs that it holds.
    pub(crate) fn programs(&self) -> Vec<u64> {
        let of = |entry: fs::DirEntry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let id = text
                .lines()
                .find_map(|line| line.strip_prefix("prog_id:"))?;
            id.trim().parse().ok()
        };
        let infos = fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).unwrap();
        infos.filter_map(|entry| of(entry.ok()?)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn cgroup_tree() -> Option<PathBuf> {
    let mounts = own_mounts();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    mount.split(' ').nth(4).map(PathBuf::from)
}

pub(crate) fn own_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Path and entry of each directory or file of the manifest.
pub(crate) fn manifest(kind: &str) -> Vec<(String, toml::Table)> {
    let manifest: toml::Table = MANIFEST.parse().unwrap();
    let list = manifest[kind].as_array().unwrap().iter();
    list.map(|entry| {
        let path = entry["path"].as_str().unwrap().to_owned();
        (path, entry.as_table().unwrap().clone())
    })
    .collect()
}

/// Makes the root directory as packages do.
fn assemble(rootfs: &Path) {
    let set_mode = |path: &Path, mode: &str| {
        let mode = u32::from_str_radix(mode, 8).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(rootfs).unwrap();
    set_mode(rootfs, "755");
    for (path, _) in manifest("directory") {
        fs::create_dir(rootfs.join(path)).unwrap();
    }
    for (path, entry) in manifest("file") {
        let text = entry
            .get("content")
            .and_then(toml::Value::as_str)
            .unwrap_or("");
        fs::write(rootfs.join(&path), text).unwrap();
        set_mode(&rootfs.join(path), entry["mode"].as_str().unwrap());
    }
    for (path, entry) in manifest("directory").into_iter().rev() {
        set_mode(&rootfs.join(path), entry["mode"].as_str().unwrap());
    }
}
