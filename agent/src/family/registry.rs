//! The families there are, one line for each.
//!
//! From facts to decisions ([`decide`]), from decisions to what runs ([`open`]).

use anyhow::Result;
use log::warn;

use super::contract::{Family, Opening};
use super::{connection, host, listener, nat, process};
use crate::calls::Caller;
use crate::config::{Config, FamilySetting};
use crate::host::HostFacts;
use crate::plan::{Decision, JailNeeds, Needs, Plan};

/// What the registry has of a family.
struct Entry {
    /// Chooses a variant or skips the family, by the facts and the operator's wishes. Pure.
    decide: fn(&HostFacts, &Config) -> Decision,
    /// Opens what it reads, before the agent is confined. What could be had in place of what was decided
    /// is decided from then on.
    open: fn(&Opening<'_>, &mut Decision) -> Result<Box<dyn Family>>,
    /// What it leaves out at a level of the governor, in an operator's words.
    shed: fn(u8) -> Vec<String>,
    /// Whose system calls are its own.
    callers: &'static [Caller],
    /// Takes away what a killed agent left, whether the family is to run or not.
    clean: fn(&Decision),
    /// What the kernel says to its programs, of which none is attached.
    try_programs: Option<fn(&HostFacts, &Config) -> Result<String>>,
}

/// What most families leave as it is.
const PLAIN: Entry = Entry {
    decide: host::decide,
    open: host::open,
    shed: |_| Vec::new(),
    callers: &[],
    clean: |_| {},
    try_programs: None,
};

/// Every family, in the order in which they close: `process` behind those who ask for identities, `host`
/// last, because its row has what all counted.
const FAMILIES: [Entry; 5] = [
    Entry {
        decide: connection::decide::decide,
        open: connection::open,
        shed: connection::shed,
        clean: connection::clean,
        try_programs: Some(connection::try_programs),
        ..PLAIN
    },
    Entry {
        decide: nat::decide,
        open: nat::open,
        shed: nat::shed,
        callers: &[nat::TRACKING],
        ..PLAIN
    },
    Entry {
        decide: listener::decide,
        open: listener::open,
        shed: listener::shed,
        ..PLAIN
    },
    Entry {
        decide: process::decide,
        open: process::open,
        ..PLAIN
    },
    Entry {
        decide: host::decide,
        open: host::open,
        ..PLAIN
    },
];

/// Chooses for each family a variant, or skips it with a reason. Pure.
#[must_use]
pub fn decide(facts: &HostFacts, config: &Config) -> Plan {
    let decided = FAMILIES.iter().map(|entry| {
        let mut decision = (entry.decide)(facts, config);
        if config.family(decision.family) == FamilySetting::Off {
            decision.skip(format!("families.{} asks for it", decision.family));
        }
        decision
    });
    let families: Vec<Decision> = decided.collect();
    let needs: Vec<Needs> = families.iter().map(|one| one.needs.clone()).collect();
    let warnings = families.iter().flat_map(|one| one.warnings.clone());
    Plan {
        jail: JailNeeds::decide(facts, config, &needs),
        warnings: warnings.collect(),
        families,
    }
}

/// Opens every family that is planned. One that cannot be opened is skipped, which costs that family
/// and not the agent; the jail is left what those need that were opened.
#[must_use]
pub fn open(plan: &mut Plan, opening: &Opening<'_>) -> Vec<Box<dyn Family>> {
    let mut opened = Vec::new();
    for (entry, decision) in FAMILIES.iter().zip(&mut plan.families) {
        (entry.clean)(decision);
        if !decision.runs() {
            continue;
        }
        match (entry.open)(opening, decision) {
            Ok(family) => opened.push(family),
            // It may have said itself why.
            Err(error) if decision.runs() => {
                let (family, reason) = (decision.family, format!("{error:#}"));
                warn!(family = family, reason = reason.as_str(); "family skipped");
                decision.skip(reason);
            }
            Err(_) => {}
        }
    }
    let needs = plan.families.iter().filter(|one| one.runs());
    let needs: Vec<Needs> = needs.map(|one| one.needs.clone()).collect();
    plan.settle(opening.facts, opening.config, &needs);
    opened
}

/// What all families leave out at a level of the governor, in an operator's words.
#[must_use]
pub fn shed(level: u8) -> String {
    let all = FAMILIES.iter().flat_map(|entry| (entry.shed)(level));
    let all: Vec<String> = all.collect();
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

/// What the kernel says to the programs of all families that have some.
///
/// # Errors
/// None is planned, or they cannot be opened.
pub fn try_programs(facts: &HostFacts, config: &Config) -> Result<String> {
    let tries = FAMILIES.iter().filter_map(|entry| entry.try_programs);
    tries.map(|try_them| try_them(facts, config)).collect()
}
