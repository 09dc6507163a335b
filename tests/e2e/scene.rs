//! A site with a collector, and agents on clients and backends.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::site::{Middlebox, Nat, Site};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;

/// How long the last report may take through interval, spool, upload and store.
pub(crate) const SETTLE: Duration = Duration::from_secs(30);

/// Service name of the clients' programs.
pub(crate) const SHOP: &str = "shop";

/// Service name of the backends' programs.
pub(crate) const STOCK: &str = "stock";

/// Settings of the clients' agents and of the backends', which may be the same.
pub(crate) struct Both<'s>(pub(crate) [&'s Settings; 2]);

impl<'s> From<&'s Settings> for Both<'s> {
    fn from(settings: &'s Settings) -> Self {
        Self([settings; 2])
    }
}

impl<'s> From<[&'s Settings; 2]> for Both<'s> {
    fn from(settings: [&'s Settings; 2]) -> Self {
        Self(settings)
    }
}

/// Everything of one trial.
pub(crate) struct Scene<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) site: Site,
    pub(crate) collector: Collector,
    /// Agents in the order in which they were started.
    pub(crate) agents: Vec<Agent>,
}

impl<'a> Scene<'a> {
    /// Site and collector; no agent yet.
    pub(crate) fn bare(
        lab: &'a Lab,
        clients: usize,
        backends: usize,
        nat: Nat,
        middlebox: Middlebox,
    ) -> Result<Self> {
        let site = Site::build(lab, clients, backends, nat, middlebox)?;
        let collector = Collector::start_in(lab)?;
        Ok(Self {
            lab,
            site,
            collector,
            agents: Vec::new(),
        })
    }

    /// Site, collector, and an agent with default settings on every client and backend.
    pub(crate) fn full(
        lab: &'a Lab,
        clients: usize,
        backends: usize,
        nat: Nat,
        middlebox: Middlebox,
    ) -> Result<Self> {
        let mut scene = Self::bare(lab, clients, backends, nat, middlebox)?;
        scene.start_agents()?;
        Ok(scene)
    }

    /// Site, collector, and an agent with these settings on every client and backend.
    pub(crate) fn with<'s>(
        lab: &'a Lab,
        (clients, backends): (usize, usize),
        nat: Nat,
        middlebox: Middlebox,
        settings: impl Into<Both<'s>>,
    ) -> Result<Self> {
        let Both([near, far]) = settings.into();
        let mut scene = Self::bare(lab, clients, backends, nat, middlebox)?;
        scene.start_with(near, far)?;
        Ok(scene)
    }

    /// Starts an agent with default settings on every client and backend.
    pub(crate) fn start_agents(&mut self) -> Result<()> {
        self.start_with(&Settings::default(), &Settings::default())
    }

    /// Starts an agent with default settings on every backend and on no client.
    pub(crate) fn start_on_backends(&mut self, settings: &Settings) -> Result<()> {
        let settings = settings.clone().with("service", &rule(STOCK))?;
        for host in &self.site.backends {
            let agent = Agent::start_on(self.lab, host, Some(&self.collector), &settings)?;
            self.agents.push(agent);
        }
        Ok(())
    }

    /// Starts an agent on every client and backend with these settings.
    pub(crate) fn start_with(&mut self, clients: &Settings, backends: &Settings) -> Result<()> {
        for (hosts, settings, name) in [
            (&self.site.clients, clients, SHOP),
            (&self.site.backends, backends, STOCK),
        ] {
            for host in hosts {
                let settings = settings.clone().with("service", &rule(name))?;
                let agent = Agent::start_on(self.lab, host, Some(&self.collector), &settings)?;
                self.agents.push(agent);
            }
        }
        Ok(())
    }

    /// The agent of a host.
    pub(crate) fn agent(&self, host: &Host) -> Result<&Agent> {
        self.agents
            .iter()
            .find(|agent| agent.host.name() == host.name())
            .ok_or_else(|| anyhow::anyhow!("no agent on {}", host.name()))
    }

    /// Lets every agent report now, and waits until the topology passes `check`.
    pub(crate) fn settle(&self, mut check: impl FnMut(&Topology) -> Result<()>) -> Result<()> {
        for agent in &self.agents {
            agent.flush()?;
        }
        wait_for(SETTLE, "expected topology", || {
            check(&self.collector.topology()?)
        })
    }

    /// Waits until everything that agents know by now is in the store.
    pub(crate) fn delivered(&self) -> Result<()> {
        for agent in &self.agents {
            // The batch of an interval is sealed when its own status is made already.
            agent.report()?;
            let sealed = agent.report()?.counter("batch_sealed_total")?;
            wait_for(SETTLE, "acknowledged batches", || {
                let acked = agent.report()?.counter("upload_acked_total")?;
                ensure!(acked >= sealed, "{acked} of {sealed}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// As [`Scene::settle`], then drains every agent and checks once more: nothing may come later.
    pub(crate) fn settle_and_stop(
        &mut self,
        mut check: impl FnMut(&Topology) -> Result<()>,
    ) -> Result<()> {
        self.settle(&mut check)?;
        for agent in &mut self.agents {
            agent.stop()?;
        }
        check(&self.collector.topology()?)
    }
}

/// A service rule that names every program of a host.
pub(crate) fn rule(name: &str) -> String {
    format!("{{ name = '{name}', match = {{ comm = '*' }}, tags = {{ team = '{name}-team' }} }}")
}

/// Node id of the clients' service on a host.
pub(crate) fn shop(host: &Host) -> String {
    format!("{}/{SHOP}", host.name())
}

/// Node id of the backends' service on a host.
pub(crate) fn stock(host: &Host) -> String {
    format!("{}/{STOCK}", host.name())
}
