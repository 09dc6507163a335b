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

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use place::{AGENT, Place, agent, cgroup_tree, eventually, manifest, own_mounts, text};

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
