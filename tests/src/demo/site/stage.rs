//! Everything that runs at a site: networks, programs, collector, agents; and what it is asked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::fault;
use super::network::{self, Hosts};
use super::plan::{Machine, Measured, Program, Site};
use crate::demo::page::{Page, USER};
use crate::demo::show::Progress;
use crate::lab::Lab;
use crate::lab::agent::{Agent, Settings};
use crate::lab::collector::Collector;
use crate::lab::host::Host;
use crate::lab::process::Running;
use crate::lab::programs;

/// Services of the demo's own.
const SERVICE: &str = include_str!("service.py");

/// What may be, as somebody has declared it.
const MATRIX: &str = include_str!("matrix.csv");

/// Rules beside those that ship.
const RULES: &str = include_str!("rules.toml");

/// Everything that runs.
pub(super) struct Stage {
    pub(super) collector: Collector,
    pub(super) hosts: Hosts,
    pub(super) page: Page,
    token: String,
    _agents: Vec<Agent>,
    _programs: Vec<Running>,
}

impl Stage {
    /// Builds a site, and lets traffic flow when all agents measure.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub(super) fn set(lab: &Lab, site: &Site, progress: &mut Progress) -> Result<Self> {
        let count = (site.networks.len(), site.machines.len());
        progress.say(&format!("network: {} networks, {} hosts", count.0, count.1));
        let hosts = network::build(lab, site)?;
        let (servers, clients): (Vec<_>, Vec<_>) = site
            .machines
            .iter()
            .filter_map(|machine| Some((machine, machine.program.as_ref()?)))
            .partition(|(_, program)| program.port().is_some());
        progress.say("servers: nginx and python, each on a host of its own");
        let mut running = start(site, &hosts, &servers)?;
        let collector = collector(lab)?;
        let agents = measure(lab, site, &hosts, &collector)?;
        progress.say(&format!("agents: {} measure", agents.len()));
        running.extend(start(site, &hosts, &clients)?);
        let page = Page::open(&collector)?;
        let words = ["token", "add", USER, "--name", "demo", "--role", "operator"];
        let token = collector.ask(&words)?.trim().to_owned();
        Ok(Self {
            collector,
            hosts,
            page,
            token,
            _agents: agents,
            _programs: running,
        })
    }

    /// Declares the matrix, as somebody would with curl.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn declare(&self, directory: &Path) -> Result<()> {
        let file = directory.join("matrix.csv");
        std::fs::write(&file, MATRIX)?;
        let body = format!("@{}", file.display());
        let put = ["--request", "PUT", "--data-binary", &body];
        self.api("matrix?note=as+the+teams+agreed", &put)?;
        Ok(())
    }

    /// The declared matrix, held against what was seen in the last hour.
    ///
    /// # Errors
    /// When the collector does not answer.
    pub(super) fn checked(&self) -> Result<Value> {
        self.api("matrix/check", &["--request", "POST"])
    }

    /// Alerts that fire.
    ///
    /// # Errors
    /// When the collector does not answer.
    pub(super) fn alerts(&self) -> Result<Vec<Value>> {
        let answer = self.api("alerts?phase=firing", &[])?;
        let alerts = answer["alerts"].as_array().context("a list of alerts")?;
        Ok(alerts.clone())
    }

    fn api(&self, path: &str, options: &[&str]) -> Result<Value> {
        let (path, who) = (
            format!("/api/v1/{path}"),
            format!("Authorization: Bearer {}", self.token),
        );
        let first = [path.as_str(), "--header", &who];
        let text = self.collector.curl(&[&first[..], options].concat())?;
        let answer: Value =
            serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        ensure!(answer.get("error").is_none(), "{path}: {text}");
        Ok(answer)
    }
}

/// A collector with the demo's rules.
fn collector(lab: &Lab) -> Result<Collector> {
    let rules = lab.directory().join("rules");
    std::fs::create_dir(&rules)?;
    std::fs::write(rules.join("demo.toml"), RULES)?;
    let settings = format!("[alerts]\nrules = \"{}\"\n", rules.display());
    let mut collector = Collector::prepare(lab, &settings)?;
    collector.start()?;
    Ok(collector)
}

/// Starts an agent on every host that has one.
fn measure(lab: &Lab, site: &Site, hosts: &Hosts, collector: &Collector) -> Result<Vec<Agent>> {
    let mut agents = Vec::new();
    for machine in site.machines {
        let mut settings = match machine.measured {
            Measured::Not => continue,
            Measured::Fully => Settings::default(),
            Measured::BySockets => Settings::default().with("agent.hooks", "'sockets'")?,
        };
        settings = settings.with("agent.interval", "'2s'")?;
        if let Some(program) = &machine.program {
            settings = settings.with("service", &rule(machine, program))?;
        }
        let host = network::get(hosts, machine.name)?;
        let mut agent = Agent::prepare(lab, host, Some(collector), &settings)?;
        agent.start_unready()?;
        agents.push(agent);
    }
    agents.iter_mut().try_for_each(Agent::wait_ready)?;
    Ok(agents)
}

/// How the agent names what runs on its host.
fn rule(machine: &Machine, program: &Program) -> String {
    format!(
        "{{ name = '{}', match = {{ comm = '*' }}, tags = {{ namespace = '{}', team = '{}' }} }}",
        program.service(),
        machine.namespace,
        machine.team
    )
}

fn start(site: &Site, hosts: &Hosts, all: &[(&Machine, &Program)]) -> Result<Vec<Running>> {
    let mut running = Vec::new();
    let mut listening: Vec<(&Host, u16)> = Vec::new();
    for (machine, program) in all {
        let host = network::get(hosts, machine.name)?;
        let calls = program.calls().iter().map(|called| site.called(called));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        match program {
            Program::Nginx { port, .. } => {
                let each: Vec<_> = calls.into_iter().map(|at| (at, 1)).collect();
                running.push(programs::nginx_before(host, *port, &each)?.running);
            }
            Program::Script {
                service,
                port,
                every_ms,
                ..
            } => {
                let file = host.directory().join(format!("{service}.py"));
                std::fs::write(&file, SERVICE)?;
                let mut command = host.command(programs::python());
                command.arg(file).arg("--broken").arg(fault::broken(host));
                if let Some(port) = port {
                    command.args(["--port", &port.to_string()]);
                    listening.push((host, *port));
                }
                if let Some(every_ms) = every_ms {
                    let every = Duration::from_millis((*every_ms).into());
                    command.args(["--every", &every.as_secs_f64().to_string()]);
                }
                command.args(calls.iter().map(ToString::to_string));
                running.push(host.start(service, command)?);
            }
        }
    }
    for (host, port) in listening {
        programs::wait_listening(host, port)?;
    }
    Ok(running)
}
