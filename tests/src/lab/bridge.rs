//! A host that is a wire with delay, loss and reordering.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host::Host;
use super::process::Running;
use crate::program::wire::Tally;

/// Its devices, near and far.
pub const DEVICES: [&str; 2] = ["near", "far"];

/// How long it may take to begin and to end.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    running: Running,
}

impl Bridge {
    /// Starts to bridge [`DEVICES`] of `host`, which has no other, with options of the lab's program
    /// `bridge`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(host: Host, options: &[&str]) -> Result<Self> {
        // It is a wire, so it says nothing itself.
        host.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        let mut command = host.lab_program("bridge");
        command.arg("--devices").args(DEVICES).args(options);
        let mut running = host.start("bridge", command)?;
        running.wait_for_output("bridging", DEADLINE)?;
        Ok(Self { running })
    }

    /// Ends it and says what passed.
    ///
    /// # Errors
    /// When it dropped a frame that it was not asked to drop.
    pub fn stop(mut self) -> Result<Tally> {
        self.running.stop(DEADLINE)?;
        let said = self.running.output()?;
        let tally: Tally = serde_json::from_str(said.lines().last().context("no tally")?)?;
        ensure!(
            tally.dropped == 0,
            "the bridge could not keep up: {tally:?}"
        );
        Ok(tally)
    }
}
