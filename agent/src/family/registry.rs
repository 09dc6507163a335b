//! The families there are, one line for each.
//!
//! From facts to decisions ([`decide`]), from decisions to what runs ([`open`]).

use log::warn;

use super::contract::{Family, Opening};
use super::{connection, nat};
use crate::calls::Caller;
use crate::config::Config;
use crate::host::HostFacts;
use crate::plan::{Decision, JailNeeds, Needs, Plan};

/// What the registry has of a family.
struct Entry {
    /// Chooses a variant or skips the family, by the facts and the operator's wishes. Pure.
    decide: fn(&HostFacts, &Config) -> Decision,
    /// Opens what it reads, before the agent is confined.
    open: fn(&Opening<'_>) -> anyhow::Result<Box<dyn Family>>,
    /// What it leaves out at a level of the governor, in an operator's words.
    shed: fn(u8) -> Vec<String>,
    /// Whose system calls are its own.
    callers: &'static [Caller],
}

/// Every family that runs by itself, but `connection`, which has the option and its programs beside
/// what all have. `process` and `host` have no source of their own: they tell of all.
const FAMILIES: [Entry; 1] = [Entry {
    decide: nat::decide,
    open: nat::open,
    shed: nat::shed,
    callers: &[nat::TRACKING],
}];

/// Chooses for each family a variant, or skips it with a reason. Pure.
#[must_use]
pub fn decide(facts: &HostFacts, config: &Config) -> Plan {
    let connection = connection::decide::choose(facts, config);
    let uses = connection::decide::Uses::planned(&connection);
    let families: Vec<Decision> = FAMILIES
        .iter()
        .map(|entry| (entry.decide)(facts, config))
        .collect();
    let mut needs = vec![connection::decide::needs(facts, config, &uses)];
    needs.extend(families.iter().map(|one| one.needs.clone()));
    let mut warnings = connection::decide::warnings(facts, config, &connection.mode);
    warnings.extend(families.iter().flat_map(|one| one.warnings.clone()));
    Plan {
        jail: JailNeeds::decide(facts, config, &needs),
        connection,
        families,
        warnings,
    }
}

/// What was opened, and the process that keeps packet filters.
#[derive(Debug)]
pub struct Opened {
    /// The families that run.
    pub families: Vec<Box<dyn Family>>,
    /// Process id.
    pub keeper: Option<i32>,
}

/// Opens every family that is planned. One that cannot be opened is skipped, which costs that family
/// and not the agent; the jail is left what those need that were opened.
#[must_use]
pub fn open(plan: &mut Plan, opening: &Opening<'_>) -> Opened {
    let Opening { facts, config, .. } = *opening;
    let keeper = plan.jail.keeper.clone();
    let connection = connection::open(&mut plan.connection, keeper.as_ref(), opening);
    let mut needs: Vec<Needs> = Vec::new();
    needs.extend(connection.as_ref().map(|one| one.needs(facts, config)));
    let mut opened = Opened {
        keeper: connection.as_ref().and_then(|one| one.keeper()),
        families: Vec::new(),
    };
    if let Some(connection) = connection {
        opened.families.push(Box::new(connection));
    }
    let planned = FAMILIES.iter().zip(&mut plan.families);
    for (entry, decision) in planned.filter(|(_, decision)| decision.runs()) {
        match (entry.open)(opening) {
            Ok(family) => {
                needs.push(decision.needs.clone());
                opened.families.push(family);
            }
            Err(error) => {
                let (family, reason) = (decision.family, format!("{error:#}"));
                warn!(family = family, reason = reason.as_str(); "family skipped");
                decision.skip(reason);
            }
        }
    }
    plan.settle(facts, config, &needs);
    opened
}

/// What all families leave out at a level of the governor, in an operator's words.
#[must_use]
pub fn shed(level: u8) -> String {
    let mut all = connection::shed(level);
    all.extend(FAMILIES.iter().flat_map(|entry| (entry.shed)(level)));
    match all.is_empty() {
        true => "nothing is left out".to_owned(),
        false => all.join(", "),
    }
}

/// Everyone who may need system calls, the families' own callers behind those that all have.
pub fn callers() -> impl Iterator<Item = Caller> {
    let own = FAMILIES.iter().flat_map(|entry| entry.callers);
    Caller::ALL.into_iter().chain(own.copied())
}
