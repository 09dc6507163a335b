//! A site with collector, agents and servers, and exact traffic through it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::programs::{self, Server};
use tests::lab::site::{Family, Site};
use tests::lab::topology::{Expected, Topology, nat, vip};
use tests::lab::wait::{wait_for, wait_until};

use super::gateway::Gateway;
use super::run::SETTLE;

/// Service name of the clients' programs.
pub(super) const SHOP: &str = "shop";

/// Service name of the backends' programs.
pub(super) const STOCK: &str = "stock";

/// Everything that outlives one gateway.
pub(super) struct Stage {
    // Dropped in this order: programs before the network that they are in.
    /// The client's first.
    pub(super) agents: Vec<Agent>,
    pub(super) collector: Collector,
    pub(super) site: Site,
}

impl Stage {
    /// A collector for a site; no agent yet.
    pub(super) fn set(lab: &Lab, site: Site) -> Result<Self> {
        Ok(Self {
            agents: Vec::new(),
            collector: Collector::start_in(lab)?,
            site,
        })
    }

    /// Starts an agent on the client and every backend.
    /// Clients' settings come first.
    pub(super) fn start_agents(&mut self, lab: &Lab, settings: &[Settings; 2]) -> Result<()> {
        let sides = [(&self.site.clients, SHOP), (&self.site.backends, STOCK)];
        for ((hosts, name), settings) in sides.into_iter().zip(settings) {
            for host in hosts {
                // Who only listens for workers owns nothing: an edge with it is a wrong one.
                let settings = settings.clone().with("service", &listens_only())?;
                let settings = settings.with("service", &rule(name))?;
                let agent = Agent::start_on(lab, host, Some(&self.collector), &settings)?;
                self.agents.push(agent);
            }
        }
        Ok(())
    }

    /// Lets every agent drain and end.
    pub(super) fn stop_agents(&mut self) -> Result<()> {
        self.agents.iter_mut().try_for_each(Agent::stop)
    }

    /// Servers for one gateway.
    pub(super) fn serve(&self, gateway: Gateway) -> Result<Route<'_>> {
        self.serve_with(gateway, &[])
    }

    /// Servers for one gateway whose workers accept on the listener of another process, where the
    /// agents can tell the two.
    pub(super) fn serve_by_workers(&self, gateway: Gateway) -> Result<Route<'_>> {
        match self.is_by_sockets() {
            true => self.serve(gateway),
            false => self.serve_with(gateway, &["--workers", "2"]),
        }
    }

    /// Whether an agent follows connections without programs: then processes that end at once are
    /// not seen.
    pub(super) fn is_by_sockets(&self) -> bool {
        self.agents.iter().any(|agent| {
            // One that a fault killed says nothing.
            let plan = agent.status().map(|status| status.plan).unwrap_or_default();
            plan.iter()
                .any(|(_, said)| said.starts_with("packet and diagnostic"))
        })
    }

    fn serve_with(&self, gateway: Gateway, options: &[&str]) -> Result<Route<'_>> {
        let port = gateway.service_port();
        let hosts = self.site.backends.iter();
        Ok(Route {
            stage: self,
            gateway,
            servers: hosts
                .map(|host| programs::serve(host, port, options))
                .collect::<Result<_>>()?,
        })
    }
}

/// The way through one gateway, with the servers at its end.
pub(super) struct Route<'a> {
    stage: &'a Stage,
    gateway: Gateway,
    servers: Vec<Server>,
}

impl Route<'_> {
    /// Opens `count` connections one after the other and returns the edges that they must become.
    pub(super) fn send(&self, family: Family, count: u64) -> Result<Vec<Expected>> {
        let site = &self.stage.site;
        let before = self.served(family)?;
        let target = self.gateway.target(site, family);
        let seen = site.clients[0].connect(target, &["--count", &count.to_string()])?;
        let failed = seen.iter().find(|connection| !connection.error.is_empty());
        ensure!(failed.is_none(), "traffic to {target} failed: {failed:?}");
        let served = wait_until(SETTLE, "log of every connection", || {
            let mut served = self.served(family)?;
            for (backend, count) in &mut served {
                *count -= before.get(backend).copied().unwrap_or(0);
            }
            Ok((served.values().sum::<u64>() >= count).then_some(served))
        })?;
        let sent: u64 = served.values().sum();
        ensure!(sent == count, "{sent} connections served of {count}");
        Ok(served
            .into_iter()
            .filter(|(_, connections)| *connections > 0)
            .map(|(backend, connections)| self.expected(family, backend, connections))
            .collect())
    }

    /// Connections that each backend served so far.
    fn served(&self, family: Family) -> Result<BTreeMap<usize, u64>> {
        let mut served = BTreeMap::new();
        for (backend, server) in self.servers.iter().enumerate() {
            let all = server.served()?.into_iter();
            let of_family = all.filter(|entry| entry.peer.is_ipv6() == (family == Family::V6));
            served.insert(backend, of_family.count() as u64);
        }
        Ok(served)
    }

    fn expected(&self, family: Family, backend: usize, connections: u64) -> Expected {
        let site = &self.stage.site;
        let mut via = Vec::new();
        if self.gateway.nat().virtual_address() {
            via.push(vip(self.gateway.target(site, family)));
        }
        if self.gateway.nat().hides_client() {
            via.push(nat(site.gateway_ip(backend, family)));
        }
        Expected {
            client: node(&site.clients[0], SHOP),
            server: node(&site.backends[backend], STOCK),
            endpoint: self.gateway.backend(site, backend, family),
            connections,
            via,
        }
    }

    /// Lets every agent report now, and waits until the topology passes `check`.
    pub(super) fn settle(
        &self,
        family: Family,
        mut check: impl FnMut(&Topology) -> Result<()>,
    ) -> Result<()> {
        for agent in &self.stage.agents {
            // An agent that a fault killed says nothing; its edges will be missing.
            agent.flush().ok();
        }
        let mut picture = Picture::default();
        wait_for(SETTLE, "expected topology", || {
            let seen = picture.look(&self.stage.collector)?;
            check(&through(seen, self.stage, self.gateway, family))
        })
    }
}

/// The last topology; a new one is asked for when it may be another.
///
/// To ask again and again would keep an emulated processor from what is waited for.
#[derive(Default)]
pub(super) struct Picture {
    topology: Topology,
    asked: Option<(Instant, [Stored; 2])>,
}

/// Size and time of a file.
type Stored = (u64, Option<SystemTime>);

impl Picture {
    /// The topology as it is now, or was within the last second and before any change on disk.
    ///
    /// # Errors
    /// Those of the collector.
    pub(super) fn look(&mut self, collector: &Collector) -> Result<&Topology> {
        const OLD: Duration = Duration::from_secs(1);
        let stored = stored(collector);
        let fresh = |(at, seen): &(Instant, _)| at.elapsed() < OLD && *seen == stored;
        if !self.asked.as_ref().is_some_and(fresh) {
            self.topology = collector.topology()?;
            self.asked = Some((Instant::now(), stored));
        }
        Ok(&self.topology)
    }
}

/// The collector's database and its log: nothing is stored without changing one.
fn stored(collector: &Collector) -> [Stored; 2] {
    let store = collector.store();
    [store.clone(), store.with_extension("db-wal")].map(|file| {
        let metadata = std::fs::metadata(file).ok();
        let changed = metadata.as_ref().and_then(|file| file.modified().ok());
        (metadata.map_or(0, |file| file.len()), changed)
    })
}

/// Of a topology, the edges through one gateway with one IP version.
pub(super) fn through(
    topology: &Topology,
    stage: &Stage,
    gateway: Gateway,
    family: Family,
) -> Topology {
    let mut topology = topology.clone();
    let port = format!(":{}", gateway.service_port());
    topology.edges.retain(|edge| {
        let to = &edge.server_endpoint;
        to.ends_with(&port) && to.starts_with('[') == (family == Family::V6)
    });
    // Of the others, those of this gateway explain what is missing.
    let target = gateway.target(&stage.site, family).to_string();
    let seen = &mut topology.unjoined;
    seen.retain(|edge| edge.server_endpoint == target || edge.server_endpoint.ends_with(&port));
    topology
}

/// How many of the expected edges are there, with exact counts.
pub(super) fn found(topology: &Topology, expected: &[Expected]) -> u64 {
    let there = |want: &&Expected| {
        let mut edges = topology.edges.iter();
        edges.any(|edge| {
            edge.client == want.client
                && edge.server == want.server
                && edge.server_endpoint == want.endpoint.to_string()
                && edge.connections == want.connections
        })
    };
    expected.iter().filter(there).count() as u64
}

/// A service rule for who listens and leaves it to workers to accept.
fn listens_only() -> String {
    "{ name = 'manager', match = { comm = 'manager' } }".into()
}

/// A service rule that names every program of a host.
pub(super) fn rule(name: &str) -> String {
    format!("{{ name = '{name}', match = {{ comm = '*' }} }}")
}

/// Node id of a service on a host.
pub(super) fn node(host: &Host, service: &str) -> String {
    format!("{}/{service}", host.name())
}
