//! A collector of a lab, on a management network that no traffic uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::Value;

use super::host::Host;
use super::process::Running;
use super::programs;
use super::topology::Topology;
use super::wait::wait_for;
use super::{End, Lab, command};

/// Where every host of a lab reaches its collector.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 255, 1)), 9443);

/// The bearer token of every agent in a lab, as a small site begins; the network behind it is the
/// lab's own.
pub const TOKEN: &str = "lab-agent-token-0123456789abcdef";

/// The bearer token of whoever asks.
pub const READER_TOKEN: &str = "lab-reader-token-0123456789abcdef";

/// How long a collector may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A collector; it can be killed and started again with the same store.
#[derive(Debug)]
pub struct Collector {
    /// The host on which it runs; all others reach it by the management network.
    pub host: Host,
    binary: PathBuf,
    directory: PathBuf,
    running: Option<Running>,
    links: AtomicU8,
}

impl Collector {
    /// Makes keys, certificates and configuration; does not start it.
    ///
    /// # Errors
    /// When the host cannot be made or a file cannot be written.
    pub fn prepare(lab: &Lab, settings: &str) -> Result<Self> {
        let host = lab.host("collector")?;
        host.ip(&format!("address add {}/32 dev lo\n", ADDRESS.ip()))?;
        let directory = host.directory().to_owned();
        certify(&directory)?;
        std::fs::write(
            directory.join("tokens"),
            format!("# all agents of the lab\n{TOKEN} shared\n"),
        )?;
        let shown = directory.display();
        let config = format!(
            "[listen]\naddress = \"{ADDRESS}\"\n\
             cert_file = \"{shown}/server.pem\"\nkey_file = \"{shown}/server.key\"\n\
             client_ca_file = \"{shown}/ca.pem\"\n\
             [auth]\nagent_token_file = \"{shown}/tokens\"\n\
             reader_token_file = \"{shown}/reader-token\"\n\
             [store]\npath = \"{shown}/collector.db\"\n{settings}\n"
        );
        std::fs::write(directory.join("collector.toml"), config)?;
        let binary = lab.binaries().collector.clone();
        Ok(Self {
            host,
            binary,
            directory,
            running: None,
            links: AtomicU8::new(1),
        })
    }

    /// Prepares and starts a collector with default limits.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start_in(lab: &Lab) -> Result<Self> {
        let mut collector = Self::prepare(lab, "")?;
        collector.start()?;
        Ok(collector)
    }

    /// Connects a host to the management network.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn reach_from(&self, lab: &Lab, host: &Host) -> Result<()> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        lab.link(
            &End {
                host: &self.host,
                device: &format!("m-{}", host.name()),
                addresses: &[&format!("192.168.{number}.1/30")],
            },
            &End {
                host,
                device: "mgmt",
                addresses: &[&format!("192.168.{number}.2/30")],
            },
        )?;
        host.ip(&format!(
            "route add {}/32 via 192.168.{number}.1\n",
            ADDRESS.ip()
        ))
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; with what it said.
    pub fn start(&mut self) -> Result<()> {
        let mut serve = self.host.command_beside(&self.binary);
        serve.arg("serve").arg("--config").arg(self.config_file());
        let mut running = Running::start(serve, &self.directory.join("collector"))?;
        wait_for(START_DEADLINE, "answer of the collector", || {
            if let Some(status) = running.ended()? {
                bail!(
                    "collector ended with {status}: {}",
                    running.errors()?.trim()
                );
            }
            if command::exists("curl") {
                return self.curl(&["/healthz", "--fail"]).map(drop);
            }
            // A machine made for labs alone may have no curl: then what listens will answer.
            programs::listens(&self.host, ADDRESS.port())?
                .then_some(())
                .context("nothing listens")
        })?;
        self.running = Some(running);
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.running
            .take()
            .context("the collector does not run")?
            .kill()
    }

    /// Stops it with SIGTERM and returns whether it ended well.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> Result<bool> {
        let mut running = self.running.take().context("the collector does not run")?;
        running.signal(Signal::SIGTERM)?;
        Ok(running.wait(START_DEADLINE)?.success())
    }

    /// The running program.
    ///
    /// # Errors
    /// When it does not run.
    pub fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the collector does not run")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.join("collector.toml")
    }

    /// The certificate by which agents know it.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A file with the token that agents present.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.directory.join("agent-token")
    }

    /// A file with the token of whoever asks.
    #[must_use]
    pub fn reader_token_file(&self) -> PathBuf {
        self.directory.join("reader-token")
    }

    /// A client certificate and its key, signed by the lab's CA.
    #[must_use]
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (
            self.directory.join("client.pem"),
            self.directory.join("client.key"),
        )
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.directory.join("collector.db")
    }

    /// Its binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The topology of the whole time, straight from the store.
    ///
    /// # Errors
    /// When the command fails or answers otherwise than the contract says.
    pub fn topology(&self) -> Result<Topology> {
        let text = self.query("topology", "json")?;
        serde_json::from_str(&text).with_context(|| format!("topology {text}"))
    }

    /// The hosts and what their agents reported about themselves.
    ///
    /// # Errors
    /// When the command fails or does not answer JSON.
    pub fn hosts(&self) -> Result<Value> {
        serde_json::from_str(&self.query("hosts", "json")?).context("hosts")
    }

    /// Runs `waybill-collector <arguments> --config <its configuration>`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut ask = Command::new(&self.binary);
        ask.args(arguments).arg("--config").arg(self.config_file());
        command::run(&mut ask)
    }

    /// Runs `waybill-collector <what>` on the store.
    ///
    /// # Errors
    /// When the command fails.
    pub fn query(&self, what: &str, format: &str) -> Result<String> {
        let mut query = Command::new(&self.binary);
        query
            .arg(what)
            .arg("--store")
            .arg(self.store())
            .args(["--format", format]);
        command::run(&mut query)
    }

    /// Asks its API with curl; the first argument is the path, the others are curl's.
    ///
    /// # Errors
    /// When curl cannot connect; an answer of any status is returned.
    pub fn curl(&self, arguments: &[&str]) -> Result<String> {
        let (path, rest) = arguments.split_first().context("no path")?;
        let mut curl = self.host.command_beside("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
        curl.arg(self.ca_file())
            .args(rest)
            .arg(format!("https://{ADDRESS}{path}"));
        command::run(&mut curl)
    }
}

/// Writes a CA, a server certificate for [`ADDRESS`], a client certificate and both tokens.
fn certify(directory: &Path) -> Result<()> {
    let mut ca = CertificateParams::new(Vec::new())?;
    // OpenSSL takes a certificate for self-signed when its names are those of its issuer.
    ca.distinguished_name.push(DnType::CommonName, "lab CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    std::fs::write(directory.join("ca.pem"), issuer.pem())?;
    let address = ADDRESS.ip().to_string();
    for (name, purpose, names) in [
        (
            "server",
            ExtendedKeyUsagePurpose::ServerAuth,
            vec![address, "collector.lab".to_owned()],
        ),
        (
            "client",
            ExtendedKeyUsagePurpose::ClientAuth,
            vec!["agent.lab".to_owned()],
        ),
    ] {
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages.push(purpose);
        let leaf = leaf.signed_by(&key, &issuer)?;
        std::fs::write(directory.join(format!("{name}.pem")), leaf.pem())?;
        write_secret(&directory.join(format!("{name}.key")), &key.serialize_pem())?;
    }
    write_secret(&directory.join("reader-token"), READER_TOKEN)?;
    write_secret(&directory.join("agent-token"), TOKEN)
}

/// Writes a file that only its owner may read, as the programs demand of secrets.
///
/// # Errors
/// Those of the file system.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
