//! What a fleet is told: taken by its agents without a restart, told back, and refused or rolled
//! back where it must be.

pub(crate) mod fleet;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Agent;
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::site::{Family, SERVICE_PORT};
use tests::lab::wait::{wait_for, wait_until};

use crate::case::{Case, SOON, case};
use crate::listener::rows;
use crate::nat::start_servers;
use crate::scene::{SETTLE, shop};
use fleet::{Agents, Ordered, USUAL, counter, said};

pub(crate) const CASES: &[Case] = &[
    case(
        "orders::one_command_turns_the_option_off_fleet_wide_and_on_again_without_a_restart",
        |lab| switch(lab, "auto"),
    ),
    case(
        "orders::one_command_turns_copies_off_fleet_wide_and_on_again_without_a_restart",
        |lab| switch(lab, "tc-clone"),
    ),
    case(
        "orders::hosts_destinations_and_families_can_be_chosen",
        choice,
    ),
    case(
        "orders::forged_replayed_and_unknown_orders_are_refused_and_counted",
        refused,
    ),
    case(
        "orders::without_a_key_orders_are_not_even_asked_for",
        keyless,
    ),
    case(
        "orders::an_agent_that_is_cut_off_goes_back_to_the_orders_before",
        roll_back,
    ),
];

/// Intervals from the command to the first report without the option: one may be closing already,
/// the next one fetches the orders, the one after it tells.
const INTERVALS: u64 = 3;

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
    ordered
        .agent(client)?
        .report()?
        .counter("option_written_total")
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
    let before = agent.report()?.counter("batch_sealed_total")?;
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
    ordered.scene.delivered()?;
    let before = events(&ordered)?;
    ordered.connect(1, 5)?;
    ensure!(
        written(&ordered, 1, 15)? == 10,
        "not written to what both allow"
    );
    ordered.scene.delivered()?;
    ensure!(
        events(&ordered)? == before,
        "sightings although they are off"
    );
    families(&ordered, &second)
}

/// A family goes off by its name, and what it counted meanwhile comes when it is on again.
fn families(ordered: &Ordered<'_>, host: &Host) -> Result<()> {
    let unknown = ordered.order(&["set", "--family", "listnr=off"]);
    let said = format!("{:#}", unknown.expect_err("no such family"));
    ensure!(
        said.contains("one of the families connection, listener, nat"),
        "{said}"
    );
    let version = ordered.order(&["set", "--family", "listener=off"])?;
    ordered.says(host, &format!("version {version}: "))?;
    ordered.says(host, "listener off")?;
    ordered.scene.delivered()?;
    let port = SERVICE_PORT + 7;
    let shows = || -> Result<bool> {
        ordered.scene.delivered()?;
        let rows = rows(&ordered.scene, "listener", true)?;
        Ok(rows.iter().any(|row| row["values"]["local_port"] == port))
    };
    let _server = programs::serve(host, port, &[])?;
    // Its first interval may have begun before the server.
    ensure!(!shows()? && !shows()?, "listeners although they are off");
    ordered.order(&["set", "--family", "listener=default"])?;
    wait_until(SETTLE, "the listener that came meanwhile", || {
        Ok(shows()?.then_some(()))
    })
}

/// Sightings in the store.
fn events(ordered: &Ordered<'_>) -> Result<i64> {
    let store = rusqlite::Connection::open(ordered.scene.collector.store())?;
    Ok(store.query_row("SELECT count(*) + (SELECT coalesce(sum(row_count), 0) FROM block WHERE kind BETWEEN 1 AND 15) FROM sighting", (), |row| row.get(0))?)
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
    let mut ordered = Ordered::new(lab, 1, USUAL)?;
    let client = ordered.client(0).clone();
    let first = ordered.order(&["option", "off"])?;
    ordered.says(&client, &format!("version {first}: option off"))?;
    wait_for(SETTLE, "proven orders", || {
        let agent = ordered.agent(&client)?;
        agent.flush()?;
        let said = said(agent)?;
        ensure!(!said.contains("on trial"), "{said}");
        Ok(())
    })?;
    // No connection is left, and one can be made: the orders come over it, and the next one, which is
    // to prove them, finds no way.
    ordered.scene.collector.kill()?;
    ordered.admit("drop")?;
    ordered.scene.collector.start()?;
    let second = ordered.order(&["option", "on"])?;
    ordered.admit("limit rate 1/day burst 1 packets accept")?;
    ordered.says(&client, &format!("version {second}: option on (on trial)"))?;
    let agent = ordered.agent(&client)?;
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
    ordered.admit("accept")?;
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
