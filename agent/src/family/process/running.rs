//! The family at work: it has no source, and tells of the processes behind what others measure.

use anyhow::Result;

use crate::batch::Summary;
use crate::config::Config;
use crate::family::contract::{Family, Opening, Shared};
use crate::family::totals::Close;
use crate::host::HostFacts;
use crate::plan::{Decision, Needs};

/// The family's name.
const NAME: &str = "process";

/// It runs everywhere.
pub(crate) fn decide(_: &HostFacts, _: &Config) -> Decision {
    Decision::always(NAME, Needs::default())
}

/// There is nothing to open.
pub(crate) fn open(_: &Opening<'_>, _: &mut Decision) -> Result<Box<dyn Family>> {
    Ok(Box::new(Running))
}

#[derive(Debug)]
struct Running;

impl Family for Running {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Behind those who ask for identities.
    fn close(&mut self, rows: &mut Summary, close: &Close, shared: &mut Shared) {
        let lost = shared.metrics.batches_lost();
        rows.others.processes = shared.processes.close(lost, close.now.unix_ms);
        shared.processes.publish(&shared.metrics);
    }
}
