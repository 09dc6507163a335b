//! The collector that is measured, and what the kernel says of it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use collector::tls;
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::pki::Authority;
use crate::wait::wait_until;

/// Most agents of a fleet.
pub(crate) const MOST_AGENTS: u32 = 10_000;
/// The token of whoever asks.
pub(crate) const READER: &str = "a-reader-of-this-bench";

/// `USER_HZ`: what `/proc` counts processor time in, whatever the kernel's own clock.
const TICKS_PER_SECOND: u64 = 100;

/// The token of an agent.
pub(crate) fn token(agent: u32) -> String {
    format!("a-token-of-this-bench-{agent:06}")
}

/// Processor time that a process takes in [`QUIET`] that has nothing to do, at most.
const REST: Duration = Duration::from_millis(60);
/// How long it takes none.
const QUIET: Duration = Duration::from_secs(4);

/// Where a collector stores.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// In a file of its own.
    File,
    /// On servers that others share: their addresses, and the cluster that they are.
    Shared(Vec<String>, &'static str),
}

/// A collector and its folder.
pub(crate) struct Server {
    folder: TempDir,
    program: PathBuf,
    kind: Kind,
    child: Child,
    pub(crate) at: SocketAddr,
    ca: String,
}

/// What the process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Of all threads, in both modes.
    pub(crate) cpu: Duration,
    /// Of these, what the threads took that work on what is stored already, at their own pace.
    pub(crate) beside: Duration,
    /// Bytes that it caused to be written to disk.
    pub(crate) written: u64,
    /// Bytes of the store's pages that hold something.
    pub(crate) used: u64,
    /// Bytes of the store's file.
    pub(crate) file: u64,
    /// Most memory at any time.
    pub(crate) peak: u64,
}

impl Server {
    pub(crate) fn start(program: &Path, retention: &str) -> Result<Self> {
        let authority = Authority::new("authority of a bench");
        Self::start_on(program, retention, &authority, &Kind::File)
    }

    pub(crate) fn start_on(
        program: &Path,
        retention: &str,
        authority: &Authority,
        kind: &Kind,
    ) -> Result<Self> {
        // Not in memory: what is written to disk is measured.
        let folder = TempDir::new_in(program.parent().context("the program has no folder")?)?;
        let identity = authority.server();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("server.crt"), &identity.certificate)?;
        std::fs::write(path("server.key"), &identity.key)?;
        let tokens: Vec<String> = (0..MOST_AGENTS).map(token).collect();
        std::fs::write(path("tokens"), tokens.join("\n"))?;
        std::fs::write(path("readers"), format!("{READER}\n"))?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, at) = serve(program, &folder, (retention, kind), anywhere)?;
        Ok(Self {
            kind: kind.clone(),
            program: program.to_owned(),
            folder,
            child,
            at,
            ca: authority.pem.clone(),
        })
    }

    /// Ends it in order and starts it again, at the same address.
    pub(crate) fn restart(&mut self, retention: &str) -> Result<()> {
        self.end("TERM")?;
        (self.child, self.at) = serve(
            &self.program,
            &self.folder,
            (retention, &self.kind),
            self.at,
        )?;
        Ok(())
    }

    /// Kills it without a warning and starts it again, at the same address.
    pub(crate) fn kill(&mut self, retention: &str) -> Result<()> {
        self.end("KILL")?;
        (self.child, self.at) = serve(
            &self.program,
            &self.folder,
            (retention, &self.kind),
            self.at,
        )?;
        Ok(())
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        let id = self.child.id().to_string();
        if !Command::new("kill")
            .args(["-s", signal, &id])
            .status()?
            .success()
        {
            bail!("kill failed");
        }
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("collector.db")
    }

    pub(crate) fn client(&self) -> Result<ureq::Agent> {
        let ca = Certificate::from_pem(self.ca.as_bytes())?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(vec![ca])))
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        Ok(ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .new_agent())
    }

    /// Status and body of what a reader asks.
    pub(crate) fn ask(&self, client: &ureq::Agent, path: &str) -> Result<(u16, String)> {
        let mut answer = client
            .get(format!("https://{}{path}", self.at))
            .header("Authorization", format!("Bearer {READER}"))
            .call()?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()?;
        Ok((answer.status().as_u16(), body))
    }

    /// The collector's own counters, by name; of those with labels the sum.
    pub(crate) fn counter(&self, client: &ureq::Agent, name: &str) -> Result<u64> {
        let (_, text) = self.ask(client, "/metrics")?;
        let full = format!("waybill_collector_{name}");
        let values = text.lines().filter_map(|line| {
            let (found, value) = line.rsplit_once(' ')?;
            let found = found.split('{').next()?;
            (found == full || found == name).then(|| value.parse::<u64>().ok())?
        });
        let values: Vec<u64> = values.collect();
        if values.is_empty() {
            bail!("the collector has no counter {name}");
        }
        Ok(values.iter().sum())
    }

    /// Processor time of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }

    /// Most memory that it took at any time, bytes.
    pub(crate) fn peak(&self) -> Result<u64> {
        peak(self.child.id())
    }

    /// Waits until it has had nothing to do for some seconds.
    pub(crate) fn settle(&self, within: Duration) -> Result<()> {
        let (mut last, mut since) = (self.cpu()?, Instant::now());
        wait_until(within, "end of its work", || {
            let now = self.cpu()?;
            if now > last + REST {
                (last, since) = (now, Instant::now());
            }
            Ok((since.elapsed() > QUIET).then_some(()))
        })
    }

    pub(crate) fn taken(&self, client: &ureq::Agent) -> Result<Taken> {
        let id = self.child.id();
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{id}/{name}"))
                .with_context(|| format!("read {name} of the collector"))
        };
        Ok(Taken {
            cpu: self.cpu()?,
            beside: cpu_of_threads(id, &BESIDE)?,
            written: field(&read("io")?, "write_bytes:").context("io of the collector")?,
            used: self.counter(client, "store_used_bytes")?,
            file: self.counter(client, "store_file_bytes")?,
            peak: self.peak()?,
        })
    }
}

/// Processor time of all threads of a process.
pub(crate) fn cpu(id: u32) -> Result<Duration> {
    cpu_in(&format!("/proc/{id}"))
}

/// Threads that join and judge.
const BESIDE: [&str; 2] = ["join", "judge"];

/// Processor time of those threads of a process that have one of these names.
fn cpu_of_threads(id: u32, names: &[&str]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{id}/task")).context("list threads")? {
        let thread = thread?.path();
        // One that ends meanwhile took what it took before.
        let Ok(name) = std::fs::read_to_string(thread.join("comm")) else {
            continue;
        };
        if names.contains(&name.trim_end()) {
            sum += cpu_in(&thread.display().to_string())?;
        }
    }
    Ok(sum)
}

fn cpu_in(place: &str) -> Result<Duration> {
    let stat =
        std::fs::read_to_string(format!("{place}/stat")).context("read stat of a process")?;
    // Behind the name of the program, which may hold anything.
    let (_, stat) = stat.rsplit_once(')').context("stat of a process")?;
    let ticks: u64 = stat
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse::<u64>)
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Most memory that a process took at any time, bytes.
pub(crate) fn peak(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok(field(&status, "VmHWM:").context("memory of a process")? << 10)
}

/// A number of a file of `/proc`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(
    program: &Path,
    folder: &TempDir,
    (retention, kind): (&str, &Kind),
    at: SocketAddr,
) -> Result<(Child, SocketAddr)> {
    let dir = folder.path().display();
    let config = folder.path().join("collector.toml");
    let kind = match kind {
        Kind::File => String::new(),
        Kind::Shared(urls, cluster) => format!(
            "kind = \"clickhouse\"\n[store.clickhouse]\nurls = {urls:?}\ncluster = \"{cluster}\"\n"
        ),
    };
    let text = format!(
        "[listen]\naddress = \"{at}\"\ncert_file = \"{dir}/server.crt\"\n\
         key_file = \"{dir}/server.key\"\n[auth]\nagent_token_file = \"{dir}/tokens\"\n\
         reader_token_file = \"{dir}/readers\"\n[store]\npath = \"{dir}/collector.db\"\n\
         retention = \"{retention}\"\n{kind}"
    );
    std::fs::write(&config, text)?;
    let mut child = Command::new(program)
        .arg("serve")
        .arg("--config")
        .arg(&config)
        // As the packages' unit.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_MMAP_THRESHOLD_", "4194304")
        .env("MALLOC_TRIM_THRESHOLD_", "16777216")
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let mut log = BufReader::new(child.stderr.take().context("no standard error")?);
    let mut said = String::new();
    loop {
        let before = said.len();
        if log.read_line(&mut said)? == 0 {
            bail!("the collector ended before it listened:\n{said}");
        }
        let Some((_, rest)) = said[before..].split_once("listening address=") else {
            continue;
        };
        let address = rest.split_whitespace().next().context("no address")?;
        let at = address.parse()?;
        // Whatever else it says must not fill the pipe.
        std::thread::Builder::new()
            .name(String::from("log"))
            .spawn(move || {
                let mut line = String::new();
                while log.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    line.clear();
                }
            })?;
        return Ok((child, at));
    }
}
