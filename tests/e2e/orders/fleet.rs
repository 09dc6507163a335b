//! A site whose fleet takes orders.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use ring::signature::Ed25519KeyPair;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::site::{Family, Middlebox, Nat, Site};
use tests::lab::wait::wait_for;
use tests::lab::{Lab, command};

use crate::case::SOON;
use crate::scene::{SETTLE, Scene};

/// How agents are configured.
#[derive(Clone, Copy)]
pub(crate) enum Agents {
    /// They take no orders.
    WithoutKey,
    /// They take orders and write the option in this way.
    Mode(&'static str),
}

/// The way that the kernel has.
pub(crate) const USUAL: Agents = Agents::Mode("auto");

/// A site whose fleet takes orders.
pub(crate) struct Ordered<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) key: PathBuf,
}

impl<'a> Ordered<'a> {
    pub(crate) fn new(lab: &'a Lab, clients: usize, agents: Agents) -> Result<Self> {
        let key = lab.directory().join("orders.key");
        let mut keygen = Command::new(&lab.binaries().collector);
        command::run(keygen.args(["fleet", "keygen", "--out"]).arg(&key))?;
        let site = Site::build(lab, clients, 1, Nat::Direct, Middlebox::Plain)?;
        let configured = format!("[fleet]\nsigning_key_file = {key:?}");
        let mut collector = Collector::prepare(lab, &configured)?;
        collector.start()?;
        let mut scene = Scene {
            lab,
            site,
            collector,
            agents: Vec::new(),
        };
        let public = format!("'{}.pub'", key.display());
        let settings = match agents {
            Agents::WithoutKey => Settings::default(),
            Agents::Mode(mode) => Settings::default()
                .with("fleet.public_key_file", &public)?
                .with("option.mode", &format!("'{mode}'"))?,
        };
        scene.start_with(&settings, &settings)?;
        Ok(Self { scene, key })
    }

    /// Gives an order; returns its version.
    pub(crate) fn order(&self, arguments: &[&str]) -> Result<u64> {
        let said = self
            .scene
            .collector
            .ask(&[&["fleet"], arguments].concat())?;
        let version = said
            .strip_prefix("version ")
            .and_then(|said| said.split(':').next());
        let version = version.with_context(|| format!("no version in {said}"))?;
        version.parse().context(said.clone())
    }

    pub(crate) fn agent(&self, host: &Host) -> Result<&Agent> {
        self.scene.agent(host)
    }

    pub(crate) fn client(&self, index: usize) -> &Host {
        &self.scene.site.clients[index]
    }

    pub(crate) fn backend(&self) -> &Host {
        &self.scene.site.backends[0]
    }

    /// Opens connections from a client.
    pub(crate) fn connect(&self, index: usize, count: u64) -> Result<()> {
        let to = self.scene.site.backend(0, Family::V4);
        let seen = self
            .client(index)
            .connect(to, &["--count", &count.to_string()])?;
        ensure!(seen.iter().all(|one| one.error.is_empty()), "{seen:?}");
        Ok(())
    }

    /// Says what the collector's host lets in of the first client's new connections.
    pub(crate) fn admit(&self, few: &str) -> Result<()> {
        let device = format!("m-{}", self.client(0).name());
        let new = format!("iifname \"{device}\" tcp dport 9443 tcp flags syn / syn,ack");
        self.scene.collector.host.nft(&format!(
            "table inet cut\ndelete table inet cut\ntable inet cut {{\n\
             chain in {{ type filter hook input priority 0; policy accept;\n\
             {new} {few}\n{new} drop\n }}\n}}\n"
        ))
    }

    /// Waits until an agent says this of its orders, and lets it report meanwhile.
    pub(crate) fn says(&self, host: &Host, words: &str) -> Result<()> {
        let agent = self.agent(host)?;
        wait_for(SETTLE, &format!("{words:?} of {}", host.name()), || {
            agent.flush()?;
            let said = said(agent)?;
            ensure!(said.contains(words), "orders: {said}");
            Ok(())
        })
    }

    /// Signs a text with the fleet's key and puts it into the store as the newest orders.
    pub(crate) fn smuggle(&self, version: u64, body: &str, forged: bool) -> Result<()> {
        let text = std::fs::read_to_string(&self.key)?;
        let mut seed = Vec::new();
        for at in (0..64).step_by(2) {
            seed.push(u8::from_str_radix(&text[at..at + 2], 16)?);
        }
        seed[0] ^= u8::from(forged);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| anyhow!("no key"))?;
        let store = rusqlite::Connection::open(self.scene.collector.store())?;
        store.busy_timeout(SOON)?;
        store.execute(
            "INSERT INTO orders (version, made_ms, body, signature) VALUES (?1, 0, ?2, ?3)",
            (
                i64::try_from(version)?,
                body,
                pair.sign(body.as_bytes()).as_ref(),
            ),
        )?;
        Ok(())
    }
}

/// What an agent says of its orders.
pub(crate) fn said(agent: &Agent) -> Result<String> {
    let plan = agent.status()?.plan;
    let row = plan.into_iter().find(|(name, _)| name == "orders");
    Ok(row.map_or_else(|| "nothing".into(), |(_, said)| said))
}

pub(crate) fn counter(agent: &Agent, name: &str) -> Result<u64> {
    agent.status()?.counter(name)
}
