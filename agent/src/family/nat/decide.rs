//! Whether this host's translations are followed. Pure.

use super::calls::TRACKING;
use crate::config::{Config, FamilySetting};
use crate::host::HostFacts;
use crate::plan::{Choice, Decision, Needs};

/// The family's name.
pub(super) const NAME: &str = "nat";

/// Only gateways translate for others, and listening costs something for each connection.
#[must_use]
pub fn decide(facts: &HostFacts, config: &Config) -> Decision {
    let everywhere = config.family(NAME) == FamilySetting::On;
    let skipped = match (&facts.forwards, &facts.conntrack) {
        (forwards, _) if !everywhere && !forwards.is_yes() => {
            Some(format!("this host is no gateway: {}", forwards.why()))
        }
        (_, conntrack) if !conntrack.is_yes() => Some(conntrack.why().to_owned()),
        _ => None,
    };
    let why = "addresses before and behind this gateway are told";
    let needs = Needs {
        callers: vec![TRACKING],
        ..Needs::default()
    };
    let mut decision = Decision::run(NAME, Choice::new("on", why), needs);
    decision.warnings.extend(silence(facts));
    if let Some(reason) = skipped {
        decision.skip(reason);
    }
    decision
}

/// Connection tracking that is told to keep quiet.
fn silence(facts: &HostFacts) -> Option<String> {
    let silent = facts.conntrack_events.as_deref() == Some("0");
    silent.then(|| {
        "net.netfilter.nf_conntrack_events is 0: the kernel tells of no connection that begins or ends \
         from now on, so that translations of this gateway are not known; set it to 1"
            .to_owned()
    })
}
