//! How an edge of one window and the same one of a later window are added up.
//!
//! A connection that outlives a window is in the next one as well, as one that was open when it
//! began. So of a later window that is left out which an earlier one left open: then each connection
//! counts once, whichever windows are added up first.

use std::collections::BTreeSet;

use super::links::MAX_VIA;
use super::parts::{Found, Parts, Share};
use super::rows::MAX_CANDIDATES;
use super::side::{EdgeKey, Side};
use crate::topology::Via;

impl Parts {
    /// What its numbers are part of once they are complete: what of them had begun before.
    pub(super) fn settle(&mut self, key: &EdgeKey) {
        for share in [&mut self.client, &mut self.server] {
            share.left_open = share.open;
        }
        let known = self.here_old.tokens.saturating_add(self.here_old.sequences);
        let mut left = self.counts(key).open_before.saturating_sub(known);
        self.here_old.conntrack = self.here.conntrack.min(left);
        left -= self.here_old.conntrack;
        self.here_old.addresses = self.here.addresses.min(left);
    }

    /// The side that counts the connections.
    fn counts(&self, key: &EdgeKey) -> &Share {
        match key.client {
            Side::Process(_) => &self.client,
            Side::Address(_) | Side::Network(..) => &self.server,
        }
    }

    /// Adds what a later window says.
    pub(super) fn add(&mut self, key: &EdgeKey, later: Self) {
        let counts = later.counts(key);
        let known = self.counts(key).left_open.min(counts.open_before);
        let more = |n: u64| n.saturating_sub(known.min(later.connections));
        self.connections = self.connections.saturating_add(more(later.connections));
        self.range.0 = self.range.0.saturating_add(more(later.range.0));
        self.range.1 = self.range.1.saturating_add(more(later.range.1));
        self.here.add(later.here, later.here_old);
        self.elsewhere.add(later.elsewhere, later.elsewhere_old);
        self.sampled |= later.sampled;
        self.same_namespace |= later.same_namespace;
        self.via = united(std::mem::take(&mut self.via), later.via);
        self.client.follow(later.client);
        self.server.follow(later.server);
        for (mine, other) in [
            (&mut self.seen, later.seen),
            (&mut self.shared_rows_seen, later.shared_rows_seen),
        ] {
            if let Some(other) = other.0 {
                mine.widen(other);
            }
        }
        for (reason, left) in later.reasons {
            self.add_reason(reason, left);
        }
        match (&mut self.attempts, later.attempts) {
            (Some(mine), Some(other)) => mine.add(&other),
            (mine @ None, other) => *mine = other,
            (Some(_), None) => {}
        }
        let room = MAX_CANDIDATES.saturating_sub(self.candidates.len());
        self.candidates
            .extend(later.candidates.into_iter().take(room));
    }
}

impl Found {
    /// Adds what is new of a later window.
    fn add(&mut self, later: Self, old: Self) {
        for (mine, later, old) in [
            (&mut self.tokens, later.tokens, old.tokens),
            (&mut self.sequences, later.sequences, old.sequences),
            (&mut self.estimate, later.estimate, old.estimate),
            (&mut self.conntrack, later.conntrack, old.conntrack),
            (&mut self.addresses, later.addresses, old.addresses),
        ] {
            *mine = mine.saturating_add(later.saturating_sub(old));
        }
    }
}

impl Share {
    fn follow(&mut self, later: Self) {
        let known = self.left_open.min(later.open_before);
        let found = later.open_before - known;
        self.open_before = self.open_before.saturating_add(found);
        let connections = later.connections.saturating_sub(known);
        self.connections = self.connections.saturating_add(connections);
        self.left_open = later.left_open.saturating_add(self.left_open - known);
        self.apportioned |= later.apportioned;
        self.added = true;
        if later.counters.is_some() {
            self.open = later.open;
        }
        match (&mut self.counters, later.counters) {
            (Some(sum), Some(counters)) => sum.add(&counters),
            (sum @ None, counters) => *sum = counters,
            (Some(_), None) => {}
        }
    }
}

/// The first ones of both, sorted.
fn united(mine: Vec<Via>, other: Vec<Via>) -> Vec<Via> {
    if mine == other {
        return mine;
    }
    let all: BTreeSet<Via> = mine.into_iter().chain(other).collect();
    all.into_iter().take(MAX_VIA).collect()
}
