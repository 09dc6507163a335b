//! What must be left for following connections: the least that was tried to be enough.

use crate::calls::Caller;
use crate::config::Config;
use crate::family::connection::plan::{Connection, DumpMethod};
use crate::host::{HostFacts, probe};
use crate::plan::{JailMount, Needs, Outcome, Source, Transport, Until, named};

/// What runs, or is to run: capabilities and system calls follow from this alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Programs follow connections, and their records come by this.
    pub programs: Option<Transport>,
    /// Those programs hang on probes at kernel functions.
    pub probes: bool,
    /// Packet filters carry the option.
    pub filters: bool,
    /// Packet and diagnostic sockets follow connections in place of programs.
    pub sockets: bool,
    /// Diagnostic sockets are asked beside the programs.
    pub lists: bool,
}

impl Uses {
    /// What is planned.
    #[must_use]
    pub fn planned(plan: &Connection) -> Self {
        let Outcome::Run(choice) = &plan.variant else {
            return Self::default();
        };
        let sockets = plan.is_by_sockets();
        let dumps = [plan.discovery.value, plan.snapshot.value];
        Self {
            programs: (!sockets).then_some(plan.transport.value),
            probes: choice.value.has_probes(),
            filters: choice.value.has_filters(),
            sockets,
            lists: !sockets && dumps.contains(&DumpMethod::Sockets),
        }
    }
}

/// What must be left for it.
#[must_use]
pub fn needs(facts: &HostFacts, config: &Config, uses: &Uses) -> Needs {
    let mut needs = Needs::default();
    if let Some(transport) = uses.programs {
        needs = needs.with(&facts.least_for_maps, "read the tables of the programs");
        needs.mounts = for_loading(facts, uses.probes);
        needs.callers.push(Caller::TABLES);
        if transport == Transport::PerfBuffer {
            needs.callers.push(Caller::PERF_BUFFER);
        }
        if config.scope.cgroup != "/" {
            needs.callers.push(Caller::SCOPE);
        }
    }
    if uses.sockets {
        needs = needs.with(
            &facts.sockets.least_for_descriptors,
            "find the processes that sockets belong to",
        );
    }
    if uses.programs.is_some() || uses.sockets {
        needs = needs.with(
            &facts.least_for_executables,
            "read paths of other processes' executables",
        );
    }
    if uses.filters {
        needs.callers.push(Caller::FILTERS);
        let why = "attach packet filters to devices that come later, and remove them at the end";
        needs.keeper = Some(named(&facts.least_for_filters, why).collect());
    }
    if uses.sockets || uses.lists {
        needs.callers.push(Caller::SOCKETS);
    }
    needs
}

fn for_loading(facts: &HostFacts, probes: bool) -> Vec<JailMount> {
    let mut mounts: Vec<_> = JailMount::types(facts).into_iter().collect();
    if facts.accept_probe.is_yes() && !probes {
        mounts.push(JailMount::bind(
            probe::EVENTS,
            Until::Loaded,
            true,
            "number of the events that probes are",
        ));
    }
    if facts.tracefs.is_yes() && probes {
        mounts.push(JailMount {
            target: "sys/kernel/tracing",
            source: Source::Tracefs { writable: true },
            until: Until::Loaded,
            optional: false,
            why: "probes at kernel functions",
        });
    }
    mounts
}
