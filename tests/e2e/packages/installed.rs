//! Packages in the file system of a release: installed, started and removed as an operator does.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tests::lab::wait::wait_until;

use crate::packages::root::Root;

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
pub(crate) const STATE: &str = "opt/waybill/rootfs/var/lib/waybill";

/// Nobody reaches the collector from there.
pub(crate) const OUTAGE: &str = "table inet outage { chain out {\n\
    type filter hook output priority 0;\n\
    meta l4proto tcp ip daddr 192.168.255.1 reject with tcp reset\n\
    }\n}\n";

/// What starts the agent where no service manager does.
const SCRIPT: &str = "/usr/share/waybill/waybill-agent.init";

/// How long a service may take to start or end.
pub(crate) const SERVICE: Duration = Duration::from_secs(60);

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

    pub(crate) fn script(&self, revision: usize, options: &[&str]) -> Result<String> {
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

    pub(crate) fn rpm(&self, options: &[&str]) -> Result<String> {
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
    pub(crate) fn untouched(&self, name: &str) -> Result<()> {
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

    pub(crate) fn state(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.root.path(STATE).join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    pub(crate) fn batches(&self) -> Result<u64> {
        let said = self
            .root
            .run(&["waybill-agent", "spool", "stat", "--format", "json"])?;
        let stat: serde_json::Value = serde_json::from_str(&said).context("spool stat")?;
        stat["batches"].as_u64().context("a number of batches")
    }
}
