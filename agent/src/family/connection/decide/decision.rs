//! What the rest of the agent sees of what is decided.

use super::choose::choose;
use super::needs::{Uses, needs};
use super::warnings;
use crate::config::Config;
use crate::host::HostFacts;
use crate::plan::Decision;

/// The best that the host allows and the operator wants, with what must be left for it.
pub(crate) fn decide(facts: &HostFacts, config: &Config) -> Decision {
    let plan = choose(facts, config);
    let needs = needs(facts, config, &Uses::planned(&plan));
    let warnings = warnings::all(facts, config, &plan.mode);
    plan.decision(config, needs, warnings)
}
