//! A lab: network-namespace hosts on one machine, with agents, a collector and real programs.

pub mod agent;
pub mod balance;
pub mod binaries;
pub mod bridge;
pub mod cgroup;
pub mod collector;
pub mod command;
pub mod counters;
pub mod frames;
pub mod host;
pub mod leftovers;
pub mod name;
pub mod needs;
pub mod netns;
pub mod process;
pub mod programs;
pub mod residue;
pub mod session;
pub mod site;
pub mod topology;
pub mod wait;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use self::binaries::Binaries;
use self::cgroup::Tree;
use self::host::{Host, Parts};
use self::name::LabName;
use self::needs::Need;

/// A lab; dropping it removes every trace of it.
#[derive(Debug)]
pub struct Lab {
    name: LabName,
    tree: Tree,
    directory: PathBuf,
    launcher: PathBuf,
    binaries: Binaries,
    hosts: Mutex<Vec<Host>>,
    closed: bool,
}

impl Lab {
    /// Opens an empty lab and removes the leftovers of dead ones.
    ///
    /// # Errors
    /// Without root, without a cgroup2 tree, or when its directory cannot be made.
    pub fn new(binaries: &Binaries) -> Result<Self> {
        let name = LabName::next()?;
        let parent = std::env::temp_dir();
        let directory = parent.join(name.to_string());
        // Others may enter: an agent that gave up root still reaches its own files.
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&directory)
            .context("create lab directory")?;
        let tree = Tree::find(&directory.join("cgroup2"))?;
        leftovers::sweep(&tree, &parent);
        tree.create(&name.to_string())?;
        let launcher = directory.join("lab-program");
        let mut lab = Self {
            name,
            tree,
            directory,
            launcher: PathBuf::new(),
            binaries: binaries.clone(),
            hosts: Mutex::default(),
            closed: false,
        };
        // A copy: the binary may be built anew while the lab runs.
        let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        binaries::copy_program(&own, &launcher).context("copy the lab's own programs")?;
        lab.launcher = launcher;
        lab.binaries = binaries.copy_to(&lab.directory)?;
        Ok(lab)
    }

    /// The lab's name, with which the names of all its parts begin.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Directory for the lab's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The cgroup2 tree in which its hosts are.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The agent and collector under test.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Adds a host without any network but its loopback.
    ///
    /// # Errors
    /// When its namespace or cgroup cannot be made.
    pub fn host(&self, name: &str) -> Result<Host> {
        let netns = format!("{}-{name}", self.name);
        let directory = self.directory.join(name);
        std::fs::DirBuilder::new().mode(0o755).create(&directory)?;
        netns::create(&netns)?;
        let host = Host::new(Parts {
            cgroup: self.tree.create(&format!("{}/{name}", self.name))?,
            agents: self.tree.create(&format!("{}/beside-{name}", self.name))?,
            name: name.to_owned(),
            netns,
            directory,
            launcher: self.launcher.clone(),
        });
        // IPv6 addresses are used at once: nobody else could have taken them.
        host.sysctl("net.ipv6.conf.all.accept_dad", "0")?;
        host.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        self.hosts
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned lab"))?
            .push(host.clone());
        Ok(host)
    }

    /// Joins two hosts by a pair of devices, each named by its side of the link.
    ///
    /// `addresses` are in CIDR form.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn link(&self, one: &End<'_>, other: &End<'_>) -> Result<()> {
        one.host.ip(&format!(
            "link add {} type veth peer name {} netns {}\n",
            one.device,
            other.device,
            other.host.netns()
        ))?;
        for end in [one, other] {
            let mut batch = String::new();
            for address in end.addresses {
                let flag = if address.contains(':') { " nodad" } else { "" };
                batch += &format!("address add {address} dev {}{flag}\n", end.device);
            }
            batch += &format!("link set {} up\n", end.device);
            end.host.ip(&batch)?;
        }
        Ok(())
    }

    /// What agents and collectors said last, to explain a failure.
    #[must_use]
    pub fn evidence(&self) -> String {
        let mut text = String::new();
        for host in self
            .hosts
            .lock()
            .map(|hosts| hosts.clone())
            .unwrap_or_default()
        {
            text += &counters(&host);
            let Ok(entries) = std::fs::read_dir(host.directory()) else {
                continue;
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let said = std::fs::read_to_string(&path).unwrap_or_default();
                if !name.ends_with(".err") || said.trim().is_empty() {
                    continue;
                }
                let lines: Vec<&str> = said.trim().lines().collect();
                let last = &lines[lines.len().saturating_sub(EVIDENCE_LINES)..];
                text += &format!("--- {} {name}\n{}\n", host.name(), last.join("\n"));
            }
        }
        text
    }

    /// Measures something in a lab of its own, with the programs that are built now.
    ///
    /// # Errors
    /// The machine lacks what labs need or what `needed` names, or what `measure` returns.
    pub fn measure<T>(needed: &[Need], measure: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let mut all = needs::LAB.iter().chain(needed);
        if let Some(reason) = all.find_map(|need| need.missing()) {
            bail!("{reason}");
        }
        let lab = Self::new(&Binaries::build()?)?;
        let measured = measure(&lab);
        let closed = lab.close();
        let measured = measured?;
        closed?;
        Ok(measured)
    }

    /// Removes every trace, as dropping does, and says what could not be removed.
    ///
    /// # Errors
    /// Names the first thing that stayed.
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        self.remove()
            .with_context(|| format!("close lab {}", self.name))
    }

    fn remove(&self) -> Result<()> {
        cgroup::remove(&self.tree.root.join(self.name.to_string()))?;
        for name in netns::list(&format!("{}-", self.name)) {
            netns::delete(&name)?;
        }
        self.tree.release()?;
        if std::env::var_os("WAYBILL_LAB_KEEP").is_none() {
            std::fs::remove_dir_all(&self.directory).context("remove lab directory")?;
        }
        Ok(())
    }
}

/// What the last agent of a host counted, without what is zero; empty where none ever ran.
fn counters(host: &Host) -> String {
    let path = host.directory().join("rootfs/run/status.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        return String::new();
    };
    let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let counted = status["counters"].as_object().into_iter().flatten();
    let counted: Vec<String> = counted
        .filter(|(_, value)| value.as_u64() != Some(0))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "--- {} counted, at {} ms\n{}\n--- {} has no option for\n{}\n",
        host.name(),
        status["written_ms"],
        counted.join(" "),
        host.name(),
        status["paths_off"]
    )
}

/// Last lines of each program that [`Lab::evidence`] shows.
const EVIDENCE_LINES: usize = 25;

impl Drop for Lab {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        if let Err(error) = self.remove() {
            use std::io::Write;
            // The next lab tries again; a silent leak would confuse whoever finds it.
            writeln!(
                std::io::stderr(),
                "lab {} left something behind: {error:#}",
                self.name
            )
            .ok();
        }
    }
}

/// One side of a link.
#[derive(Debug)]
pub struct End<'a> {
    /// The host.
    pub host: &'a Host,
    /// Name of the device in that host.
    pub device: &'a str,
    /// Its addresses in CIDR form.
    pub addresses: &'a [&'a str],
}
