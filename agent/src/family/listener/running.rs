//! The family at work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bpf::abi;
use log::{info, warn};
use wire::{Endpoint, ListenerNamespaceRow, Role};

use super::aggregate::{Listeners, NAME};
use super::sources::{Found, Namespace, Program};
use crate::batch::Summary;
use crate::clock::{self, Now};
use crate::config::Config;
use crate::family::contract::{Family, Shared};
use crate::family::process::{Observed, Owner, Owners, Place};
use crate::family::totals::{Close, Totals};
use crate::metrics::Metrics;
use crate::netns::{self, Census};
use crate::orders::InForce;
use crate::paths::{CGROUP_DIR, PROC_DIR};
use crate::spool::Lost;

/// Sockets that are followed, as many as the program's table has room for.
const MOST: usize = 4096;
/// From this level of the governor on nobody looks.
pub(super) const SHED_FROM: u8 = 3;

/// How the process behind a socket is known.
#[derive(Debug)]
enum Holders {
    /// By the program; of sockets that are older, as they were found at the start.
    Told {
        program: Program,
        older: HashMap<u32, abi::wb_process>,
    },
    /// By looking through `/proc`, again and again.
    Sought,
}

/// What listens in one namespace.
#[derive(Debug)]
struct List {
    index: u16,
    netns: u32,
    found: Vec<Found>,
}

/// Listeners, by what shows them on this host.
#[derive(Debug)]
pub(super) struct Running {
    spaces: BTreeMap<u16, Namespace>,
    missed: u64,
    census: Census,
    owners: Owners,
    holders: Holders,
    /// Every process is in scope.
    everything: bool,
    listeners: Listeners,
    /// Of namespaces.
    totals: Totals,
    failed: u64,
    sheds: bool,
    sends: bool,
    ends: bool,
}

impl Running {
    /// Opens the lists of every network namespace in reach; before the agent is confined.
    ///
    /// # Errors
    /// Sockets of the own network namespace cannot be listed.
    pub(super) fn open(config: &Config, program: Option<Program>) -> Result<Self> {
        let (proc, scope) = (Path::new(PROC_DIR), config.scope.cgroup.as_str());
        let reached = netns::open_all((proc, scope), |_| Namespace::open())?;
        let watched = program.is_some();
        let holders = program.map_or(Holders::Sought, |program| Holders::Told {
            program,
            older: HashMap::new(),
        });
        let place = Place {
            proc: proc.to_owned(),
            cgroups: Path::new(CGROUP_DIR).to_owned(),
            scope: scope.to_owned(),
        };
        let mut running = Self {
            totals: Totals::new(reached.all.len()),
            spaces: (0..).zip(reached.all).collect(),
            missed: reached.missed,
            census: Census::new(proc.to_owned()),
            owners: Owners::new(place, MOST),
            holders,
            everything: scope == "/",
            listeners: Listeners::new(MOST, watched),
            failed: 0,
            sheds: false,
            sends: true,
            ends: false,
        };
        running.find_older();
        Ok(running)
    }

    /// Looks for the processes of what listens already, while everything may be read.
    fn find_older(&mut self) {
        let mut all = Vec::new();
        for (index, space) in &mut self.spaces {
            for found in space.list().unwrap_or_default() {
                self.owners.listens(*index, found.local, found.inode);
                all.push((*index, found));
            }
        }
        self.owners.look_now();
        if let Holders::Told { older, .. } = &mut self.holders {
            for (index, found) in all {
                if let Owner::Process(process) = owner(&mut self.owners, index, &found) {
                    older.insert(found.inode, process);
                }
            }
        }
    }

    /// Who has a socket; `None` where it is out of scope, or may be known soon.
    fn holder(&mut self, index: u16, found: &Found) -> Option<abi::wb_process> {
        let unknown = self.everything.then(abi::wb_process::default);
        match &self.holders {
            Holders::Told { program, older } => {
                let told = program.holder(found.inode);
                told.or_else(|| older.get(&found.inode).copied())
                    .or(unknown)
            }
            Holders::Sought => match owner(&mut self.owners, index, found) {
                Owner::Process(process) => Some(process),
                Owner::Foreign => None,
                Owner::Unknown if self.ends || self.owners.is_hopeless(found.inode) => unknown,
                Owner::Unknown => None,
            },
        }
    }

    fn leave_empty(&mut self, now_ms: u64) {
        let others = self.spaces.iter_mut().skip(1);
        let others = others.map(|(key, space)| (*key, &mut space.tenants));
        for key in self.census.left(others) {
            if let Some(space) = self.spaces.remove(&key) {
                self.listeners.leave(space.inode, now_ms);
                info!(inode = space.inode; "listeners of a network namespace left: no process is in it");
            }
        }
    }

    /// What listens in each namespace, as far as it can be listed.
    fn list(&mut self, now_ms: u64) -> Vec<List> {
        let mut lists = Vec::new();
        for (index, space) in &mut self.spaces {
            let counted = space.count(&mut self.totals, now_ms);
            self.failed += u64::from(counted.is_err());
            match space.list() {
                Ok(found) => lists.push(List {
                    index: *index,
                    netns: space.inode,
                    found,
                }),
                Err(error) => {
                    self.failed += 1;
                    warn!(error:% = error; "listeners not listed");
                }
            }
        }
        lists
    }

    /// Keeps what is known of the processes of sockets that are there, and wants the others known.
    fn settle(&mut self, lists: &[List]) {
        let of = |list: &'_ List| {
            list.found
                .iter()
                .map(|found| (list.index, *found))
                .collect::<Vec<_>>()
        };
        let all: Vec<(u16, Found)> = lists.iter().flat_map(of).collect();
        match &mut self.holders {
            Holders::Told { older, .. } => {
                let there: HashSet<u32> = all.iter().map(|(_, found)| found.inode).collect();
                // Of a namespace that was not listed nobody knows what is gone.
                if lists.len() == self.spaces.len() {
                    older.retain(|inode, _| there.contains(inode));
                }
            }
            Holders::Sought => {
                self.owners.forget_listeners();
                self.owners.begin_list();
                for (index, found) in &all {
                    self.owners.listens(*index, found.local, found.inode);
                }
                self.owners.end_list();
                self.owners.look();
            }
        }
    }
}

fn owner(owners: &mut Owners, index: u16, found: &Found) -> Owner {
    let ends = (found.local, Endpoint::default());
    owners
        .of((index, Role::Server), ends, (found.inode, 0))
        .owner
}

/// The identity of a process.
fn resolve(shared: &mut Shared, process: &abi::wb_process, netns: u32, now_ms: u64) -> u32 {
    let observed = Observed {
        tgid: process.tgid,
        started_ns: process.start_ns,
        comm: &process.comm,
        exe_name: &process.exe,
        cgroup_id: process.cgroup_id,
        netns,
    };
    shared.processes.resolve(&observed, now_ms)
}

impl Family for Running {
    fn name(&self) -> &'static str {
        NAME
    }

    fn take(&mut self, _shared: &mut Shared) -> Result<bool> {
        Ok(false)
    }

    fn tick(&mut self, _shared: &mut Shared, _now: Instant) -> Result<bool> {
        if let (Holders::Sought, false) = (&self.holders, self.sheds) {
            self.owners.look();
        }
        Ok(false)
    }

    fn snapshot(&mut self, shared: &mut Shared) -> Result<()> {
        let now_ms = clock::now().unix_ms;
        self.listeners.begin();
        self.leave_empty(now_ms);
        let peaks = match &self.holders {
            Holders::Told { program, .. } => program.peaks(),
            _ => Vec::new(),
        };
        if self.sheds && !self.ends {
            return Ok(());
        }
        let lists = self.list(now_ms);
        self.settle(&lists);
        shared.processes.keep_past(self.owners.take_past());
        for List {
            index,
            netns,
            found,
        } in lists
        {
            let mut known = Vec::new();
            for found in found {
                if let Some(process) = self.holder(index, &found) {
                    known.push((found, resolve(shared, &process, netns, now_ms)));
                }
            }
            self.listeners.take(netns, &known, now_ms);
        }
        self.listeners.peaks(peaks);
        Ok(())
    }

    fn publish(&mut self, metrics: &Metrics, _now: Now) {
        metrics.listener_sockets.set(self.listeners.size() as u64);
        metrics
            .listener_dropped_full_total
            .set(self.listeners.full());
        metrics.listener_lists_failed_total.set(self.failed);
        metrics.listener_namespaces_missed.set(self.missed);
        if let Holders::Told { program, .. } = &self.holders {
            match program.whole.missed_runs() {
                Ok(missed) => metrics.listener_programs_dropped_runs_total.set(missed),
                Err(error) => {
                    warn!(error = format!("{error:#}").as_str(); "missed runs not read");
                }
            }
        }
    }

    fn close(&mut self, rows: &mut Summary, close: &Close, _shared: &mut Shared) {
        self.totals.begin(close);
        let spaces = self.spaces.values_mut();
        let namespaces: Vec<ListenerNamespaceRow> = spaces
            .flat_map(|space| space.close(&mut self.totals, close))
            .collect();
        self.totals.end();
        let listeners = self.listeners.close(close);
        if self.sends {
            rows.others.listeners = listeners;
            rows.others.listener_namespaces = namespaces;
            rows.owes |= self.listeners.is_short() || self.totals.is_short();
        } else {
            // Told as totals once they may be.
            self.listeners.lost(close.batch);
            self.totals.lost(Lost::from(close.batch));
        }
    }

    fn shed(&mut self, level: u8) {
        self.sheds = level >= SHED_FROM;
    }

    fn obey(&mut self, in_force: &InForce) -> Result<()> {
        self.sends = in_force.sends(NAME);
        Ok(())
    }

    fn end(&mut self) {
        self.ends = true;
    }
}
