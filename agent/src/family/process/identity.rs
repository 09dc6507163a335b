//! The table of identities, and what is learned of each.

use std::collections::HashMap;

use wire::ProcessRow;

use crate::config::ServiceRule;

use super::observed::{Key, Observed, until_nul};
use super::places::Places;
use super::procfs::{MAX_SNAPSHOTS, ProcFs};
use super::snapshot::Snapshot;
use super::{cgroup, text};

/// Rows of identities in use are sent again after this long, for collectors that lost them.
const REFRESH_MS: u64 = 600_000;
/// In a full table, an identity that was not seen for this long makes room.
const IDLE_MS: u64 = 1_800_000;
/// A full table is searched for idle identities this often at most.
const SEARCH_EVERY_MS: u64 = 10_000;
/// Everything that found no room.
const CATCH_ALL_ID: u32 = 0;
const CATCH_ALL_SERVICE: &str = "(other processes)";

#[derive(Debug)]
struct Identity {
    row: ProcessRow,
    /// The row was not sent in its present form.
    changed: bool,
    /// Unix milliseconds at which the row was sent last.
    sent_ms: u64,
    /// Unix milliseconds at which a process of it was seen last.
    seen_ms: u64,
    /// Looks that left something unknown.
    snapshots: u8,
    /// Process that was looked at last: the same one is not looked at again.
    looked_at: (u32, u64),
    /// Path and cgroup are known.
    complete: bool,
    /// The path is one that root made.
    is_vouched: bool,
}

/// All identities of this run.
#[derive(Debug)]
pub struct Identities {
    limit: usize,
    rules: Vec<ServiceRule>,
    boottime_zero_ms: u64,
    by_key: HashMap<Key, Identity>,
    next_id: u32,
    searched_ms: u64,
    overflowed: u64,
    catch_all_sent_ms: Option<u64>,
    places: Places,
}

impl Identities {
    /// An empty table of at most `limit` identities.
    ///
    /// `boottime_zero_ns` is Unix time at CLOCK_BOOTTIME zero, in nanoseconds.
    #[must_use]
    pub fn new(limit: usize, rules: Vec<ServiceRule>, boottime_zero_ns: u64) -> Self {
        Self {
            limit,
            rules,
            boottime_zero_ms: boottime_zero_ns / 1_000_000,
            by_key: HashMap::new(),
            next_id: CATCH_ALL_ID + 1,
            searched_ms: 0,
            overflowed: 0,
            catch_all_sent_ms: None,
            places: Places::default(),
        }
    }

    /// The id of the identity behind `observed`; `now_ms` is Unix time.
    ///
    /// When the table is full the answer is a catch-all identity, and is counted.
    pub fn resolve(
        &mut self,
        observed: &Observed<'_>,
        procfs: &mut dyn ProcFs,
        now_ms: u64,
    ) -> u32 {
        let mut key = Key::of(observed);
        let (path, snapshot) = self.places.of(&key, observed, procfs, now_ms);
        key.path = path;
        let process = (observed.tgid, observed.started_ns);
        if let Some(identity) = self.by_key.get_mut(&key) {
            identity.seen_ms = now_ms;
            let worth_a_look = !identity.complete
                && identity.snapshots < MAX_SNAPSHOTS
                && identity.looked_at != process;
            if worth_a_look {
                let snapshot = snapshot.unwrap_or_else(|| procfs.snapshot(observed, now_ms));
                identity.learn(&self.rules, observed, &key, &snapshot);
            }
            return identity.row.process_id;
        }
        if self.by_key.len() >= self.limit && !self.make_room(now_ms) {
            self.overflowed += 1;
            return CATCH_ALL_ID;
        }
        let id = self.next_id;
        // 4 billion identities in one run: the catch-all then takes the rest.
        let Some(next) = id.checked_add(1) else {
            self.overflowed += 1;
            return CATCH_ALL_ID;
        };
        self.next_id = next;
        let snapshot = snapshot.unwrap_or_else(|| procfs.snapshot(observed, now_ms));
        let mut identity = Identity::new(id, observed, self.boottime_zero_ms, now_ms);
        identity.learn(&self.rules, observed, &key, &snapshot);
        self.by_key.insert(key, identity);
        id
    }

    /// How often an observation ended in the catch-all identity because the table was full.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Identities in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when nothing was resolved yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Rows that are new, changed, or in use and not sent for ten minutes, by ascending id.
    pub fn take_rows(&mut self, now_ms: u64) -> Vec<ProcessRow> {
        let mut rows: Vec<ProcessRow> = self
            .by_key
            .values_mut()
            .filter(|identity| identity.is_due(now_ms))
            .map(|identity| {
                identity.changed = false;
                identity.sent_ms = now_ms;
                identity.row.clone()
            })
            .collect();
        let stale = |sent_ms: u64| now_ms.saturating_sub(sent_ms) >= REFRESH_MS;
        if self.overflowed > 0 && self.catch_all_sent_ms.is_none_or(stale) {
            self.catch_all_sent_ms = Some(now_ms);
            rows.push(ProcessRow {
                process_id: CATCH_ALL_ID,
                service: CATCH_ALL_SERVICE.to_owned(),
                ..ProcessRow::default()
            });
        }
        rows.sort_unstable_by_key(|row| row.process_id);
        rows
    }

    /// Sends every row again with the next batch: one that carried some of them was lost.
    pub fn resend(&mut self) {
        self.catch_all_sent_ms = None;
        for identity in self.by_key.values_mut() {
            identity.changed = true;
        }
    }

    /// Forgets what was not seen for long; ids are never given twice.
    fn make_room(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.searched_ms) < SEARCH_EVERY_MS {
            return false;
        }
        self.searched_ms = now_ms;
        self.by_key
            .retain(|_, identity| now_ms.saturating_sub(identity.seen_ms) < IDLE_MS);
        self.by_key.len() < self.limit
    }
}

impl Identity {
    fn new(process_id: u32, observed: &Observed<'_>, boottime_zero_ms: u64, now_ms: u64) -> Self {
        let started_ms = match observed.started_ns {
            0 => 0,
            since_boot => boottime_zero_ms.saturating_add(since_boot / 1_000_000),
        };
        Self {
            row: ProcessRow {
                process_id,
                tgid: observed.tgid,
                started_ms,
                ..ProcessRow::default()
            },
            changed: true,
            sent_ms: 0,
            seen_ms: now_ms,
            snapshots: 0,
            looked_at: (0, 0),
            complete: false,
            is_vouched: true,
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let used_since = self.seen_ms > self.sent_ms;
        self.changed || (used_since && now_ms.saturating_sub(self.sent_ms) >= REFRESH_MS)
    }

    /// Fills the row with what is known now; never replaces something known by nothing.
    fn learn(
        &mut self,
        rules: &[ServiceRule],
        observed: &Observed<'_>,
        key: &Key,
        snapshot: &Snapshot,
    ) {
        let before = self.row.clone();
        let row = &mut self.row;
        self.snapshots = self.snapshots.saturating_add(1);
        self.looked_at = (observed.tgid, observed.started_ns);
        row.comm = text::name(until_nul(&key.comm));
        let exe_name = text::name(until_nul(&key.exe_name));
        let known_path = row.exe.contains('/');
        match &snapshot.exe {
            Some(path) => {
                row.exe = text::path(path);
                self.is_vouched = snapshot.is_vouched;
            }
            None if !known_path => row.exe = exe_name,
            None => {}
        }
        if let Some(cgroup) =
            cgroup::path(snapshot.cgroup_path.as_deref(), snapshot.cgroups.as_deref())
        {
            row.cgroup = text::path(cgroup.as_bytes());
            let place = cgroup::place(&row.cgroup);
            (row.container, row.unit) = (place.container().to_owned(), place.unit.to_owned());
        }
        name_service(rules, row, self.is_vouched);
        self.complete = snapshot.exe.is_some() && snapshot.cgroup_path.is_some();
        self.changed |= before != self.row;
    }
}

/// Service name and tags: the operator's first matching rule, else what the row tells.
fn name_service(rules: &[ServiceRule], row: &mut ProcessRow, is_vouched: bool) {
    let place = cgroup::place(&row.cgroup);
    let rule = |rule: &&ServiceRule| rule_matches(rule, row, &place, is_vouched);
    if let Some(rule) = rules.iter().find(rule) {
        row.service = rule.name.clone();
        row.tags = rule.tags.clone();
        return;
    }
    row.tags = Vec::new();
    let program = row.exe.rsplit('/').next().unwrap_or_default();
    let program = [program, &row.comm]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("(unknown)");
    row.service = place.service(program).unwrap_or_else(|| program.to_owned());
}

/// All patterns that were given match, by what no unprivileged user can choose: units and containers
/// that the system named, and paths where root made the mounts.
fn rule_matches(
    rule: &ServiceRule,
    row: &ProcessRow,
    place: &cgroup::Place<'_>,
    is_vouched: bool,
) -> bool {
    let is_of_system = !place.is_of_user;
    // A user's own manager is the system's unit; what is in it is not.
    let unit_named = is_of_system || place.container().is_empty();
    let fields = [
        (&rule.exe, row.exe.as_str(), is_vouched),
        (&rule.comm, &row.comm, true),
        (&rule.cgroup, &row.cgroup, true),
        (&rule.unit, place.system_unit, unit_named),
        (&rule.container, place.container(), is_of_system),
    ];
    fields
        .into_iter()
        .all(|(glob, field, told)| glob.as_ref().is_none_or(|glob| told && glob.matches(field)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
