//! Install, run, upgrade with a full spool, go back, remove, purge: and nothing is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::Lab;
use tests::lab::agent::FLEET_KEY;
use tests::lab::collector::{self, Collector, write_secret};
use tests::lab::programs;
use tests::lab::residue::{Objects, Residue};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::{wait_for, wait_until};

use super::given::{release, unpack};
use super::root::{Files, Root, changes};
use crate::scene::SETTLE;

/// How an operator installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// dpkg.
    Deb,
    /// rpm.
    Rpm,
    /// install.sh where there is neither.
    Archive,
}

/// Borrowed words of a line.
pub(super) fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// Where the agent keeps its state on a host.
const STATE: &str = "opt/waybill/rootfs/var/lib/waybill";
/// Nobody reaches the collector from there.
const OUTAGE: &str = "table inet outage { chain out {\n\
    type filter hook output priority 0;\n\
    meta l4proto tcp ip daddr 192.168.255.1 reject with tcp reset\n\
    }\n}\n";
/// What starts the agent where no service manager does.
const SCRIPT: &str = "/usr/share/waybill/waybill-agent.init";
/// How long a service may take to start or end.
const SERVICE: Duration = Duration::from_secs(60);

/// One host with what is installed on it.
pub(super) struct Installed<'a> {
    pub(super) root: Root<'a>,
    pub(super) way: Way,
    pub(super) bundles: [PathBuf; 2],
}

impl Installed<'_> {
    pub(super) fn package(&self, revision: usize, name: &str, end: &str) -> Result<String> {
        let folder = self.bundles[revision].join("packages");
        let entries = folder.read_dir()?.flatten().map(|entry| entry.path());
        let mut found = entries.filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(name) && file.ends_with(end)
        });
        let found = found.next().context("no such package")?;
        Ok(found.display().to_string())
    }

    fn script(&self, revision: usize, options: &[&str]) -> Result<String> {
        let line = self.script_line(revision, options);
        self.root.run(&words(&line))
    }

    /// The call of the bundle's installer.
    pub(super) fn script_line(&self, revision: usize, options: &[&str]) -> Vec<String> {
        let folder = self.bundles[revision].display();
        let (script, key) = (
            format!("{folder}/install.sh"),
            format!("{folder}/waybill.pub"),
        );
        let mut line = vec!["sh".to_owned(), script, "--key".to_owned(), key];
        line.extend(options.iter().map(ToString::to_string));
        line
    }

    fn rpm(&self, options: &[&str]) -> Result<String> {
        self.root.run_outside(&words(&self.rpm_line(options)))
    }

    /// A call of this machine's rpm for the file system.
    pub(super) fn rpm_line(&self, options: &[&str]) -> Vec<String> {
        let place = self.root.place().display().to_string();
        // Debian's rpm wants to be told that it is meant, and no package there is known to it.
        let line = ["rpm", "--root", &place, "--dbpath", "/var/lib/rpm-lab"];
        let meant = ["--force-debian", "--nodeps"];
        let all = line.iter().chain(&meant).chain(options);
        all.map(ToString::to_string).collect()
    }

    /// Nobody finds a difference to what was packed, beyond what the operator configured.
    fn untouched(&self, name: &str) -> Result<()> {
        let (_, said) = match self.way {
            Way::Deb => self.root.attempt(true, &["dpkg", "--verify", name])?,
            Way::Rpm => {
                let line = self.rpm_line(&["-V", name]);
                self.root.attempt(false, &words(&line))?
            }
            Way::Archive => return Ok(()),
        };
        let differ: Vec<&str> = said
            .lines()
            .filter(|line| line.contains('/') && !line.contains(" c /etc/waybill/"))
            .collect();
        ensure!(differ.is_empty(), "{name} differs: {differ:#?}");
        Ok(())
    }

    /// Modes do not depend on the umask of whoever installs.
    pub(super) fn modes(&self) -> Result<()> {
        for (path, mode) in [
            ("etc/waybill", 0o755),
            ("etc/waybill/agent.toml", 0o644),
            ("etc/logrotate.d", 0o755),
            ("opt/waybill", 0o755),
            ("opt/waybill/rootfs", 0o755),
            ("opt/waybill/rootfs/usr/bin/waybill-agent", 0o755),
            ("opt/waybill/rootfs/var/lib/waybill", 0o700),
            ("usr/share/waybill", 0o755),
            ("usr/sbin/waybill-bundle", 0o755),
            ("usr/share/doc/waybill-agent/NOTICES", 0o644),
            ("usr/lib/systemd/system/waybill-agent.service", 0o644),
        ] {
            // What has no place on a host is not put there.
            if path == "etc/logrotate.d" && !self.root.path(path).exists() {
                continue;
            }
            let found = self.root.mode(path)?;
            ensure!(found == mode, "{path}: {found:04o}, not {mode:04o}");
        }
        Ok(())
    }

    /// Installs, upgrades, or goes back.
    pub(super) fn install(&self, revision: usize, name: &str) -> Result<String> {
        match self.way {
            Way::Deb => {
                let file = self.package(revision, name, ".deb")?;
                self.root.run(&["dpkg", "--force-confold", "-i", &file])
            }
            Way::Rpm => {
                let file = self.package(revision, name, ".rpm")?;
                self.rpm(&["-U", "--oldpackage", &file])
            }
            Way::Archive => {
                let what = name.trim_start_matches("waybill-");
                self.script(revision, &["--with", "tar", what])
            }
        }
    }

    pub(super) fn remove(&self, name: &str) -> Result<String> {
        match self.way {
            Way::Deb => self.root.run(&["dpkg", "-r", name]),
            Way::Rpm => self.rpm(&["-e", name]),
            Way::Archive => self.script(0, &["--uninstall", name.trim_start_matches("waybill-")]),
        }
    }

    /// Installed or removed before, as the way allows.
    pub(super) fn purge(&self, name: &str) -> Result<String> {
        match self.way {
            Way::Deb => self.root.run(&["dpkg", "-P", name]),
            Way::Rpm => {
                let place = self.root.place().display().to_string();
                let mut line = vec!["env", "WAYBILL_PURGE=1", "rpm", "--root", &place];
                line.extend(["--dbpath", "/var/lib/rpm-lab", "--force-debian", "--nodeps"]);
                line.extend(["-e", name]);
                self.root.run_outside(&line)
            }
            Way::Archive => self.script(0, &["--purge", name.trim_start_matches("waybill-")]),
        }
    }

    pub(super) fn service(&self, verb: &str) -> Result<String> {
        // A release may start nothing at boot; the package then has the script for those who do.
        let own = self.root.path("etc/init.d/waybill-agent").exists();
        let script = if own {
            "/etc/init.d/waybill-agent"
        } else {
            SCRIPT
        };
        self.root.run(&[script, verb])
    }

    /// Process id of the running agent.
    pub(super) fn agent(&self) -> Result<i32> {
        let lock = fs::read_to_string(self.root.path("opt/waybill/rootfs/run/waybill-agent.lock"))?;
        let pid: i32 = lock.trim().parse().context("process id in the lock")?;
        kill(Pid::from_raw(pid), None).context("the agent does not run")?;
        Ok(pid)
    }

    pub(super) fn running(&self) -> Result<i32> {
        wait_until(SERVICE, "status of the installed agent", || {
            let status = self.root.path("opt/waybill/rootfs/run/status.json");
            let text = fs::read_to_string(status).unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let pid = self.agent().ok();
            Ok(pid.filter(|pid| status["pid"].as_i64() == Some(i64::from(*pid))))
        })
    }

    fn state(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.root.path(STATE).join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    fn batches(&self) -> Result<u64> {
        let said = self
            .root
            .run(&["waybill-agent", "spool", "stat", "--format", "json"])?;
        let stat: serde_json::Value = serde_json::from_str(&said).context("spool stat")?;
        stat["batches"].as_u64().context("a number of batches")
    }
}

/// The whole life of the agent's package, and of the collector's.
pub(super) fn run(lab: &Lab, name: &str, way: Way) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = &site.clients[0];
    let collector = Collector::start_in(lab)?;
    let server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    collector.reach_from(lab, client)?;
    let bundles = [unpack(lab, "first")?, unpack(lab, "second")?];
    let root = Root::open(lab, client, &release(name)?)?;
    let on = Installed { root, way, bundles };
    on.root.let_services_start()?;
    let kernel = Residue::snapshot(lab, &[client])?;
    let (files, mounts) = (on.root.files()?, on.root.mounts()?);

    let said = on.install(0, "waybill-agent")?;
    ensure!(said.contains("not started yet"), "first words: {said}");
    ensure!(on.agent().is_err(), "started without a key");
    on.modes()?;
    on.untouched("waybill-agent")?;
    configure(lab, &on, &collector)?;
    on.service("start")?;
    let first = on.running()?;
    on.untouched("waybill-agent")?;
    let objects = Objects::held_by(first)?;
    let backend = site.backend(0, Family::V4);
    client.connect(backend, &["--count", "5"])?;
    arrived(&collector, &on, 5)?;

    // An outage: the spool fills, and is full when the upgrade comes.
    client.nft(OUTAGE)?;
    client.connect(backend, &["--count", "5"])?;
    server.wait_served(10, SETTLE)?;
    kill(Pid::from_raw(on.agent()?), Signal::SIGUSR1)?;
    wait_for(SERVICE, "batches in the spool", || {
        ensure!(on.batches()? > 0, "none");
        Ok(())
    })?;
    let host_id = on.state("host-id")?;
    let config = fs::read(on.root.path("etc/waybill/agent.toml"))?;
    on.install(1, "waybill-agent")?;
    let second = on.running()?;
    ensure!(first != second, "the upgrade did not restart the agent");
    ensure!(on.batches()? > 0, "the upgrade lost the spool");
    ensure!(
        on.state("host-id")? == host_id,
        "the upgrade made another host"
    );
    let kept = fs::read(on.root.path("etc/waybill/agent.toml"))?;
    ensure!(kept == config, "the upgrade changed the configuration");
    client.nft("delete table inet outage\n")?;
    arrived(&collector, &on, 10)?;

    on.install(0, "waybill-agent").context("go back")?;
    ensure!(
        on.running()? != second,
        "going back did not restart the agent"
    );
    ensure!(
        on.state("host-id")? == host_id,
        "going back made another host"
    );

    comes_back(&on)?;
    let held = Objects::held_by(on.agent()?)?;
    on.remove("waybill-agent")?;
    ensure!(on.agent().is_err(), "the agent runs without its package");
    objects.wait_gone()?;
    held.wait_gone()?;
    kernel.wait_same(lab, &[client])?;
    only_kept(way, &files, &on.root.files()?)?;

    if way != Way::Deb {
        // What knows no purge after removal is installed once more for it.
        on.install(0, "waybill-agent")?;
        on.running()
            .context("a removed agent that comes back starts with what was kept")?;
    }
    purge(&on)?;
    collectors(&on)?;
    let left = changes(&files, &on.root.files()?);
    ensure!(left.is_empty(), "left behind: {left:#?}");
    ensure!(mounts == on.root.mounts()?, "mounts are left");
    kernel.wait_same(lab, &[client])
}

/// Without a service manager the script itself starts a killed agent again.
fn comes_back(on: &Installed<'_>) -> Result<()> {
    let killed = on.agent()?;
    kill(Pid::from_raw(killed), Signal::SIGKILL)?;
    wait_for(SERVICE, "another agent after a kill", || {
        ensure!(on.running()? != killed, "none yet");
        Ok(())
    })
}

/// Removes the agent with its state, and then what the operator made.
fn purge(on: &Installed<'_>) -> Result<()> {
    on.purge("waybill-agent")?;
    for operators in ["agent.toml.rpmsave", "fleet.key", "ca.pem", "token"] {
        fs::remove_file(on.root.path("etc/waybill").join(operators)).ok();
    }
    fs::remove_dir(on.root.path("etc/waybill")).ok();
    Ok(())
}

/// What an operator writes after the first installation.
fn configure(lab: &Lab, on: &Installed<'_>, collector: &Collector) -> Result<()> {
    let etc = on.root.path("etc/waybill");
    let packaged = fs::read_to_string(etc.join("agent.toml"))?;
    ensure!(
        packaged.contains("\nkind = 253\n"),
        "the packaged configuration does not name the option kind"
    );
    write_secret(&etc.join("fleet.key"), &format!("{FLEET_KEY}\n"))?;
    let token = fs::read_to_string(collector.token_file())?;
    write_secret(&etc.join("token"), &token)?;
    fs::copy(collector.ca_file(), etc.join("ca.pem"))?;
    let scope = on.root.host.cgroup().strip_prefix(&lab.tree().root)?;
    let config = packaged
        .replace("#interval = \"10s\"", "interval = \"1s\"")
        .replace("#hostname = \"\"", "hostname = \"installed\"")
        .replace(
            "#cgroup = \"/\"",
            &format!("cgroup = {:?}", Path::new("/").join(scope)),
        )
        .replace(
            "\n# The collector. Without",
            &format!(
                "\n[upload]\nurl = \"https://{}\"\nca_file = \"/etc/waybill/ca.pem\"\n\
                 token_file = \"/etc/waybill/token\"\ntimeout = \"5s\"\n\n# The collector. Without",
                collector::ADDRESS
            ),
        );
    fs::write(etc.join("agent.toml"), config)?;
    on.root.run(&["waybill-agent", "check-config"]).map(drop)
}

/// Waits until the collector knows this many connections of the installed agent.
fn arrived(collector: &Collector, on: &Installed<'_>, count: u64) -> Result<()> {
    kill(Pid::from_raw(on.agent()?), Signal::SIGUSR1)?;
    wait_for(SETTLE, "rows of the installed agent", || {
        let topology = collector.topology()?;
        let edges = topology.edges.iter().chain(&topology.unjoined);
        let opened: u64 = edges
            .filter(|edge| edge.client.starts_with("installed/"))
            .filter_map(|edge| edge.client_counters.as_ref())
            .map(|counters| counters.opened)
            .sum();
        ensure!(
            opened == count,
            "{opened} of {count} connections: {topology:?}"
        );
        Ok(())
    })
}

/// After a removal only what the operator wrote, and state, is there.
fn only_kept(way: Way, before: &Files, after: &Files) -> Result<()> {
    let kept = [
        "new: etc/waybill",
        "new: opt/waybill/rootfs/var/lib/waybill",
        // The way to it.
        "new: opt/waybill ",
        "new: opt/waybill/rootfs ",
        "new: opt/waybill/rootfs/var ",
        "new: opt/waybill/rootfs/var/lib ",
    ];
    // dpkg keeps configuration until a purge, and its helper what an administrator enabled.
    let debian = [
        "new: etc/logrotate.d",
        "new: etc/systemd/system/multi-user.target.wants",
        "new: var/lib/systemd/deb-systemd-helper-enabled",
    ];
    let debian: &[&str] = if way == Way::Deb { &debian } else { &[] };
    let strange: Vec<String> = changes(before, after)
        .into_iter()
        .filter(|change| {
            !kept
                .iter()
                .chain(debian)
                .any(|known| change.starts_with(known))
        })
        .collect();
    ensure!(strange.is_empty(), "left by the removal: {strange:#?}");
    ensure!(
        after.keys().any(|path| path.starts_with(STATE)),
        "the removal took the spool"
    );
    Ok(())
}

/// The collector's package: an account that comes and goes.
fn collectors(on: &Installed<'_>) -> Result<()> {
    let account = || on.root.run(&["id", "-u", "waybill-collector"]);
    on.install(0, "waybill-collector")?;
    account().context("the account of the collector")?;
    on.untouched("waybill-collector")?;
    // Its account reads the configuration.
    let read = "exec cat /etc/waybill/collector.toml";
    let line = ["su", "-s", "/bin/sh", "-c", read, "waybill-collector"];
    on.root.run(&line)?;
    let said = on.install(1, "waybill-collector")?;
    ensure!(!said.contains("rror"), "upgrade of the collector: {said}");
    account().context("the account of the collector after an upgrade")?;
    on.remove("waybill-collector")?;
    ensure!(account().is_err(), "the account stays after a removal");
    if on.way != Way::Deb {
        on.install(0, "waybill-collector")?;
    }
    on.purge("waybill-collector").map(drop)
}
