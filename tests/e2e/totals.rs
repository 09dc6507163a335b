//! Whatever becomes of batches, totals are exact after the next totals and never too high before.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{Collector, TOKEN};
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;
use wire::{Batch, BatchHeader, CONTENT_TYPE, EdgeRow, Endpoint, ProcessRow, Role};

use crate::bad_batch::{Post, post};
use crate::case::{Case, case};
use crate::loss::fill;
use crate::scene::{SETTLE, SHOP, Scene, rule};

pub(crate) const CASES: &[Case] = &[
    case(
        "totals::lost_late_doubled_and_reordered_batches_leave_exact_totals",
        reordered,
    )
    .needing(&[Need::Program("curl")]),
    case(
        "totals::what_a_refused_batch_added_comes_with_the_next_one",
        refused,
    ),
];

/// Connections that each interval of a run adds.
const ADDED: [u64; 8] = [5, 7, 1, 4, 2, 9, 3, 6];

/// Connections up to the end of an interval.
fn upto(sequence: u64) -> u64 {
    let intervals = usize::try_from(sequence).expect("a small number");
    ADDED[..intervals].iter().sum()
}

/// An agent whose intervals are of one second, of which the last ends now.
#[derive(Clone, Copy)]
struct Counting {
    host: u8,
    now_ms: u64,
}

impl Counting {
    /// The batch of an interval, with what it added and the totals, or one of them.
    fn batch(self, sequence: u64, added: bool, total: bool) -> Batch {
        let endpoint = |text: &str| -> Endpoint {
            let address: std::net::SocketAddr = text.parse().expect("a literal address");
            address.into()
        };
        let ends = (
            1,
            Role::Client,
            endpoint(&format!("10.66.0.{}:0", self.host)),
            endpoint("10.66.0.100:80"),
        );
        let end_ms = self.now_ms - 1000 * (ADDED.len() as u64 - sequence);
        let row = |total, opened| EdgeRow {
            total,
            opened,
            closed: opened,
            bytes_sent: opened * 100,
            ..EdgeRow::new(ends, 1, self.now_ms - 1000 * ADDED.len() as u64)
        };
        let mut edges = Vec::new();
        edges.extend(added.then(|| row(false, upto(sequence) - upto(sequence - 1))));
        edges.extend(total.then(|| row(true, upto(sequence))));
        Batch {
            header: BatchHeader {
                host: [self.host; 16],
                boot: [8; 16],
                sequence,
                start_ms: end_ms - 1000,
                end_ms,
            },
            processes: vec![ProcessRow {
                process_id: 1,
                tgid: 42,
                service: format!("service-{}", self.host),
                ..ProcessRow::default()
            }],
            edges,
            ..Batch::default()
        }
    }

    fn send(self, collector: &Collector, sequence: u64, body: Vec<u8>) -> Result<()> {
        let host = format!("{:02x}", self.host).repeat(16);
        let sent = Post {
            name: "an interval",
            body,
            key: format!("{host}-{}-{sequence}", "08".repeat(16)),
            media: CONTENT_TYPE,
            token: TOKEN,
            status: "200",
        };
        let (status, body) = post(collector, &sent)?;
        ensure!(status == sent.status, "batch {sequence}: {status} {body}");
        Ok(())
    }

    /// What the collector knows of its connections.
    fn counted(self, collector: &Collector) -> Result<u64> {
        let topology = collector.topology()?;
        let name = format!("/service-{}", self.host);
        let mut edges = topology.unjoined.iter();
        let edge = edges
            .find(|edge| edge.client.ends_with(&name))
            .context("the edge")?;
        let side = edge.client_side()?;
        let bytes = side.bytes_sent;
        ensure!(bytes == side.opened * 100, "{bytes} bytes");
        Ok(side.opened)
    }
}

/// On the wire: batches in an order of their own, one of them lost, and a collector that is killed in
/// between; beside them those of an agent that was not upgraded.
fn reordered(lab: &Lab) -> Result<()> {
    let mut collector = Collector::start_in(lab)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ms = u64::try_from(now.as_millis())?;
    let (new, old) = (Counting { host: 7, now_ms }, Counting { host: 9, now_ms });
    let send = |collector: &Collector, sequence: u64| -> Result<()> {
        let batch = new.batch(sequence, true, sequence == 5 || sequence == 8);
        new.send(collector, sequence, wire::encode(&batch))?;
        let batch = old.batch(sequence, false, true);
        old.send(collector, sequence, format1::encode(&batch))
    };
    for sequence in [2, 1, 1, 4] {
        send(&collector, sequence)?;
    }
    let (shown, known) = (new.counted(&collector)?, upto(4) - 1);
    ensure!(shown == known, "{shown} and not {known} without the third");
    ensure!(old.counted(&collector)? == upto(4), "cumulative as before");
    collector.kill()?;
    collector.start()?;
    for sequence in [7, 5, 4] {
        send(&collector, sequence)?;
    }
    let (shown, known) = (new.counted(&collector)?, upto(7) - 9);
    ensure!(shown == known, "{shown} and not {known} without the sixth");
    ensure!(old.counted(&collector)? == upto(7), "cumulative as before");
    // What comes later than its totals adds nothing.
    for sequence in [8, 8, 3, 6] {
        send(&collector, sequence)?;
        for agent in [new, old] {
            let (shown, all) = (agent.counted(&collector)?, upto(8));
            ensure!(shown == all, "{shown} of {all} after the last total");
        }
    }
    Ok(())
}

/// The collector refuses a batch for good, and the agent tells what was in it once more.
fn refused(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let mut collector = Collector::prepare(lab, "[limits]\nbatch_rows = 300\n")?;
    collector.start()?;
    let scene = Scene {
        lab,
        site,
        collector,
        agents: Vec::new(),
    };
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let large = Settings::default()
        .with("limits.sightings_per_interval", "60000")?
        .with("limits.events_per_interval", "60000")?
        .with("service", &rule(SHOP))?;
    let client = scene.site.clients[0].clone();
    let agent = Agent::start_on(lab, &client, Some(&scene.collector), &large)?;
    let opened = fill(&scene, &agent)?;
    wait_for(SETTLE, "a refused batch", || {
        agent.flush()?;
        let refused = agent.status()?.counter("upload_dropped_refused_total")?;
        ensure!(refused > 0, "nothing was refused, so nothing was proven");
        Ok(())
    })?;
    let target = scene.site.target(Family::V4).to_string();
    wait_for(SETTLE, "the totals", || {
        agent.flush()?;
        let topology = scene.collector.topology()?;
        let edges = topology.unjoined.iter();
        let edges = edges.filter(|edge| edge.server_endpoint == target);
        let mut counted = (0, 0);
        for edge in edges {
            let side = edge.client_side()?;
            counted = (counted.0 + side.opened, counted.1 + side.reset_local);
        }
        ensure!(
            counted == (opened, opened),
            "{counted:?} of {opened} connections"
        );
        Ok(())
    })
}
