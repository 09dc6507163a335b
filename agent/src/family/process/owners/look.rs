//! Looking through `/proc`, in turns that end and within a share of the time.

use std::fs;

use wire::{Endpoint, Role};

use super::walk::{Process, Walk};
use super::{Holder, Listed, MAX_CREDIT_NS, MAX_MISSES, Owner, Owners, Want, likeliest};
use crate::clock;
use crate::family::process::snapshot::Past;
use crate::tasks::{self, Attention, Descriptor, describe, in_scope, processes};

/// Looks take at most one part in this of the time.
const SHARE: u64 = 200;
/// Two looks are at least this far apart.
const PAUSE_NS: u64 = 500_000_000;
/// Descriptors that are looked at in one turn.
const TURN: usize = 16_384;
/// ... this far apart.
const RETRY_NS: u64 = 30_000_000_000;
/// Processes that are compared for one listener, and descriptors of one that is asked out of turn.
const MAX_HOLDERS: usize = 16;
const MAX_DESCRIPTORS: usize = 1024;

impl Owners {
    /// Looks for an open connection's socket among the processes that are known at the service's
    /// end, which is quick. False when it belongs to none of them.
    pub(crate) fn ask_known(
        &mut self,
        (space, role): (u16, Role),
        service: Endpoint,
        inode: u32,
    ) -> bool {
        if self.sockets.contains_key(&inode) {
            return true;
        }
        let end = (space, service);
        let owners = match role {
            Role::Client => self.known.clients(end).to_vec(),
            Role::Server => {
                let listener = self.listener(space, service);
                self.known.acceptor(end, listener).into_iter().collect()
            }
        };
        for owner in owners {
            // Whom nobody may name, nobody can ask.
            let Owner::Process(process) = owner else {
                return true;
            };
            let directory = self.place.proc.join(process.tgid.to_string());
            let mut sockets = tasks::sockets(&directory).take(MAX_DESCRIPTORS);
            // The number may be another process's by now.
            if sockets.any(|socket| socket == inode) && self.identify(process.tgid) == owner {
                self.wanted.remove(&inode);
                self.found(inode, owner);
                return true;
            }
        }
        false
    }

    /// Finds this agent's own sockets, which costs next to nothing.
    pub(crate) fn find_own(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let directory = self.place.proc.join(self.own.to_string());
        for inode in tasks::sockets(&directory) {
            if self.wanted.remove(&inode).is_some() {
                self.found(inode, Owner::Foreign);
            }
        }
    }

    /// Looks through `/proc` if there is something to look for and it is time, for one turn.
    pub(crate) fn look(&mut self) {
        self.find_own();
        let begun_ns = clock::monotonic_ns();
        let since_ns = begun_ns.saturating_sub(self.credited_ns);
        self.credited_ns = begun_ns;
        self.credit_ns = (self.credit_ns + since_ns / SHARE).min(MAX_CREDIT_NS);
        if self.walk.is_none() {
            if self.credit_ns == 0 || begun_ns < self.next_look_ns || !self.is_worth_it(begun_ns) {
                return;
            }
            self.begin_walk();
        }
        let ended = self.walk_on(TURN);
        let now_ns = clock::monotonic_ns();
        let turn_ns = now_ns.saturating_sub(begun_ns);
        if let Some(walk) = &mut self.walk {
            walk.took_ns += turn_ns;
            if ended {
                // What it took beyond what was saved is waited for.
                let owed_ns = walk.took_ns.saturating_sub(self.credit_ns);
                self.credit_ns = self.credit_ns.saturating_sub(walk.took_ns);
                self.next_look_ns = now_ns + (owed_ns * SHARE).max(PAUSE_NS);
                self.walk = None;
            }
        }
    }

    /// Whether a socket is looked for that was not yet looked for often, or not for long.
    fn is_worth_it(&mut self, now_ns: u64) -> bool {
        if self.wanted.is_empty() {
            return false;
        }
        if self.wanted.values().any(|seen| seen.of.is_fresh()) {
            return true;
        }
        let is_due = now_ns >= self.next_retry_ns;
        if is_due {
            self.next_retry_ns = now_ns + RETRY_NS;
        }
        is_due
    }

    /// Looks through all of it at once: for the start, when nobody waits.
    pub(crate) fn look_now(&mut self) {
        self.find_own();
        self.begin_walk();
        self.walk_on(usize::MAX);
        self.walk = None;
    }

    pub(super) fn begin_walk(&mut self) {
        self.looks += 1;
        let mut left = processes(&self.place.proc);
        // A parent comes before its children: it is the one that called listen.
        left.sort_unstable_by(|one, other| other.cmp(one));
        let is_open = |seen: &&Listed<Want>| seen.of.is_fresh() && seen.of.holders.is_none();
        let is_listener = |seen: &Listed<Want>| seen.of.is_fresh() && seen.of.holders.is_some();
        let is_retry = || !self.wanted.values().any(|seen| seen.of.is_fresh());
        self.walk = Some(Walk {
            left,
            process: None,
            open: self.wanted.values().filter(is_open).count(),
            whole: self.wanted.values().any(is_listener) || (!self.wanted.is_empty() && is_retry()),
            took_ns: 0,
        });
    }

    /// Looks at this many descriptors more; true when there is nothing left to look at.
    pub(super) fn walk_on(&mut self, descriptors: usize) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let mut ended = false;
        for _ in 0..descriptors {
            if (walk.open == 0 && !walk.whole) || !self.step(&mut walk) {
                ended = true;
                break;
            }
        }
        let whole = walk.whole;
        self.walk = Some(walk);
        if ended {
            self.judge(whole);
        }
        ended
    }

    /// Looks at the next descriptor, or begins with the next process; false at the end.
    fn step(&mut self, walk: &mut Walk) -> bool {
        let Some(process) = &mut walk.process else {
            let Some(number) = walk.left.pop() else {
                return false;
            };
            let entries = fs::read_dir(self.place.proc.join(number.to_string()).join("fd"));
            walk.process = entries.ok().map(|entries| Process {
                number,
                entries,
                owner: None,
                epolls: Vec::new(),
                listeners: Vec::new(),
            });
            return true;
        };
        let Some(entry) = process.entries.next() else {
            if let Some(process) = walk.process.take() {
                self.hold(process);
            }
            return true;
        };
        match entry.ok().and_then(|entry| tasks::descriptor(&entry)) {
            Some((number, Descriptor::Epoll)) if process.epolls.len() < MAX_DESCRIPTORS => {
                process.epolls.push(number);
            }
            Some((number, Descriptor::Socket(inode))) => match self.wanted.get(&inode) {
                Some(seen) if seen.of.holders.is_some() => process.listeners.push((inode, number)),
                Some(seen) => {
                    walk.open = walk.open.saturating_sub(seen.of.is_fresh().into());
                    self.wanted.remove(&inode);
                    let number = process.number;
                    let owner = *process.owner.get_or_insert_with(|| self.meet(number));
                    self.found(inode, owner);
                }
                None => {}
            },
            _ => {}
        }
        true
    }

    /// Notes what a process does with the listeners that it has.
    fn hold(&mut self, process: Process) {
        if process.listeners.is_empty() {
            return;
        }
        let number = process.number;
        let owner = process.owner.unwrap_or_else(|| self.meet(number));
        let directory = self.place.proc.join(number.to_string());
        for (inode, descriptor) in process.listeners {
            let Some(want) = self.wanted.get_mut(&inode) else {
                continue;
            };
            let holders = want.of.holders.get_or_insert_default();
            if holders.len() < MAX_HOLDERS {
                let attention = tasks::attention(&directory, descriptor, &process.epolls);
                holders.push(Holder { owner, attention });
            }
        }
    }

    /// At the end of a look: whose the listeners are if it was a `whole` one, and what it did not
    /// find.
    fn judge(&mut self, whole: bool) {
        let looks = self.looks;
        let mut found = Vec::new();
        self.wanted.retain(|inode, seen| {
            let want = &mut seen.of;
            let holders = want.holders.as_mut().map(std::mem::take);
            // What was wanted while the look was under way may have been passed by.
            if want.looks >= looks || (holders.is_some() && !whole) {
                return true;
            }
            want.misses = want.misses.saturating_add(1);
            let holders = holders.unwrap_or_default();
            let Some(best) = likeliest(&holders) else {
                return true;
            };
            found.push((*inode, best.owner, holders));
            // Nobody was seen to accept: whoever does may be about to be started.
            best.attention == Attention::Holds && want.misses < MAX_MISSES
        });
        for (inode, owner, all) in found {
            let held = self.held.entry(inode).or_default();
            (held.looks, held.all) = (looks, all);
            self.found(inode, owner);
        }
    }

    /// What was seen since the last call of processes that may have ended when they are asked for.
    pub(crate) fn take_past(&mut self) -> Past {
        std::mem::take(&mut self.past)
    }

    /// The cgroup of a client of whom nothing else is known, by that in which the kernel says that its
    /// socket was made; 0 where that says nothing. What is accepted has its listener's, which a manager
    /// may have made for others; a scope may not be told of what is outside.
    pub(crate) fn birthplace(&self, role: Role, cgroup_id: u64) -> u64 {
        // The root, whose inode number is 1, is where all are that are nowhere else.
        let is_below_root = cgroup_id & 0xffff_ffff > 1;
        match role == Role::Client && self.place.scope == "/" && is_below_root {
            true => cgroup_id,
            false => 0,
        }
    }

    /// Who a process is; what it looks like is remembered, as it may have ended when that is asked for.
    fn meet(&mut self, number: u32) -> Owner {
        let owner = self.identify(number);
        if let Owner::Process(process) = owner {
            let of = (process.tgid, process.start_ns);
            self.past.insert(of, self.reader.snapshot(of));
        }
        owner
    }

    fn identify(&self, number: u32) -> Owner {
        if number == self.own {
            return Owner::Foreign;
        }
        let directory = self.place.proc.join(number.to_string());
        let cgroups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        if !in_scope(&cgroups, &self.place.scope) {
            return Owner::Foreign;
        }
        let Some(process) = describe(number, &directory, &cgroups, &self.place.cgroups) else {
            return Owner::Unknown;
        };
        Owner::Process(process)
    }
}
