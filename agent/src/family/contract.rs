//! What a family is to the rest of the agent while it runs.

use std::fmt::Debug;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use log::warn;

use crate::batch::Summary;
use crate::clock::Now;
use crate::config::Config;
use crate::family::host::Host;
use crate::family::process::Processes;
use crate::family::report::Report;
use crate::family::totals::Close;
use crate::host::HostFacts;
use crate::kernel::Counters;
use crate::loader::{Core, CoreOnDemand};
use crate::metrics::Metrics;
use crate::orders::InForce;
use crate::plan::HelperNeeds;
use crate::records::Progress;

/// A family is looked at this often although nothing wakes the event loop.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What a family is opened with, before the agent is confined.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What the host can do.
    pub facts: &'a HostFacts,
    /// What the operator wants.
    pub config: &'a Config,
    /// What orders leave of that.
    pub in_force: &'a InForce,
    /// What the programs of all families share.
    pub core: &'a CoreOnDemand,
    /// What is left to the process that keeps packet filters, where one is planned.
    pub keeper: Option<&'a HelperNeeds>,
}

/// What all families use and none owns.
#[derive(Debug)]
pub struct Shared {
    /// Who is behind what is measured.
    pub processes: Processes,
    /// What is said of this host, and when.
    pub host: Host,
    /// What is not as planned, of all families and of the agent: as of the end of the interval.
    pub report: Report,
    /// Counters of all threads.
    pub metrics: Arc<Metrics>,
    /// What the programs of all families share, where there are any.
    pub core: Option<Rc<Core>>,
}

impl Shared {
    /// Publishes what the programs of all families counted; before families publish what they count
    /// themselves under the same names.
    pub fn publish_programs(&self) {
        let Some(core) = &self.core else {
            return;
        };
        match Counters::read(&core.counters) {
            Ok(counters) => {
                counters.publish(&self.metrics);
                core.records.publish(&counters, &self.metrics);
            }
            Err(error) => warn!(error = format!("{error:#}").as_str(); "kernel counters not read"),
        }
    }

    /// What becomes readable when a ring of programs fills.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        let core = self.core.as_ref();
        core.map_or_else(Vec::new, |core| core.records.descriptors())
    }

    /// Hands each family the next records of the programs, up to the budget of each ring.
    ///
    /// # Errors
    /// As [`Family::take`].
    pub fn read_records(&self) -> Result<Progress> {
        match &self.core {
            Some(core) => core.records.read(&self.metrics),
            None => Ok(Progress::default()),
        }
    }

    /// Reads every record that is there now, and of those that come meanwhile at most as many; `fold`
    /// is called again and again, to take what was read.
    ///
    /// # Errors
    /// As [`Family::take`], and what `fold` gives.
    pub fn drain_records(&mut self, mut fold: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let core = self.core.as_ref();
        let mut left = core.map_or(0, |core| core.records.capacity());
        loop {
            let Progress { bytes, more } = self.read_records()?;
            fold(self)?;
            left = left.saturating_sub(bytes);
            if !more || left == 0 {
                return Ok(());
            }
        }
    }
}

/// One family at work. The event loop owns it and calls it in each turn, at the end of each interval,
/// and when something is to be done otherwise.
pub trait Family: Debug {
    /// Its name, the same in every layer.
    fn name(&self) -> &'static str;

    /// What wakes the event loop for it.
    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }

    /// How long it can wait to be looked at, if nothing wakes the loop.
    fn pause(&self) -> Duration {
        PAUSE
    }

    /// Takes over what was there before it, once, before the first turn.
    fn adopt(&mut self, _shared: &mut Shared) {}

    /// Takes what its sources have, each up to its budget for one turn; true when there may be more.
    /// Its records have been read by then: they wait in its inbox.
    ///
    /// # Errors
    /// A source that cannot be read any more: the agent ends, and the next start finds out.
    fn take(&mut self, _shared: &mut Shared) -> Result<bool> {
        Ok(false)
    }

    /// Takes all that its sources have now, and of what comes meanwhile at most as much: the interval
    /// ends. Records were taken before it.
    ///
    /// # Errors
    /// As [`Family::take`].
    fn drain(&mut self, shared: &mut Shared) -> Result<()> {
        self.take(shared).map(drop)
    }

    /// Meets its own deadlines, in every turn; true when the host row must not wait.
    ///
    /// # Errors
    /// What it keeps in the kernel is not kept any more.
    fn tick(&mut self, _shared: &mut Shared, _now: Instant) -> Result<bool> {
        Ok(false)
    }

    /// Looks at what is open, at the end of an interval.
    ///
    /// # Errors
    /// As [`Family::take`].
    fn snapshot(&mut self, _shared: &mut Shared) -> Result<()> {
        Ok(())
    }

    /// Publishes what it counted, at the end of an interval.
    fn publish(&mut self, _metrics: &Metrics, _now: Now) {}

    /// Ends the interval: what it added, and the totals whose turn it is.
    fn close(&mut self, rows: &mut Summary, close: &Close, shared: &mut Shared);

    /// What is not as planned.
    fn report(&self, _report: &mut Report) {}

    /// Does less from now on, or more again: levels of the governor, of which 0 leaves nothing out.
    fn shed(&mut self, _level: u8) {}

    /// Does what orders leave.
    ///
    /// # Errors
    /// The kernel was not told all of it; tried again later.
    fn obey(&mut self, _in_force: &InForce) -> Result<()> {
        Ok(())
    }

    /// Uses the keys of another configuration from now on.
    fn change_keys(&mut self, _config: &Config) {}

    /// The next interval is the last one, and leaves nothing out.
    fn end(&mut self) {}

    /// The process that it left beside the agent to keep packet filters.
    fn keeper(&self) -> Option<i32> {
        None
    }

    /// Takes back what would outlive the agent.
    fn release(&mut self) {}
}
