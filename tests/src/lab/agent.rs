//! An agent of a lab: its own rootfs, configuration and cgroup scope per host.

mod settings;
mod status;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use toml::{Table, Value};

use super::collector::{self, Collector};
use super::host::Host;
use super::process::Running;
use super::wait::wait_until;
use super::{Lab, command};
pub use settings::Settings;
pub use status::Status;

/// The fleet key of every agent in a lab.
pub const FLEET_KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// Where the agent's binary is within its root directory.
pub const AGENT: &str = "usr/bin/waybill-agent";

/// Environment variable naming a folder of BTF packs, below the names of architectures.
const PACKS: &str = "WAYBILL_BTF_PACKS";

/// Environment variable that names a fault.
const FAULT: &str = "WAYBILL_FAULT";

/// How long an agent may take until it measures, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long an agent may take until it has said how it is, on a busy machine.
const REPORT_DEADLINE: Duration = Duration::from_secs(30);

/// How long an agent may take to drain.
pub const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// An agent; it can be stopped or killed and started again on the same spool.
#[derive(Debug)]
pub struct Agent {
    /// The host whose connections it measures.
    pub host: Host,
    binary: PathBuf,
    config: PathBuf,
    rootfs: PathBuf,
    running: Option<Running>,
    fault: Option<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Agent {
    /// Assembles rootfs and configuration; does not start it.
    ///
    /// With a collector the agent uploads to it; without one it only fills its spool.
    ///
    /// # Errors
    /// When a file cannot be written or a setting is wrong TOML.
    pub fn prepare(
        lab: &Lab,
        host: &Host,
        collector: Option<&Collector>,
        settings: &Settings,
    ) -> Result<Self> {
        let rootfs = host.directory().join("rootfs");
        let programs = lab
            .binaries()
            .agent
            .parent()
            .context("a binary is in a directory")?;
        rootfs::assemble(
            &rootfs::Manifest::current()?,
            programs,
            &rootfs,
            SystemTime::now(),
        )?;
        if let Some(packs) = std::env::var_os(PACKS) {
            install_packs(Path::new(&packs), &rootfs)?;
        }
        let binary = rootfs.join(AGENT);
        let key = host.directory().join("fleet.key");
        collector::write_secret(&key, &format!("{FLEET_KEY}\n"))?;
        let mut table = defaults(lab, host, &rootfs, &key)?;
        if let Some(collector) = collector {
            collector.reach_from(lab, host)?;
            table.insert("upload".into(), Value::Table(upload(collector)));
        }
        settings.apply(&mut table)?;
        let config = host.directory().join("agent.toml");
        std::fs::write(&config, toml::to_string(&table)?)?;
        Ok(Self {
            host: host.clone(),
            binary,
            config,
            rootfs,
            running: None,
            fault: None,
            environment: Vec::new(),
            wrapper: Vec::new(),
        })
    }

    /// Prepares and starts an agent and waits until it measures.
    ///
    /// # Errors
    /// Those of [`Agent::prepare`] and [`Agent::start`].
    pub fn start_on(
        lab: &Lab,
        host: &Host,
        collector: Option<&Collector>,
        settings: &Settings,
    ) -> Result<Self> {
        let mut agent = Self::prepare(lab, host, collector, settings)?;
        agent.start()?;
        Ok(agent)
    }

    /// Starts it and waits until it measures.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with what it said.
    pub fn start(&mut self) -> Result<()> {
        self.start_unready()?;
        self.wait_ready()
    }

    /// Waits until one that was started measures.
    ///
    /// # Errors
    /// When it ends or is not ready in time; with what it said.
    pub fn wait_ready(&mut self) -> Result<()> {
        let pid = self.pid()?;
        wait_until(START_DEADLINE, "status of the started agent", || {
            let running = self.running.as_mut().context("just started")?;
            if let Some(status) = running.ended()? {
                bail!("agent ended with {status}: {}", running.errors()?.trim());
            }
            Ok(self
                .status()
                .ok()
                .filter(|status| status.pid == pid)
                .map(drop))
        })
        .with_context(|| format!("start agent on {}", self.host.name()))
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_unready(&mut self) -> Result<()> {
        let mut run = match self.wrapper.split_first() {
            None => self.host.command_beside(&self.binary),
            Some((program, arguments)) => {
                let mut run = self.host.command_beside(program);
                run.args(arguments).arg(&self.binary);
                run
            }
        };
        run.arg("run").arg("--config").arg(&self.config);
        if let Some(fault) = &self.fault {
            run.env(FAULT, fault);
        }
        run.envs(self.environment.iter().cloned());
        self.running = Some(Running::start(run, &self.host.directory().join("agent"))?);
        Ok(())
    }

    /// What its next starts shall suffer (`agent/src/fault.rs`); only a debug build does.
    pub fn suffer(&mut self, fault: Option<&str>) {
        self.fault = fault.map(str::to_owned);
    }

    /// A program that starts it from now on, with its arguments; it becomes the agent.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// A variable of the environment of its next starts.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Its process id as the lab sees it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<i32> {
        Ok(self.running()?.pid().as_raw())
    }

    /// The running program.
    ///
    /// # Errors
    /// When it does not run.
    pub fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the agent does not run")
    }

    /// The running program, to wait for it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn running_mut(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the agent does not run")
    }

    /// What it last said about itself.
    ///
    /// # Errors
    /// When there is no status, or it is not as the contract says.
    pub fn status(&self) -> Result<Status> {
        let outside = self.rootfs.join("run/status.json");
        let inside = PathBuf::from(format!("/proc/{}/root", self.pid()?)).join("run/status.json");
        // A private mount may hide the file from outside the jail.
        let text =
            std::fs::read_to_string(&outside).or_else(|_| std::fs::read_to_string(inside))?;
        serde_json::from_str(&text).with_context(|| format!("status {text}"))
    }

    /// Has it report now, and returns the status of an interval that ended after this call.
    ///
    /// The collector has a batch before the status of its interval is on disk: on a busy machine, who
    /// saw something in the topology may still find an older status.
    ///
    /// # Errors
    /// When it does not run, or writes no status in time.
    pub fn report(&self) -> Result<Status> {
        let asked = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        wait_until(REPORT_DEADLINE, "status of a new interval", || {
            self.flush()?;
            let status = self.status()?;
            Ok(Some(status).filter(|status| u128::from(status.written_ms) > asked.as_millis()))
        })
    }

    /// Asks it to close the interval, send and write its status now.
    ///
    /// # Errors
    /// When it does not run.
    pub fn flush(&self) -> Result<()> {
        self.running()?.signal(Signal::SIGUSR1)
    }

    /// Lets it drain and end.
    ///
    /// # Errors
    /// When it ends with another status than 0, or not at all.
    pub fn stop(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the agent does not run")?;
        let status = running.stop(STOP_DEADLINE)?;
        if !status.success() {
            bail!("agent ended with {status}: {}", running.errors()?.trim());
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.running
            .take()
            .context("the agent does not run")?
            .kill()
    }

    /// Runs another command of the agent (`doctor`, `spool stat`, ...) with its configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask(&self, arguments: &[&str]) -> Result<Output> {
        let mut ask = self.host.command_beside(&self.binary);
        ask.args(arguments).arg("--config").arg(&self.config);
        command::finish(&mut ask, "")
    }

    /// Runs another command of the agent and reads its JSON.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn ask_json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = self.ask(&[arguments, &["--format", "json"]].concat())?;
        let (text, said) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8_lossy(&output.stderr),
        );
        serde_json::from_str(&text)
            .with_context(|| format!("{}: {} {text}{said}", arguments.join(" "), output.status))
    }

    /// Its program.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Its root directory.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }
}

/// Copies BTF packs to where the agent looks for them.
fn install_packs(packs: &Path, rootfs: &Path) -> Result<()> {
    let arch = std::env::consts::ARCH;
    let place = rootfs.join("usr/share/waybill/btf").join(arch);
    for entry in std::fs::read_dir(packs.join(arch)).into_iter().flatten() {
        let pack = entry?;
        std::fs::create_dir_all(&place).context("make the folder of packs")?;
        std::fs::copy(pack.path(), place.join(pack.file_name())).context("copy a pack")?;
    }
    Ok(())
}

/// A lab's configuration: short interval, scope of one host, no budget (a debug build under a flood
/// takes more than any host should give), everything else by default.
fn defaults(lab: &Lab, host: &Host, rootfs: &Path, key: &Path) -> Result<Table> {
    let scope = host
        .cgroup()
        .strip_prefix(&lab.tree().root)
        .context("a cgroup is in its tree")?;
    let text = format!(
        "[agent]\nrootfs = {rootfs:?}\ninterval = \"1s\"\nhostname = {:?}\n\
         [scope]\ncgroup = {:?}\n\
         [[key]]\nepoch = 1\nsecret_file = {key:?}\n\
         [budget]\ncpu = \"\"\nmemory = \"\"\n\
         [log]\nlevel = \"info\"\n",
        host.name(),
        Path::new("/").join(scope),
    );
    toml::from_str(&text).context("a lab's own configuration")
}

fn upload(collector: &Collector) -> Table {
    let text = |value: String| Value::String(value);
    [
        ("url", format!("https://{}", collector::ADDRESS)),
        ("ca_file", collector.ca_file().display().to_string()),
        ("token_file", collector.token_file().display().to_string()),
        ("timeout", "5s".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), text(value)))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_replace_values_and_add_rules() {
        let mut table: Table = toml::from_str("[limits]\nedges = 5\nprocesses = 4\n").unwrap();
        let settings = Settings::default()
            .with("limits.edges", "7")
            .and_then(|s| s.with("service", "{ name = 'a', match = { comm = 'curl' } }"))
            .unwrap();
        settings
            .without("limits.processes")
            .apply(&mut table)
            .unwrap();
        assert_eq!(table["limits"]["edges"].as_integer(), Some(7));
        assert!(table["limits"].get("processes").is_none());
        assert_eq!(table["service"][0]["name"].as_str(), Some("a"));
    }
}
