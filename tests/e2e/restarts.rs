//! Agents that start anew, or are killed, while connections stay open.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::session::{Connection, Session};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::{Counters, Topology};
use tests::program::pattern::Header;

use crate::case::{Case, SOON, case};
use crate::clone;
use crate::observe::sockets;
use crate::scene::{Scene, shop, stock};

pub(crate) const CASES: &[Case] = &[
    case("restarts::what_is_held_over_them_is_counted_once", |lab| {
        held(lab, &Settings::default(), false)
    }),
    case(
        "restarts::what_is_held_over_them_is_counted_once_where_copies_are_made",
        |lab| held(lab, &clone::mode(clone::CLONE)?, false),
    ),
    case(
        "restarts::what_is_held_over_them_is_counted_once_where_sockets_show_it",
        |lab| held(lab, &sockets()?, false),
    ),
    case(
        "restarts::what_is_older_than_all_agents_is_counted_once",
        |lab| held(lab, &Settings::default(), true),
    ),
    case(
        "restarts::what_is_older_than_all_agents_is_counted_once_where_sockets_show_it",
        |lab| held(lab, &sockets()?, true),
    ),
];

/// Connections that stay open.
const COUNT: u64 = 5;
/// Pattern bytes of one round, up and down.
const ROUND: (u64, u64) = (700, 900);
/// The same while an agent is away.
const UNSEEN: (u64, u64) = (3000, 5000);

/// How an agent ends.
#[derive(Clone, Copy, Debug)]
enum How {
    Stopped,
    Killed,
}

/// Whose agents end together (0 the client's, 1 the server's), and how.
const ENDS: [(&[usize], How); 4] = [
    (&[0], How::Stopped),
    (&[1], How::Killed),
    (&[0, 1], How::Stopped),
    (&[0, 1], How::Killed),
];

/// What each side must have counted by now: sent and received.
#[derive(Debug, Default)]
struct Truth([(u64, u64); 2]);

impl Truth {
    /// Each connection carried one exchange, which the sides without an agent did not see.
    fn add(&mut self, (up, down): (u64, u64), away: &[usize]) {
        let (up, down) = (COUNT * (up + Header::LENGTH as u64), COUNT * down);
        for (side, (sent, received)) in self.0.iter_mut().enumerate() {
            if away.contains(&side) {
                continue;
            }
            let (out, back) = if side == 0 { (up, down) } else { (down, up) };
            (*sent, *received) = (*sent + out, *received + back);
        }
    }
}

fn held(lab: &Lab, settings: &Settings, older: bool) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = scene.site.backends[0].clone();
    let _server = programs::serve(&backend, SERVICE_PORT, &[])?;
    let endpoint = scene.site.backend(0, Family::V4);
    let mut truth = Truth::default();
    if !older {
        scene.start_with(settings, settings)?;
    }
    let mut session = Session::start(&scene.site.clients[0], SOON)?;
    let mut open = Vec::new();
    for _ in 0..COUNT {
        open.push(session.open(endpoint)?);
    }
    if older {
        exchange(&mut session, &open, UNSEEN)?;
        scene.start_with(settings, settings)?;
    }
    exchange(&mut session, &open, ROUND)?;
    truth.add(ROUND, &[]);
    let begun = if older { (0, COUNT) } else { (COUNT, 0) };
    scene.settle(|topology| check(&scene, topology, begun, 0, &truth))?;
    for (away, how) in ENDS {
        for side in away {
            match how {
                How::Stopped => scene.agents[*side].stop()?,
                How::Killed => scene.agents[*side].kill()?,
            }
        }
        exchange(&mut session, &open, UNSEEN)?;
        truth.add(UNSEEN, away);
        for side in away {
            scene.agents[*side].start()?;
        }
        exchange(&mut session, &open, ROUND)?;
        truth.add(ROUND, &[]);
        scene
            .settle(|topology| check(&scene, topology, begun, 0, &truth))
            .map_err(|error| error.context(format!("{how:?}, {away:?}")))?;
    }
    for connection in open {
        session.close(connection)?;
    }
    scene.settle(|topology| check(&scene, topology, begun, COUNT, &truth))?;
    for agent in &mut scene.agents {
        agent.stop()?;
    }
    check(&scene, &scene.collector.topology()?, begun, COUNT, &truth)
}

fn exchange(session: &mut Session, on: &[Connection], (up, down): (u64, u64)) -> Result<()> {
    for connection in on {
        session.exchange(connection, up, down)?;
    }
    Ok(())
}

/// One edge, over the whole time, as if no agent had ever ended.
fn check(
    scene: &Scene<'_>,
    topology: &Topology,
    (opened, adopted): (u64, u64),
    closed: u64,
    truth: &Truth,
) -> Result<()> {
    let [client, backend] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    let text = topology.brief();
    let edge = topology.edge(&shop(&client), scene.site.backend(0, Family::V4))?;
    ensure!(edge.server == stock(&backend), "{text}");
    let others = topology.edges.len() - 1 + topology.unjoined.len();
    ensure!(others == 0 && edge.connections == COUNT, "{text}");
    ensure!(topology.ambiguous_tokens == 0, "ambiguous tokens: {text}");
    let sides = [edge.client_side()?, edge.server_side()?];
    for (name, (side, bytes)) in ["client", "server"].iter().zip(sides.iter().zip(&truth.0)) {
        let Counters {
            opened: was_opened,
            adopted: was_adopted,
            closed: was_closed,
            open,
            ..
        } = **side;
        let seen = (was_opened, was_adopted, was_closed, open);
        let right = (opened, adopted, closed, COUNT - closed);
        ensure!(seen == right, "{name}: {seen:?} instead of {right:?}");
        let counted = (side.bytes_sent, side.bytes_received);
        ensure!(
            counted == *bytes,
            "{name}: bytes {counted:?} instead of {bytes:?}"
        );
    }
    Ok(())
}
