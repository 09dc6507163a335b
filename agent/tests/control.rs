//! The built agent from outside: exit codes, messages, the jail, and what is left afterwards.
//!
//! What needs root says so and is skipped without it. Programs are only ever attached to a cgroup
//! that the test made, below which no process runs, and in a network namespace of its own.

#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_waybill-agent");
const MANIFEST: &str = include_str!("../../rootfs/manifest.toml");
const PATIENCE: Duration = Duration::from_secs(30);

/// The one place that waits: a condition, with a deadline.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {PATIENCE:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Root directory, key and configuration of one agent, and a cgroup that is its scope.
struct Place {
    directory: tempfile::TempDir,
    cgroup: PathBuf,
}

impl Place {
    /// `None`, with a printed reason, where the test cannot run.
    fn new(name: &str) -> Option<Self> {
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn rootfs(&self) -> PathBuf {
        self.path("rootfs")
    }

    fn config(&self) -> PathBuf {
        self.path("agent.toml")
    }

    fn command(&self) -> Command {
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
    fn start(&self) -> Running {
        self.start_by(self.command())
    }

    fn start_by(&self, mut command: Command) -> Running {
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

    fn doctor(&self) -> Value {
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
    fn refused(&self, code: i32, message: &str) {
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
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        errors
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        kill(self.pid(), signal).unwrap();
        self.0.wait().unwrap()
    }

    fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    }

    fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.status(set), 16).unwrap()
    }

    /// Ids of the BPF programs that it holds.
    fn programs(&self) -> Vec<u64> {
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

fn cgroup_tree() -> Option<PathBuf> {
    let mounts = own_mounts();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    mount.split(' ').nth(4).map(PathBuf::from)
}

fn own_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Path and entry of each directory or file of the manifest.
fn manifest(kind: &str) -> Vec<(String, toml::Table)> {
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

/// Every path below `root`, without descending into what is mounted from the host.
fn seen(root: &Path) -> BTreeSet<String> {
    const FROM_HOST: [&str; 3] = ["proc", "sys/devices/system/cpu", "sys/fs/cgroup"];
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory && !FROM_HOST.contains(&path.as_str()) {
                open.push(entry.path());
            }
            found.insert(path);
        }
    }
    found
}

/// Ids of all programs in the kernel; `None` without bpftool.
fn loaded_programs() -> Option<Vec<u64>> {
    let output = Command::new("bpftool")
        .args(["--json", "prog", "list"])
        .output()
        .ok()?;
    let list: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(
        list.as_array()?
            .iter()
            .filter_map(|program| program["id"].as_u64())
            .collect(),
    )
}

#[test]
fn wrong_arguments_and_a_wrong_configuration_end_with_2() {
    assert_eq!(agent(&["fly"]).status.code(), Some(2));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs::write(&path, "[agent]\ninterval = 5\nspeed = 1\n").unwrap();
    let file = path.to_str().unwrap();
    for command in ["check-config", "run"] {
        let output = agent(&[command, "--config", file]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let errors = text(&output.stderr);
        assert!(
            errors.contains(":2: agent.interval: expected a string, found 5"),
            "{errors}"
        );
        assert!(errors.contains(":3: agent.speed: unknown key"), "{errors}");
        assert!(errors.contains("key: missing"), "{errors}");
    }
    let output = agent(&["check-config", "--format", "json", "--config", file]);
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(checked["ok"], false);
    assert_eq!(checked["problems"].as_array().unwrap().len(), 3);
}

#[test]
fn doctor_reports_as_json_and_ends_with_0_even_without_a_configuration() {
    let output = agent(&["doctor", "--format", "json", "--config", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in [
        "version", "config", "facts", "plan", "jail", "running", "spool", "warnings",
    ] {
        assert!(report.get(part).is_some(), "{part}");
    }
    assert!(report["facts"]["kernel"].is_string());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut doctor = Command::new(AGENT);
    doctor
        .arg("doctor")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = doctor.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}

#[test]
fn the_agent_sees_its_root_and_nothing_else() {
    let Some(place) = Place::new("root") else {
        return;
    };
    let running = place.start();
    let root = PathBuf::from(format!("/proc/{}/root", running.pid()));

    let mut expected: BTreeSet<String> = ["directory", "file"]
        .into_iter()
        .flat_map(manifest)
        .map(|(path, _)| path)
        .collect();
    expected.insert("run/status.json".into());
    expected.insert("run/waybill-agent.lock".into());
    let mut found = seen(&root);
    // The spool makes files as it likes, and the status is replaced while we look.
    found.retain(|path| !path.starts_with("var/lib/waybill/") && path != "run/status.json.new");
    found.insert("run/status.json".into());
    assert_eq!(found, expected);
    assert!(root.join("var/lib/waybill/host-id").exists());

    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", running.pid())).unwrap();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (point, options) = (fields[4], fields[5]);
        let writable = ["/var/lib/waybill", "/run", "/tmp"].contains(&point);
        assert_eq!(options.starts_with("rw"), writable, "{line}");
        assert!(
            options.contains("nosuid") && options.contains("noexec"),
            "{line}"
        );
        let for_loading = point.contains("tracing") || point.contains("btf");
        assert!(!for_loading, "still mounted after loading: {line}");
    }
    assert_eq!(running.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn the_agent_keeps_only_the_capabilities_that_doctor_says() {
    const NUMBERS: [(&str, u8); 5] = [
        ("CAP_NET_ADMIN", 12),
        ("CAP_SYS_PTRACE", 19),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_PERFMON", 38),
        ("CAP_BPF", 39),
    ];
    let Some(place) = Place::new("capabilities") else {
        return;
    };
    let running = place.start();
    let report = place.doctor();
    assert_eq!(
        report["running"]["pid"].as_i64(),
        Some(i64::from(running.pid().as_raw()))
    );
    let kept = report["jail"]["capabilities"].as_array().unwrap();
    let mask = kept.iter().fold(0, |mask, kept| {
        let known = NUMBERS.iter().find(|(name, _)| kept["name"] == *name);
        let (_, number) = known.expect("one of the few that the agent may ever keep");
        mask | 1_u64 << number
    });
    assert_eq!(running.capabilities("CapEff"), mask);
    assert_eq!(running.capabilities("CapPrm"), mask);
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(running.capabilities(set), 0, "{set}");
    }
    assert_eq!(running.status("NoNewPrivs"), "1");
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert!(
        core.split_whitespace().filter(|word| *word == "0").count() == 2,
        "{core}"
    );
}

#[test]
fn nothing_is_left_after_an_end_of_any_kind() {
    let Some(place) = Place::new("left") else {
        return;
    };
    let before = own_mounts();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let running = place.start();
        let held = running.programs();
        assert!(!held.is_empty(), "nothing was loaded");
        assert_eq!(own_mounts(), before, "mounts while it runs");
        let ended = running.end(signal);
        match signal {
            Signal::SIGKILL => assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32)),
            _ => assert_eq!(ended.code(), Some(0)),
        }
        assert_eq!(own_mounts(), before, "mounts after {signal}");
        // The kernel frees programs a moment after their last holder is gone.
        eventually("freeing the programs", || {
            let loaded = loaded_programs().unwrap_or_default();
            !held.iter().any(|id| loaded.contains(id))
        });
    }
    place.doctor()["running"]
        .as_null()
        .expect("no agent runs any more");
}

#[test]
fn an_agent_that_cannot_see_the_cgroup_tree_reaches_it_and_changes_nothing_for_others() {
    let Some(place) = Place::new("unseen") else {
        return;
    };
    let before = own_mounts();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "sh", "-c"])
        .arg("umount --lazy \"$1\" && exec \"$2\" run --config \"$3\"")
        .arg("sh")
        .arg(cgroup_tree().unwrap())
        .arg(AGENT)
        .arg(place.config())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let running = place.start_by(command);
    assert!(!running.programs().is_empty(), "nothing was loaded");
    assert_eq!(running.end(Signal::SIGTERM).code(), Some(0));
    // Options of the cgroup2 tree belong to the whole host.
    assert_eq!(own_mounts(), before);
}

#[test]
fn a_second_agent_in_the_same_root_is_refused_and_the_first_goes_on() {
    let Some(place) = Place::new("second") else {
        return;
    };
    let first = place.start();
    let message = format!(
        "another agent (process {}) uses this root directory",
        first.pid()
    );
    place.refused(1, &message);
    assert_eq!(first.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_root_directory_that_cannot_be_trusted_ends_with_4() {
    let Some(place) = Place::new("trust") else {
        return;
    };
    let rootfs = place.rootfs();
    fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o777)).unwrap();
    place.refused(4, "writable by nobody else");
    fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir(rootfs.join("tmp")).unwrap();
    place.refused(4, "lacks tmp; install or assemble it again");
    std::os::unix::fs::symlink("/etc", rootfs.join("tmp")).unwrap();
    place.refused(4, "not a link");
    fs::rename(&rootfs, place.path("away")).unwrap();
    place.refused(4, "is not there; install or assemble it first");
}

#[test]
fn without_privilege_the_agent_says_what_it_needs_and_ends_with_4() {
    let Some(place) = Place::new("privilege") else {
        return;
    };
    let output = Command::new("setpriv")
        .args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            AGENT,
            "run",
            "--config",
        ])
        .arg(place.config())
        .output()
        .unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(
        errors.contains("the jail needs CAP_SYS_ADMIN: run the agent as root"),
        "{errors}"
    );
}
