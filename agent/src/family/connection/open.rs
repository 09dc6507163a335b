//! Opens what the plan says, or what can be had in its place; before the agent is confined.

use std::path::Path;

use anyhow::{Context as _, Result};
use bpf::abi;
use log::{debug, error, warn};

use super::decide;
use super::direction::Direction;
use super::event;
use super::kernel::{self, Loaded};
use super::observe::{self, Lister, Observer};
use super::plan::{Connection, DumpMethod};
use super::programs::Programs;
use super::running::{Running, Source};
use crate::clock;
use crate::config::Config;
use crate::family::contract::{Family, Opening};
use crate::host::HostFacts;
use crate::paths::{CGROUP_DIR, PROC_DIR};
use crate::plan::{Decision, Mode};
use crate::{fault, filters};

/// Begins to follow connections, by what can be had; `decision` then says by what.
///
/// # Errors
/// Nothing follows them: `decision` says why.
pub(crate) fn open(opening: &Opening<'_>, decision: &mut Decision) -> Result<Box<dyn Family>> {
    let (facts, config) = (opening.facts, opening.config);
    let mut plan = decide::choose(facts, config);
    let running = start(&mut plan, opening);
    let needs = running.as_ref().map(|one| one.needs(facts, config));
    let warnings = std::mem::take(&mut decision.warnings);
    *decision = plan.decision(config, needs.unwrap_or_default(), warnings);
    let running = running.context("nothing follows connections")?;
    Ok(Box::new(running))
}

/// Takes away what a killed agent left, where nothing does so on the way.
pub(crate) fn clean(decision: &Decision) {
    if decision.mode != Some(Mode::TcClone)
        && let Err(error) = filters::clean()
    {
        debug!(error = format!("{error:#}").as_str(); "filters not looked for");
    }
}

/// What the kernel says to the programs that are planned, for people who cannot try it on such a
/// kernel. Nothing is attached.
///
/// # Errors
/// No program is planned, or they cannot be opened.
pub(crate) fn try_programs(facts: &HostFacts, config: &Config) -> Result<String> {
    kernel::try_once(&decide::choose(facts, config), config)
}

fn start(plan: &mut Connection, opening: &Opening<'_>) -> Option<Running> {
    let programs = load(plan, opening);
    fault::at("programs.loaded");
    let source = match programs {
        Some(mut programs) => {
            programs.lister = list(plan, &programs.loaded, opening);
            Source::Programs(Box::new(programs))
        }
        None => Source::Sockets(Box::new(observe(plan, opening)?)),
    };
    let direction = Direction::new(Path::new(PROC_DIR));
    let limits = &opening.config.limits;
    Some(Running::new(source, limits, plan.absent, direction))
}

/// Loads what the plan says. A family that the kernel refuses is followed otherwise or skipped: the
/// agent still reports the host, and why.
fn load(plan: &mut Connection, opening: &Opening<'_>) -> Option<Programs> {
    if plan.is_by_sockets() {
        return None;
    }
    // Mapping perf buffers takes CAP_PERFMON, which is dropped later; reading them does not.
    let allowed = fault::before("programs").context("load the programs");
    let load = |()| {
        let core = opening.core.core(opening.config, plan.transport.value)?;
        kernel::apply(
            core,
            (plan, opening.keeper),
            opening.config,
            opening.in_force,
        )
    };
    let done = allowed.and_then(load).and_then(|loaded| {
        let decode = |bytes: &[u8]| event::decode(bytes).ok();
        let subscribe = |one: &Loaded| one.core.subscribe(abi::WB_FAMILY_CONNECTION, decode);
        let inbox = loaded.as_ref().map(subscribe).transpose()?;
        Ok(loaded.zip(inbox))
    });
    match done {
        Ok(done) => {
            let (loaded, inbox) = done?;
            for (program, loss) in &loaded.refused {
                warn!(program = program.as_str(), loss = loss.as_str(); "program refused");
            }
            plan.degrade(&loaded.refused);
            let there = opening.in_force.destinations.clone();
            Some(Programs::new(loaded, inbox, there))
        }
        Err(error) => {
            let reason = format!("{error:#}");
            error!(error = reason.as_str(); "programs not loaded");
            decide::fall_back(plan, opening.facts, opening.config, &reason);
            None
        }
    }
}

/// Opens what connections are followed by without programs, if the plan says so.
fn observe(plan: &mut Connection, opening: &Opening<'_>) -> Option<Observer> {
    if !plan.is_by_sockets() {
        return None;
    }
    let places = (Path::new(PROC_DIR), Path::new(CGROUP_DIR));
    let told = opening.facts.sockets.news.is_yes();
    let allowed = fault::before("sockets").context("open sockets");
    match allowed.and_then(|()| observe::open(opening.config, told, places.0)) {
        Ok(opened) => Some(Observer::new(opened, opening.config, places)),
        Err(error) => {
            let reason = format!("{error:#}");
            error!(error = reason.as_str(); "connections are not measured");
            plan.skip(&reason);
            None
        }
    }
}

/// Opens the lists of sockets that stand in for iterators, where the plan says so.
fn list(plan: &mut Connection, loaded: &Loaded, opening: &Opening<'_>) -> Option<Lister> {
    if !plan.lists_sockets() {
        return None;
    }
    let places = (Path::new(PROC_DIR), Path::new(CGROUP_DIR));
    // What an iterator found already is in the programs' table.
    let discovers = plan.discovery.value == DumpMethod::Sockets;
    let open = || -> Result<Lister> {
        fault::before("lists").context("open sockets")?;
        let mut lister = Lister::open(opening.config, places)?;
        if !discovers {
            return Ok(lister);
        }
        lister.adopt(clock::now(), |netns, port, process| {
            kernel::tell_listener(&loaded.maps.listeners, netns, port, process);
        });
        Ok(lister)
    };
    match open() {
        Ok(lister) => Some(lister),
        Err(error) => {
            let reason = format!("{error:#}");
            warn!(reason = reason.as_str(); "open connections are not looked at");
            plan.skip_lists(&reason);
            None
        }
    }
}
