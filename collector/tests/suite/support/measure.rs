//! How right and how complete each kind of evidence is, over many simulated fleets.

use std::collections::BTreeMap;

use collector::join::{Input, topology};
use collector::topology::{Edge, EvidenceKind};
use wire::Part;

use super::fleet::{Fleet, Key, Rewriting, fleet};

/// All kinds, from the strongest to the weakest.
pub(crate) const KINDS: [EvidenceKind; 4] = [
    EvidenceKind::Token,
    EvidenceKind::Sequence,
    EvidenceKind::Conntrack,
    EvidenceKind::Address,
];

/// Edges for which a kind of evidence was the strongest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) found: u64,
    /// Those that exist.
    pub(crate) right: u64,
    /// Sum of the confidence they claim.
    pub(crate) claimed: f64,
    /// Edges it found when it was the only kind, and exist.
    pub(crate) alone: u64,
    /// Edges it found when it was the only kind.
    pub(crate) alone_found: u64,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) kinds: BTreeMap<EvidenceKind, Tally>,
    /// Edges both of whose ends are reported.
    pub(crate) visible: u64,
    /// Those that were found by any kind.
    pub(crate) joined: u64,
    /// Tokens and fingerprints that were counted as ambiguous.
    pub(crate) ambiguous: u64,
}

#[expect(clippy::cast_precision_loss, reason = "ratios of small numbers")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl Tally {
    /// The part of the edges found that exist: alone or together with others, whichever is less.
    pub(crate) fn precision(&self) -> f64 {
        let of = |right, found| if found == 0 { 1.0 } else { ratio(right, found) };
        f64::min(of(self.right, self.found), of(self.alone, self.alone_found))
    }

    /// The confidence that is claimed on average.
    pub(crate) fn confidence(&self) -> f64 {
        match self.found {
            0 => 0.0,
            found => self.claimed / ratio(found, 1),
        }
    }
}

/// Measures all kinds over the fleets of these seeds.
pub(crate) fn measure(seeds: std::ops::Range<u64>, rewriting: Rewriting) -> Measured {
    let mut measured = Measured::default();
    for seed in seeds {
        let fleet = fleet(seed, rewriting);
        let all = topology(&fleet.input, 0, 10);
        measured.visible += fleet.visible.len() as u64;
        measured.ambiguous += all.ambiguous_tokens + all.ambiguous_sequences;
        for edge in &all.edges {
            let tally = measured.kinds.entry(edge.evidence[0].kind).or_default();
            let right = fleet.all.contains_key(&key(edge));
            tally.found += 1;
            tally.right += u64::from(right);
            tally.claimed += edge.confidence;
            measured.joined += u64::from(right);
        }
        for kind in KINDS {
            let tally = measured.kinds.entry(kind).or_default();
            for edge in topology(&only(&fleet, kind), 0, 10).edges {
                if edge.evidence.iter().any(|evidence| evidence.kind == kind) {
                    tally.alone_found += 1;
                    tally.alone += u64::from(fleet.all.contains_key(&key(&edge)));
                }
            }
        }
    }
    measured
}

/// The edge as the truth names it.
pub(crate) fn key(edge: &Edge) -> Key {
    (
        edge.client.clone(),
        edge.server.clone(),
        edge.server_endpoint.clone(),
    )
}

/// What agents report without what other kinds of evidence rest on. Addresses are always known.
fn only(fleet: &Fleet, kind: EvidenceKind) -> Input {
    let mut input = fleet.input.clone();
    input.sightings.retain(|sighting| match kind {
        EvidenceKind::Token => sighting.part != Part::Sequence,
        EvidenceKind::Sequence => sighting.part == Part::Sequence,
        EvidenceKind::Conntrack | EvidenceKind::Address => false,
    });
    if kind != EvidenceKind::Conntrack {
        input.nats.clear();
    }
    input
}
