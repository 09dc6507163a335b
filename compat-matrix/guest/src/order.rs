//! What the host side asks of one guest: `guest.json`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The order.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Order {
    /// Name of the kernel in the matrix.
    pub(crate) kernel_id: String,
    /// Which checks to run, in this order.
    pub(crate) checks: Vec<Check>,
    /// Faults to inject, so that the runner can be tested.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    /// Modes of the agent; `auto` lets the agent choose.
    #[serde(default = "auto")]
    pub(crate) modes: Vec<String>,
    /// Modes in which edges are shown through one gateway, and no more; `a+b` is a client's and
    /// a server's.
    #[serde(default)]
    pub(crate) edge_modes: Vec<String>,
    /// Seconds that all checks together may take.
    #[serde(default = "five_minutes")]
    pub(crate) timeout_s: u64,
}

/// A group of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// The shipped agent explains the kernel, its programs load, and it starts.
    Doctor,
    /// Edges through gateways are exactly the connections made.
    Edges,
    /// Traffic with agents is as it was without.
    Harm,
    /// What listens is told as the kernel shows it.
    Listeners,
    /// Every loss is counted, also across `kill -9`.
    Loss,
    /// Nothing is left after any end.
    Residue,
    /// The agent sees and may do what it says.
    Jail,
}

/// A deliberate fault; each must turn exactly its own check red.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// A row of the collector's store vanishes: the first edge check.
    LostRow,
    /// A sockops program stays attached to a host's cgroup: the first residue check.
    LeakedFilter,
    /// A program stays loaded: the first residue check.
    LeakedProgram,
    /// The client's agent is killed before the first traffic: the first edge check.
    DeadAgent,
}

impl Order {
    /// Reads `guest.json` in the payload.
    ///
    /// # Errors
    /// When it is missing or not as expected; names the key.
    pub(crate) fn read(payload: &Path) -> Result<Self> {
        let path = payload.join("guest.json");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("order {}", path.display()))
    }

    /// Whether a fault is asked for.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

fn auto() -> Vec<String> {
    vec!["auto".into()]
}

const fn five_minutes() -> u64 {
    300
}

#[cfg(test)]
mod tests {
    use super::{Check, Fault, Order};

    #[test]
    fn an_order_names_checks_faults_and_modes() {
        let order: Order = serde_json::from_str(
            r#"{"kernel_id":"debian-12","checks":["doctor","edges"],"faults":["lost-row"],
                "modes":["auto","observe"],"timeout_s":60}"#,
        )
        .unwrap();
        assert_eq!(order.checks, [Check::Doctor, Check::Edges]);
        assert!(order.has(Fault::LostRow) && !order.has(Fault::DeadAgent));
        assert_eq!(order.timeout_s, 60);
    }

    #[test]
    fn an_unknown_check_is_refused_and_not_left_out() {
        let order = r#"{"kernel_id":"a","checks":["everything"]}"#;
        assert!(serde_json::from_str::<Order>(order).is_err());
    }
}
