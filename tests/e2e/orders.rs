//! What a fleet is told: taken by its agents without a restart, told back, and refused or rolled
//! back where it must be.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ring::signature::Ed25519KeyPair;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::site::{Family, Middlebox, Nat, Site};
use tests::lab::wait::{wait_for, wait_until};
use tests::lab::{Lab, command};

use crate::case::{Case, SOON};
use crate::nat::start_servers;
use crate::scene::{SETTLE, Scene, shop};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "orders::one_command_turns_the_option_off_fleet_wide_and_on_again_without_a_restart",
        needs: &[],
        alone: false,
        run: |lab| switch(lab, "auto"),
    },
    Case {
        name: "orders::one_command_turns_copies_off_fleet_wide_and_on_again_without_a_restart",
        needs: &[],
        alone: false,
        run: |lab| switch(lab, "tc-clone"),
    },
    Case {
        name: "orders::hosts_destinations_and_families_can_be_chosen",
        needs: &[],
        alone: false,
        run: choice,
    },
    Case {
        name: "orders::forged_replayed_and_unknown_orders_are_refused_and_counted",
        needs: &[],
        alone: false,
        run: refused,
    },
    Case {
        name: "orders::without_a_key_orders_are_not_even_asked_for",
        needs: &[],
        alone: false,
        run: keyless,
    },
    Case {
        name: "orders::an_agent_that_is_cut_off_goes_back_to_the_orders_before",
        needs: &[],
        alone: false,
        run: roll_back,
    },
];

/// Intervals from the command to the first report without the option: one may be closing already,
/// the next one fetches the orders, the one after it tells.
const INTERVALS: u64 = 3;

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
    key: PathBuf,
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
    fn order(&self, arguments: &[&str]) -> Result<u64> {
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

    fn agent(&self, host: &Host) -> Result<&Agent> {
        self.scene.agent(host)
    }

    fn client(&self, index: usize) -> &Host {
        &self.scene.site.clients[index]
    }

    fn backend(&self) -> &Host {
        &self.scene.site.backends[0]
    }

    /// Opens connections from a client.
    fn connect(&self, index: usize, count: u64) -> Result<()> {
        let to = self.scene.site.backend(0, Family::V4);
        let seen = self
            .client(index)
            .connect(to, &["--count", &count.to_string()])?;
        ensure!(seen.iter().all(|one| one.error.is_empty()), "{seen:?}");
        Ok(())
    }

    /// Waits until an agent says this of its orders, and lets it report meanwhile.
    fn says(&self, host: &Host, words: &str) -> Result<()> {
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
fn said(agent: &Agent) -> Result<String> {
    let plan = agent.status()?.plan;
    let row = plan.into_iter().find(|(name, _)| name == "orders");
    Ok(row.map_or_else(|| "nothing".into(), |(_, said)| said))
}

fn counter(agent: &Agent, name: &str) -> Result<u64> {
    agent.status()?.counter(name)
}

/// Waits until an agent has counted so many of its connections, and says how many options it wrote.
fn written(ordered: &Ordered<'_>, index: usize, opened: u64) -> Result<u64> {
    let client = ordered.client(index);
    let to = ordered.scene.site.backend(0, Family::V4);
    ordered.scene.settle(|topology| {
        let either = topology.edge(&shop(client), to);
        let near = either.or_else(|_| topology.outward(&shop(client), to))?;
        let near = near.client_side()?.opened;
        ensure!(near == opened, "{near} of {opened} connections");
        Ok(())
    })?;
    counter(ordered.agent(client)?, "option_written_total")
}

fn switch(lab: &Lab, mode: &'static str) -> Result<()> {
    let mut ordered = Ordered::new(lab, 1, Agents::Mode(mode))?;
    let _servers = start_servers(&ordered.scene.site, &[])?;
    let client = ordered.client(0).clone();
    let pids: Vec<i32> = pids(&ordered)?;
    ordered.connect(0, 10)?;
    let mut opened = 10;
    ensure!(
        written(&ordered, 0, opened)? == 10,
        "the option was not written before"
    );

    let version = ordered.order(&["option", "off"])?;
    let agent = ordered.agent(&client)?;
    let before = counter(agent, "batch_sealed_total")?;
    // Traffic all the time, so that each interval has something to report.
    let after = wait_until(SETTLE, "an agent that obeys", || {
        ordered.connect(0, 1)?;
        opened += 1;
        let status = agent.status()?;
        let obeys = said(agent)?.contains("option off");
        obeys
            .then(|| status.counter("batch_sealed_total"))
            .transpose()
    })?;
    ensure!(
        after - before <= INTERVALS,
        "the option was off after {} intervals",
        after - before
    );
    ordered.says(&client, &format!("version {version}: option off"))?;
    ordered.says(ordered.backend(), "option off")?;
    let stopped = written(&ordered, 0, opened)?;
    ordered.connect(0, 20)?;
    opened += 20;
    ensure!(
        written(&ordered, 0, opened)? == stopped,
        "options although they are off"
    );
    by_sequence(&ordered)?;
    acknowledged(&ordered, version, "option off")?;
    ensure!(pids == self::pids(&ordered)?, "an agent was restarted");

    ordered.scene.collector.kill()?;
    restart_obeys(
        &mut ordered,
        &client,
        &format!("version {version}: option off"),
    )?;
    // Neither of its files can be read: what they said is not known, and may have been this.
    for name in ["orders.json", "orders.json.copy"] {
        let state = ordered.agent(&client)?.rootfs().join("var/lib/waybill");
        let file = std::fs::File::options()
            .write(true)
            .open(state.join(name))?;
        file.set_len(20)?;
    }
    restart_obeys(&mut ordered, &client, "those of the last run are lost")?;
    ordered.scene.collector.start()?;
    ordered.says(&client, &format!("version {version}: option off"))?;

    let version = ordered.order(&["option", "on"])?;
    ordered.says(&client, &format!("version {version}: option on"))?;
    let agent = ordered.agent(&client)?;
    ordered.connect(0, 5)?;
    wait_for(SETTLE, "options again", || {
        agent.flush()?;
        let written = counter(agent, "option_written_total")?;
        ensure!(written == 5, "{written} options");
        Ok(())
    })
}

fn pids(ordered: &Ordered<'_>) -> Result<Vec<i32>> {
    ordered.scene.agents.iter().map(Agent::pid).collect()
}

/// Connections without a waybill are joined by what both kernels numbered.
fn by_sequence(ordered: &Ordered<'_>) -> Result<()> {
    let to = ordered.scene.site.backend(0, Family::V4);
    ordered.scene.settle(|topology| {
        let edge = topology.edge(&shop(ordered.client(0)), to)?;
        let kinds: Vec<_> = edge.evidence.iter().map(|one| one.kind.as_str()).collect();
        ensure!(kinds.contains(&"sequence"), "evidence {kinds:?}");
        Ok(())
    })
}

/// The collector knows that every host has it.
fn acknowledged(ordered: &Ordered<'_>, version: u64, says: &str) -> Result<()> {
    let row = format!("version {version}: {says}");
    wait_for(SETTLE, "acknowledged orders", || {
        let hosts = ordered.scene.collector.hosts()?.to_string();
        ensure!(
            hosts.matches(&row).count() == ordered.scene.agents.len(),
            "{hosts}"
        );
        let shown = ordered.scene.collector.ask(&["fleet", "show"])?;
        let agents = ordered.scene.agents.len();
        let all = format!("in force on {agents} of {agents} hosts");
        ensure!(shown.contains(&all), "{shown}");
        Ok(())
    })
}

/// An agent that was killed and starts where no collector answers begins with the orders it had.
fn restart_obeys(ordered: &mut Ordered<'_>, client: &Host, says: &str) -> Result<()> {
    let agents = &mut ordered.scene.agents;
    let agent = agents
        .iter_mut()
        .find(|agent| agent.host.name() == client.name());
    let agent = agent.context("the client's agent")?;
    agent.kill()?;
    agent.start()?;
    ordered.says(client, says)?;
    ordered.connect(0, 5)?;
    let agent = ordered.agent(client)?;
    wait_for(SOON, "connections of the new run", || {
        agent.flush()?;
        let status = agent.status()?;
        ensure!(
            status.counter("kernel_connections_inserted_total")? >= 5,
            "no connections"
        );
        Ok(())
    })?;
    let written = counter(agent, "option_written_total")?;
    ensure!(written == 0, "{written} options after a restart");
    Ok(())
}

fn choice(lab: &Lab) -> Result<()> {
    let ordered = Ordered::new(lab, 2, USUAL)?;
    let _servers = start_servers(&ordered.scene.site, &[])?;
    let (first, second) = (ordered.client(0).clone(), ordered.client(1).clone());
    ordered.order(&["set", "--sample-level", "0", "--hosts", "nobody-*"])?;
    let version = ordered.order(&["option", "off", "--hosts", "client1"])?;
    ordered.says(&first, &format!("version {version}: option off"))?;
    ordered.says(
        &second,
        &format!("version {version}: nothing for this host"),
    )?;
    ordered.connect(0, 5)?;
    ordered.connect(1, 5)?;
    ensure!(written(&ordered, 0, 5)? == 0, "the first host writes");
    ensure!(
        written(&ordered, 1, 5)? == 5,
        "the second host does not write"
    );

    // What everybody is told takes back the exception; only a part of the destinations is left.
    ordered.order(&["option", "on"])?;
    let version = ordered.order(&["set", "--destinations", "10.2.9.0/24,172.16.0.0/16"])?;
    for host in [&first, &second] {
        ordered.says(
            host,
            &format!("version {version}: option on, destinations 10.2.9.0/24"),
        )?;
    }
    ordered.connect(1, 5)?;
    ensure!(
        written(&ordered, 1, 10)? == 5,
        "written to what is not in the list"
    );
    let agent = ordered.agent(&second)?;
    ensure!(
        counter(agent, "option_not_allowed_total")? >= 5,
        "not counted"
    );

    // A wider list is no wider than the configuration; without sightings there is no token.
    let wide = [
        "set",
        "--destinations",
        "0.0.0.0/0",
        "--sightings",
        "off",
        "--events",
        "off",
    ];
    let version = ordered.order(&wide)?;
    for host in [&first, &second, ordered.backend()] {
        ordered.says(host, &format!("version {version}: "))?;
    }
    let before = events(&ordered)?;
    ordered.connect(1, 5)?;
    ensure!(
        written(&ordered, 1, 15)? == 10,
        "not written to what both allow"
    );
    ensure!(
        events(&ordered)? == before,
        "sightings although they are off"
    );
    Ok(())
}

/// Sightings in the store.
fn events(ordered: &Ordered<'_>) -> Result<i64> {
    let store = rusqlite::Connection::open(ordered.scene.collector.store())?;
    Ok(store.query_row("SELECT count(*) FROM sighting", (), |row| row.get(0))?)
}

fn refused(lab: &Lab) -> Result<()> {
    let ordered = Ordered::new(lab, 1, USUAL)?;
    let client = ordered.client(0).clone();
    let agent = ordered.agent(&client)?;
    let version = ordered.order(&["set", "--sample-level", "1"])?;
    let right = format!("version {version}: sample_level 1");
    ordered.says(&client, &right)?;
    let text = |version, rest: &str| format!("waybill-orders 1\nversion {version}\n{rest}");
    let off = "hosts *\noption off\n";
    let wrong = [
        (
            true,
            text(version + 1, off),
            "orders_refused_signature_total",
        ),
        (false, text(version - 1, off), "orders_refused_older_total"),
        (
            false,
            text(version + 3, "hosts *\noption off\nexec /bin/sh\n"),
            "orders_refused_invalid_total",
        ),
        (false, "not orders".into(), "orders_refused_invalid_total"),
    ];
    for (newest, (forged, body, name)) in (version + 10..).zip(wrong) {
        ordered.smuggle(newest, &body, forged)?;
        let before = counter(agent, name)?;
        wait_for(SETTLE, name, || {
            agent.flush()?;
            ensure!(counter(agent, name)? > before, "{name} does not grow");
            Ok(())
        })?;
        let said = said(agent)?;
        ensure!(said.starts_with(&right), "orders changed: {said}");
        let store = rusqlite::Connection::open(ordered.scene.collector.store())?;
        store.execute("DELETE FROM orders WHERE made_ms = 0", ())?;
    }
    // And it still takes what is right.
    let version = ordered.order(&["set", "--sample-level", "2"])?;
    ordered.says(&client, &format!("version {version}: sample_level 2"))
}

fn keyless(lab: &Lab) -> Result<()> {
    let ordered = Ordered::new(lab, 1, Agents::WithoutKey)?;
    let _servers = start_servers(&ordered.scene.site, &[])?;
    ordered.order(&["option", "off"])?;
    ordered.connect(0, 5)?;
    ensure!(written(&ordered, 0, 5)? == 5, "orders were obeyed");
    let agent = ordered.agent(ordered.client(0))?;
    ensure!(
        counter(agent, "orders_ignored_total")? == 0,
        "orders were sent"
    );
    let shown = ordered.scene.collector.ask(&["fleet", "show"])?;
    ensure!(shown.contains("client1: takes no orders"), "{shown}");
    Ok(())
}

fn roll_back(lab: &Lab) -> Result<()> {
    let ordered = Ordered::new(lab, 1, USUAL)?;
    let client = ordered.client(0).clone();
    let agent = ordered.agent(&client)?;
    let first = ordered.order(&["option", "off"])?;
    ordered.says(&client, &format!("version {first}: option off"))?;
    wait_for(SETTLE, "proven orders", || {
        agent.flush()?;
        let said = said(agent)?;
        ensure!(!said.contains("on trial"), "{said}");
        Ok(())
    })?;
    // A connection of a moment ago is there: the orders come over it. The next one finds no way.
    let nft = |rules: &str| ordered.scene.collector.host.nft(rules);
    agent.flush()?;
    nft(
        "table inet cut { chain in { type filter hook input priority 0; policy accept;\n\
         tcp dport 9443 tcp flags syn / syn,ack drop\n }\n}\n",
    )?;
    let second = ordered.order(&["option", "on"])?;
    ordered.says(&client, &format!("version {second}: option on (on trial)"))?;
    let rolled = format!("version {first}: option off ({second} rolled back");
    let found = wait_until(Duration::from_secs(60), "orders rolled back", || {
        agent.flush()?;
        Ok(said(agent)?.starts_with(&rolled).then_some(()))
    });
    found.with_context(|| format!("last said: {:?}", said(agent)))?;
    ensure!(
        counter(agent, "orders_rolled_back_total")? == 1,
        "not counted"
    );
    nft("delete table inet cut\n")?;
    wait_for(Duration::from_secs(60), "a collector that knows", || {
        agent.flush()?;
        let hosts = ordered.scene.collector.hosts()?.to_string();
        ensure!(hosts.contains(&rolled), "{hosts}");
        Ok(())
    })?;
    // It is not taken again, but the next one is.
    let third = ordered.order(&["option", "on"])?;
    ordered.says(&client, &format!("version {third}: option on"))
}
