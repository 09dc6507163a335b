//! A site with gateway, collector, agents and servers, and exact traffic through it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::programs::{self, Server};
use tests::lab::site::{Family, Nat, SERVICE_PORT, Site};
use tests::lab::topology::{Expected, Topology, nat, vip};
use tests::lab::wait::{wait_for, wait_until};

use super::SETTLE;

/// Service name of the clients' programs.
pub(super) const SHOP: &str = "shop";

/// Service name of the backends' programs.
pub(super) const STOCK: &str = "stock";

/// Everything of one shape.
pub(super) struct Stage {
    // Dropped in this order: programs before the lab that they are in.
    pub(super) agents: Vec<Agent>,
    pub(super) servers: Vec<Server>,
    pub(super) collector: Collector,
    pub(super) site: Site,
    pub(super) nat: Nat,
}

impl Stage {
    /// A collector and servers for a site; no agent yet.
    pub(super) fn set(lab: &Lab, site: Site, nat: Nat) -> Result<Self> {
        let servers = site
            .backends
            .iter()
            .map(|host| programs::serve(host, SERVICE_PORT, &[]))
            .collect::<Result<_>>()?;
        Ok(Self {
            agents: Vec::new(),
            servers,
            collector: Collector::start_in(lab)?,
            site,
            nat,
        })
    }

    /// Starts an agent on every client and backend.
    pub(super) fn start_agents(&mut self, lab: &Lab, settings: &Settings) -> Result<()> {
        for (hosts, name) in [(&self.site.clients, SHOP), (&self.site.backends, STOCK)] {
            for host in hosts {
                let settings = settings.clone().with("service", &rule(name))?;
                let agent = Agent::start_on(lab, host, Some(&self.collector), &settings)?;
                self.agents.push(agent);
            }
        }
        Ok(())
    }

    /// Opens `count` connections one after the other and returns the edges that they must become.
    pub(super) fn send(&self, family: Family, count: u64) -> Result<Vec<Expected>> {
        let before = self.served(family)?;
        let count_text = count.to_string();
        let target = self.site.target(family);
        let seen = self.site.clients[0].connect(target, &["--count", &count_text])?;
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
            let of_family = server
                .served()?
                .into_iter()
                .filter(|entry| entry.peer.is_ipv6() == (family == Family::V6));
            served.insert(backend, of_family.count() as u64);
        }
        Ok(served)
    }

    fn expected(&self, family: Family, backend: usize, connections: u64) -> Expected {
        let mut via = Vec::new();
        if self.nat.virtual_address() {
            via.push(vip(self.site.target(family)));
        }
        if self.nat.hides_client() {
            via.push(nat(self.site.gateway_ip(backend, family)));
        }
        Expected {
            client: node(&self.site.clients[0], SHOP),
            server: node(&self.site.backends[backend], STOCK),
            endpoint: self.site.backend(backend, family),
            connections,
            via,
        }
    }

    /// The topology without the edges of the other IP version.
    pub(super) fn topology(&self, family: Family) -> Result<Topology> {
        let mut topology = self.collector.topology()?;
        let six = family == Family::V6;
        topology
            .edges
            .retain(|edge| edge.server_endpoint.starts_with('[') == six);
        Ok(topology)
    }

    /// Lets every agent report now, and waits until the topology passes `check`.
    pub(super) fn settle(
        &self,
        family: Family,
        mut check: impl FnMut(&Topology) -> Result<()>,
    ) -> Result<()> {
        for agent in &self.agents {
            // An agent that a fault killed says nothing; its edges will be missing.
            agent.flush().ok();
        }
        wait_for(SETTLE, "expected topology", || {
            check(&self.topology(family)?)
        })
    }

    /// The agent of a host.
    ///
    /// # Errors
    /// When none was started there.
    pub(super) fn agent(&self, host: &Host) -> Result<&Agent> {
        let mut agents = self.agents.iter();
        agents
            .find(|agent| agent.host.name() == host.name())
            .with_context(|| format!("no agent on {}", host.name()))
    }
}

/// How many of the expected edges are there, with exact counts.
pub(super) fn found(topology: &Topology, expected: &[Expected]) -> u64 {
    let there = |want: &&Expected| {
        topology.edges.iter().any(|edge| {
            edge.client == want.client
                && edge.server == want.server
                && edge.server_endpoint == want.endpoint.to_string()
                && edge.connections == want.connections
        })
    };
    expected.iter().filter(there).count() as u64
}

/// A service rule that names every program of a host.
pub(super) fn rule(name: &str) -> String {
    format!("{{ name = '{name}', match = {{ comm = '*' }} }}")
}

/// Node id of a service on a host.
pub(super) fn node(host: &Host, service: &str) -> String {
    format!("{}/{service}", host.name())
}
