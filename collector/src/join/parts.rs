//! An edge as it is added up, and what its document says of the sums.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use wire::Endpoint;

use super::confidence::{self, ONE_SIDED};
use super::links::{Link, MAX_VIA};
use super::rows::{MAX_CANDIDATES, NodeId, Row};
use super::side::Side;
use crate::packed::Packed;
use crate::topology::{
    Attempts, Edge, EdgeCounters, Evidence, EvidenceKind, Interval, Reason, Seer, Via, ViaKind,
};

/// The name of a host by its id, 32 hexadecimal digits.
pub(super) type NameOf<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

/// An edge while its links and shares are added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// As the client tells.
    pub(super) here: Found,
    /// Those that the server tells of in the window and the client in another one.
    pub(super) elsewhere: Found,
    /// The part of both that had begun before the window.
    pub(super) here_old: Found,
    pub(super) elsewhere_old: Found,
    pub(super) connections: u64,
    /// Least and most, where some of it is an estimate.
    pub(super) range: (u64, u64),
    pub(super) sampled: bool,
    pub(super) same_namespace: bool,
    pub(super) via: Vec<Via>,
    pub(super) client: Share,
    pub(super) server: Share,
    pub(super) seen: Span,
    pub(super) shared_rows_seen: Span,
    /// Why rows left something over, and how much.
    pub(super) reasons: Vec<(Reason, u64)>,
    /// What was tried in vain, where that is several endpoints.
    pub(super) attempts: Option<Box<Attempts>>,
    /// Who may be the other end.
    pub(super) candidates: BTreeSet<NodeId>,
}

/// What one side contributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Share {
    pub(super) counters: Option<Packed>,
    pub(super) apportioned: bool,
    pub(super) connections: u64,
    /// Those of them that were open when the window began.
    pub(super) open_before: u64,
    /// Connections open when it ended.
    pub(super) open: u64,
    /// Connections that a later window may find open; with those of an earlier one that nobody found
    /// since.
    pub(super) left_open: u64,
    /// It was added up from several windows.
    pub(super) added: bool,
}

/// Connections that evidence joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tokens: u64,
    pub(super) sequences: u64,
    /// Connections that both account for.
    pub(super) estimate: u64,
    pub(super) conntrack: u64,
    pub(super) addresses: u64,
}

/// A span of time that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(pub(super) Option<(i64, i64)>);

impl Span {
    pub(super) fn widen(&mut self, other: (i64, i64)) {
        let span = self.0.get_or_insert(other);
        *span = (span.0.min(other.0), span.1.max(other.1));
    }
}

/// Connections that no link accounts for: those that are told, where none were counted.
pub(super) fn left(row: &Row) -> u64 {
    if row.counters.is_some() || row.linked {
        row.rest
    } else {
        row.half_ends
    }
}

impl Parts {
    pub(super) fn add_link(&mut self, link: Link, same_namespace: bool) {
        let [by_token, by_sequence] = link.only_by;
        self.here.tokens += link.tokens.number + by_token[0];
        self.here.sequences += link.sequences.number + by_sequence[0];
        self.elsewhere.tokens += by_token[1];
        self.elsewhere.sequences += by_sequence[1];
        let [old_tokens, old_sequences] = link.found_by;
        for (side, old) in [&mut self.here_old, &mut self.elsewhere_old]
            .into_iter()
            .enumerate()
        {
            old.tokens += old_tokens[side];
            old.sequences += old_sequences[side];
            old.estimate += old_tokens[side] + old_sequences[side];
        }
        let [only, elsewhere] = link.only.map(|only| only.estimate());
        self.elsewhere.estimate = self.elsewhere.estimate.saturating_add(elsewhere);
        self.connections = self.connections.saturating_add(only);
        self.range.0 = self.range.0.saturating_add(only);
        self.range.1 = self.range.1.saturating_add(only);
        let here = &mut self.here;
        here.estimate = here.estimate.saturating_add(only);
        here.conntrack = here.conntrack.saturating_add(link.conntrack);
        here.estimate = here.estimate.saturating_add(link.told - link.extra);
        here.addresses = here.addresses.saturating_add(link.addresses);
        let weight = link.weight();
        self.connections = self.connections.saturating_add(weight);
        let (low, high) = link.range.unwrap_or((weight, weight));
        self.range.0 = self.range.0.saturating_add(low);
        self.range.1 = self.range.1.saturating_add(high);
        self.sampled |= link.sampled();
        self.same_namespace |= same_namespace;
        if let Some(seen) = link.seen_ms {
            self.seen.widen(seen);
        }
        let mut all: BTreeSet<Via> = std::mem::take(&mut self.via).into_iter().collect();
        for via in link.via {
            if all.len() < MAX_VIA {
                all.insert(via);
            }
        }
        self.via = all.into_iter().collect();
    }

    pub(super) fn add_rest(&mut self, row: &Row, reason: Reason) {
        let left = left(row);
        self.connections = self.connections.saturating_add(left);
        self.range.0 = self.range.0.saturating_add(left);
        self.range.1 = self.range.1.saturating_add(left);
        let room = MAX_CANDIDATES - self.candidates.len();
        self.candidates.extend(row.candidates.iter().take(room));
        self.add_reason(reason, left);
    }

    pub(super) fn add_reason(&mut self, reason: Reason, left: u64) {
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(left),
            None => {
                self.reasons.push((reason, left));
                self.reasons.sort_unstable();
            }
        }
    }

    /// Connections: together with those of its other edges, what a row's side counted.
    pub(super) fn connections(&self) -> u64 {
        self.connections.saturating_add(self.unknown())
    }

    /// Connections that the server tells of and the client cannot, for its agent is gone: it told of
    /// them before, if ever.
    fn unknown(&self) -> u64 {
        match (&self.client.counters, &self.server.counters) {
            (None, Some(_)) => self.elsewhere.estimate,
            _ => 0,
        }
    }

    /// Those of the connections that were open when the window began, by the side that counts them.
    fn open_before(&self) -> u64 {
        let side = match (&self.client.counters, &self.server.counters) {
            (None, Some(_)) => &self.server,
            _ => &self.client,
        };
        let open = side.open_before.saturating_add(self.unknown());
        open.min(self.connections())
    }

    fn interval(&self) -> Option<Interval> {
        let (low, high) = self.range;
        let more = self.unknown();
        (low < high).then_some(Interval {
            low: low.saturating_add(more),
            high: high.saturating_add(more),
        })
    }

    /// Connections found by tokens, by sequence numbers, and what they account for. A window may be
    /// so short that only the server tells of any in it.
    fn found(&self) -> Found {
        if self.here.tokens + self.here.sequences > 0 {
            return self.here;
        }
        Found {
            conntrack: self.here.conntrack,
            addresses: self.here.addresses,
            ..self.elsewhere
        }
    }

    /// Who may be the other end of what is not joined.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Side> {
        self.candidates.iter().map(|node| Side::Process(*node))
    }

    pub(super) fn confidence(&self, unknown_owners: usize) -> f64 {
        let known = self.evidence_confidence();
        confidence::with_unknown_owners(known, unknown_owners)
    }

    fn evidence_confidence(&self) -> f64 {
        let Found {
            tokens,
            sequences,
            estimate,
            conntrack,
            addresses,
        } = self.found();
        if tokens > 0 {
            confidence::token(tokens, estimate, self.connections())
        } else if sequences > 0 {
            confidence::sequence(sequences, estimate, self.connections())
        } else if conntrack > 0 {
            confidence::conntrack(conntrack, self.connections())
        } else if addresses > 0 {
            let (client, server) = (self.client.connections, self.server.connections);
            confidence::address(client, server, self.same_namespace)
        } else {
            ONE_SIDED
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let found = self.found();
        [
            (EvidenceKind::Token, found.tokens),
            (EvidenceKind::Sequence, found.sequences),
            (EvidenceKind::Conntrack, found.conntrack),
            (EvidenceKind::Address, found.addresses),
        ]
        .into_iter()
        .filter(|(_, connections)| *connections > 0)
        .map(|(kind, connections)| Evidence { kind, connections })
        .collect()
    }

    /// Connections that failed or were reset. What a side had in common with other edges was divided
    /// among them, whoever of these was to blame: where the other side counted this edge alone, that
    /// is what is known; else the side that saw more.
    pub(super) fn wrong(&self) -> u64 {
        let sides = [&self.client, &self.server];
        let exact = sides.map(|side| !side.apportioned && side.counters.is_some());
        let counted = sides.into_iter().zip(exact);
        let counted = counted.filter(|(_, is_exact)| *is_exact || exact == [false; 2]);
        let wrong = counted.filter_map(|(side, _)| side.counters.as_ref().map(Packed::wrong));
        wrong.max().unwrap_or(0)
    }

    /// The addresses on the way; `gateway` gives the name of a host by its id.
    fn via(&self, gateway: &NameOf<'_>) -> Vec<Via> {
        let named = |via: &Via| {
            let name = match via.kind {
                ViaKind::Gateway => gateway(&via.address).filter(|name| !name.is_empty()),
                ViaKind::Vip | ViaKind::Nat => None,
            };
            Via {
                address: name.unwrap_or(&via.address).to_owned(),
                ..*via
            }
        };
        let mut all: Vec<Via> = self.via.iter().map(named).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The document form.
    pub(super) fn edge<'a>(
        &self,
        endpoint: Endpoint,
        [client, server]: [&str; 2],
        candidates: Vec<String>,
        (unknown_owners, gateway): (Vec<Seer>, &NameOf<'a>),
    ) -> Edge {
        let (first_seen_ms, last_seen_ms) =
            self.seen.0.or(self.shared_rows_seen.0).unwrap_or_default();
        Edge {
            client: client.to_owned(),
            server: server.to_owned(),
            server_endpoint: endpoint.to_string(),
            via: self.via(gateway),
            evidence: self.evidence(),
            confidence: self.confidence(unknown_owners.len()),
            unknown_owners,
            connections: self.connections(),
            open_before: self.open_before(),
            interval: self.interval(),
            sampled: self.sampled,
            client_counters: self.client.document(),
            server_counters: self.server.document(),
            first_seen_ms,
            last_seen_ms,
            reason: self.reason(),
            candidates,
            attempts: self.attempts.as_deref().cloned(),
        }
    }

    /// The reason of most of what was left over; of two, the more specific one.
    pub(super) fn reason(&self) -> Option<Reason> {
        let most = self
            .reasons
            .iter()
            .max_by_key(|(reason, left)| (*left, Reverse(*reason)));
        most.map(|(reason, _)| *reason)
    }
}

impl Share {
    fn document(&self) -> Option<EdgeCounters> {
        let counters = self.counters.as_ref()?;
        let mut document = EdgeCounters::new(&counters.counters(), self.open, self.apportioned);
        if self.added {
            // What one run of an agent left open in an earlier window the next one did not adopt.
            document.adopted = document.adopted.min(self.open_before);
        }
        Some(document)
    }
}
