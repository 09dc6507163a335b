//! The hosts, programs and agents of the demo, and what its programs counted themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::page::Page;
use super::show::Progress;
use crate::lab::Lab;
use crate::lab::agent::{Agent, Settings};
use crate::lab::collector::{ADDRESS, Collector};
use crate::lab::programs::{self, Server};
use crate::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use crate::lab::topology::{Expected, nat, vip};
use crate::lab::wait::wait_until;

/// How long a server's log may lag behind the client.
const LOG_DEADLINE: Duration = Duration::from_secs(10);

/// The service that the operator's rule names on the client.
const CHECKOUT: &str = "checkout";

/// The services on the two backends: nginx and python's http server.
const SERVICES: [&str; 2] = ["catalog", "stock"];

/// Everything that runs.
pub(super) struct Stage {
    pub(super) collector: Collector,
    site: Site,
    servers: [Server; 2],
    agents: Vec<Agent>,
    succeeded: u64,
}

impl Stage {
    /// Builds network, servers, collector and agents.
    pub(super) fn set(lab: &Lab, progress: &mut Progress) -> Result<Self> {
        progress.say("network: client1 -> gateway (FULLNAT, IPv4 and IPv6) -> backend1, backend2");
        let site = Site::build(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
        progress.say("servers: nginx on backend1, python3 -m http.server on backend2");
        let files = lab.directory().join("files");
        std::fs::create_dir(&files)?;
        std::fs::write(
            files.join("page"),
            "a page that both backends serve\n".repeat(100),
        )?;
        let servers = [
            programs::nginx(&site.backends[0], SERVICE_PORT, &files, "")?,
            programs::python_http(&site.backends[1], SERVICE_PORT, &files)?,
        ];
        progress.say(&format!(
            "collector: https://{ADDRESS} on a management network"
        ));
        let collector = Collector::start_in(lab)?;
        let rules = [
            (&site.clients[0], CHECKOUT, "exe = '*curl'", "shop"),
            (&site.backends[0], SERVICES[0], "comm = 'nginx'", "goods"),
            (&site.backends[1], SERVICES[1], "comm = 'python3*'", "goods"),
        ];
        let mut agents = Vec::new();
        for (host, name, matcher, team) in rules {
            let rule = format!(
                "{{ name = '{name}', match = {{ {matcher} }}, tags = {{ team = '{team}' }} }}"
            );
            let settings = Settings::default().with("service", &rule)?;
            let agent = Agent::start_on(lab, host, Some(&collector), &settings)?;
            let mode = agent.status()?.mode;
            progress.say(&format!(
                "agent: {} measures, injection mode {mode}",
                host.name()
            ));
            agents.push(agent);
        }
        Ok(Self {
            collector,
            site,
            servers,
            agents,
            succeeded: 0,
        })
    }

    /// Sends `count` requests for each IP version, a connection each, to the virtual address.
    pub(super) fn send(&mut self, count: u64, progress: &mut Progress) -> Result<()> {
        for family in Family::BOTH {
            let target = self.site.target(family);
            progress.say(&format!(
                "traffic: curl on client1 fetches http://{target}/page {count}x"
            ));
            let fetched = programs::curl(&self.site.clients[0], target, "page", count)?;
            ensure!(
                fetched.succeeded == count,
                "curl fetched {} of {count}",
                fetched.succeeded
            );
            self.succeeded += fetched.succeeded;
        }
        Ok(())
    }

    /// The edges that must be there by what the programs counted so far.
    pub(super) fn expected(&self) -> Result<Vec<Expected>> {
        // Servers log a request after they have answered it.
        let served = wait_until(LOG_DEADLINE, "log line of every request", || {
            let served = [
                nginx_served(&self.servers[0])?,
                python_served(&self.servers[1])?,
            ];
            let total: u64 = served.iter().flatten().sum();
            Ok((total >= self.succeeded).then_some(served))
        })?;
        let total: u64 = served.iter().flatten().sum();
        ensure!(
            total == self.succeeded,
            "servers logged {total}, curl counted {}",
            self.succeeded
        );
        let mut edges = Vec::new();
        for (index, family) in Family::BOTH.into_iter().enumerate() {
            for (backend, served) in served.iter().enumerate() {
                edges.push(Expected {
                    client: format!("{}/{CHECKOUT}", self.site.clients[0].name()),
                    server: format!(
                        "{}/{}",
                        self.site.backends[backend].name(),
                        SERVICES[backend]
                    ),
                    endpoint: self.site.backend(backend, family),
                    connections: served[index],
                    via: vec![
                        vip(self.site.target(family)),
                        nat(self.site.gateway_ip(backend, family)),
                    ],
                });
            }
        }
        Ok(edges)
    }

    /// Lets every agent report now instead of at the end of its interval.
    pub(super) fn flush(&self) -> Result<()> {
        self.agents.iter().try_for_each(Agent::flush)
    }

    /// Lets browsers of this machine in, and says by which link, as long as what is given back is
    /// kept.
    pub(super) fn open_page(&self, progress: &mut Progress) -> Result<Page> {
        let page = Page::open(&self.collector)?;
        let link = page.link(&self.collector, "24h")?;
        progress.say(&format!(
            "page: {} (its certificate is the lab's own)",
            page.url
        ));
        progress.say(&format!("log in, once: {link}"));
        Ok(page)
    }

    /// Says how the API can be reached.
    pub(super) fn say_where(&self, progress: &mut Progress) {
        let token = self.collector.reader_token_file();
        progress.say(&format!(
            "API: ip netns exec {} curl --cacert {} -H \"Authorization: Bearer $(cat {})\" \
             https://{ADDRESS}/api/v1/topology",
            self.collector.host.netns(),
            self.collector.ca_file().display(),
            token.display(),
        ));
        progress.say(&format!(
            "table: {} topology --store {}",
            self.collector.binary().display(),
            self.collector.store().display(),
        ));
    }
}

/// Requests that nginx answered, by IP version of the connection.
fn nginx_served(server: &Server) -> Result<[u64; 2]> {
    let mut counts = [0; 2];
    for line in server.text()?.lines() {
        let mut words = line.split(' ');
        let (address, status) = (words.next().context("address")?, words.nth(1));
        if status == Some("200") {
            counts[usize::from(address.contains(':'))] += 1;
        }
    }
    Ok(counts)
}

/// Requests that python answered; its one socket shows IPv4 clients as mapped addresses.
fn python_served(server: &Server) -> Result<[u64; 2]> {
    let mut counts = [0; 2];
    for line in server
        .text()?
        .lines()
        .filter(|line| line.contains("\" 200 "))
    {
        counts[usize::from(!line.starts_with("::ffff:"))] += 1;
    }
    Ok(counts)
}
