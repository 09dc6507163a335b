//! The family at work: it has no source, and tells of the agent as a whole.

use std::time::Duration;

use anyhow::Result;

use crate::batch::Summary;
use crate::config::Config;
use crate::family::contract::{Family, Opening, Shared};
use crate::family::totals::Close;
use crate::host::HostFacts;
use crate::plan::{Decision, Needs};

/// The family's name.
const NAME: &str = "host";

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

    /// Behind all others: its row has what they counted.
    fn close(&mut self, rows: &mut Summary, close: &Close, shared: &mut Shared) {
        let now = Duration::from_nanos(close.now.monotonic_ns());
        let counters = shared.metrics.snapshot();
        let (hosts, cut) = shared.host.close(&counters, &shared.report, now);
        shared.metrics.host_row_cut_texts_total.add(cut);
        rows.others.hosts = hosts;
    }
}
