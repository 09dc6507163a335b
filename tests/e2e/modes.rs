//! What local users and a hostile predecessor may have left: files that others can read or lock, and
//! things in the places of files that let whoever opens them wait for ever.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::stat::{Mode, umask};
use nix::unistd::mkfifo;
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::process::Running;
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "modes::what_the_agent_writes_is_its_own_whatever_the_umask_and_the_version_before",
        needs: &[],
        // The umask is of the whole process.
        alone: true,
        run: umasks,
    },
    case(
        "modes::a_fifo_in_the_place_of_a_file_is_named_and_nobody_waits",
        fifos,
    ),
];

/// Restores the umask of this process.
struct Umask(Mode);

impl Umask {
    fn set(mode: u32) -> Self {
        Self(umask(Mode::from_bits_retain(mode)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

const STATE: &str = "var/lib/waybill";
const LOCK: &str = "run/waybill-agent.lock";
const STATUS: &str = "run/status.json";

fn umasks(lab: &Lab) -> Result<()> {
    for mask in [0o000, 0o022, 0o077] {
        let host = lab.host(&format!("host-{mask:o}"))?;
        let settings = Settings::default().with("log.file", "true")?;
        let mut agent = Agent::prepare(lab, &host, None, &settings)?;
        let root = agent.rootfs().to_owned();
        // As an older version left them when it was started by hand; no process has this number.
        for (file, text) in [
            (LOCK.to_owned(), "4194305\n"),
            (STATUS.to_owned(), "{}"),
            (
                format!("{STATE}/host-id"),
                "0123456789abcdef0123456789abcdef\n",
            ),
            (format!("{STATE}/agent.log"), "old\n"),
        ] {
            fs::write(root.join(&file), text)?;
            fs::set_permissions(root.join(&file), Permissions::from_mode(0o666))?;
        }
        // Another user has the lock open, and holds it.
        let stranger = File::open(root.join(LOCK))?;
        stranger.lock_shared()?;
        let set = Umask::set(mask);
        let started = agent.start();
        drop(set);
        started.with_context(|| format!("umask {mask:o}"))?;
        wait_for(SOON, "a batch in the spool", || {
            agent.flush()?;
            let stored = agent.status()?.counter("spool_stored_total")?;
            ensure!(stored > 0, "{stored} stored");
            Ok(())
        })?;
        let out = host.directory().join("exported");
        fs::create_dir(&out)?;
        let set = Umask::set(mask);
        let exported = agent.ask(&["export", "--out", &out.display().to_string()]);
        drop(set);
        let exported = exported?;
        let said = String::from_utf8_lossy(&exported.stderr);
        ensure!(exported.status.success(), "{said}");
        let mut seen = Vec::new();
        for place in [root.join("run"), root.join(STATE), out] {
            are_private(&place, &mut seen).with_context(|| format!("umask {mask:o}"))?;
        }
        for name in [
            "waybill-agent.lock",
            "status.json",
            "host-id",
            "agent.log",
            "spool.db",
            "spool.db-wal",
            "export.key",
        ] {
            ensure!(
                seen.iter().any(|one| one == name),
                "{name} is not in {seen:?}"
            );
        }
        // The lock holds all the same.
        let mut second = host.command_beside(&lab.binaries().agent);
        second.arg("run").arg("--config").arg(agent.config_file());
        let second = tests::lab::command::finish(&mut second, "")?;
        ensure!(second.status.code() == Some(1), "{}", second.status);
        agent.stop()?;
    }
    Ok(())
}

fn are_private(directory: &Path, seen: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        let metadata = entry.metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        ensure!(
            mode == expected,
            "{} has mode {mode:o}",
            entry.path().display()
        );
        seen.push(entry.file_name().to_string_lossy().into_owned());
        if metadata.is_dir() {
            are_private(&entry.path(), seen)?;
        }
    }
    Ok(())
}

/// What is in the way, the command that meets it, its exit code, and whether it names the file.
const FIFOS: [(&str, &[&str], i32, bool); 9] = [
    ("run/status.json", &["doctor"], 0, true),
    ("run/status.json", &["spool", "stat"], 5, false),
    ("var/lib/waybill/spool.db", &["doctor"], 0, true),
    ("var/lib/waybill/spool.db", &["spool", "stat"], 5, true),
    (
        "var/lib/waybill/spool.db",
        &["export", "--out", "/tmp"],
        5,
        true,
    ),
    (
        "var/lib/waybill/spool.db",
        &["receipt", "--forget"],
        5,
        true,
    ),
    ("var/lib/waybill/spool.db", &["run"], 5, true),
    ("var/lib/waybill/host-id", &["run"], 5, true),
    ("run/waybill-agent.lock", &["run"], 1, true),
];

fn fifos(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    for (number, (file, command, code, named)) in FIFOS.into_iter().enumerate() {
        let path = agent.rootfs().join(file);
        // What a refused start before this one has made.
        fs::remove_file(&path).ok();
        mkfifo(&path, Mode::S_IRWXU)?;
        let mut program = host.command_beside(&lab.binaries().agent);
        program
            .args(command)
            .arg("--config")
            .arg(agent.config_file());
        let stem = host.directory().join(format!("fifo-{number}"));
        let mut running = Running::start(program, &stem)?;
        let what = format!("{command:?} with a FIFO as {file}");
        let status = running.wait(STOP_DEADLINE).with_context(|| what.clone())?;
        let said = format!("{}{}", running.output()?, running.errors()?);
        ensure!(status.code() == Some(code), "{what}: {status}: {said}");
        ensure!(
            !named || (said.contains(file) && said.contains("not a regular file")),
            "{what}: {said}"
        );
        fs::remove_file(&path)?;
    }
    // What is written anew at each start takes the place of whatever is there.
    let status = agent.rootfs().join(STATUS);
    fs::remove_file(&status).ok();
    mkfifo(&status, Mode::S_IRWXU)?;
    agent.start_unready()?;
    wait_for(SOON, "a status in the place of a FIFO", || {
        let kind = fs::symlink_metadata(&status)?.file_type();
        ensure!(kind.is_file(), "{kind:?}");
        Ok(())
    })?;
    agent.stop()
}
