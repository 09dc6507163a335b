//! How right each kind of evidence is, in fleets that know the truth.

use collector::topology::EvidenceKind;

use crate::support::calibration::{Calibration, calibrate};
use crate::support::fleet::Rewriting;
use crate::support::measure::{KINDS, Measured, measure, ratio};
use crate::support::shapes::{SHAPES, Shape};

/// Fleets of each kind: each has up to 39 services of up to 60 connections.
const FLEETS: u64 = 40;

fn measured(rewriting: Rewriting) -> Measured {
    let measured = measure(0..FLEETS, rewriting);
    assert!(measured.visible > 500, "{}", measured.visible);
    measured
}

#[test]
fn what_tokens_and_sequence_numbers_join_is_always_right() {
    for rewriting in [
        Rewriting::Nowhere,
        Rewriting::Somewhere,
        Rewriting::Everywhere,
    ] {
        let measured = measured(rewriting);
        for kind in [EvidenceKind::Token, EvidenceKind::Sequence] {
            let tally = measured.kinds[&kind];
            assert_eq!(tally.found, tally.right, "{kind:?}, {rewriting:?}");
            assert_eq!(tally.alone_found, tally.alone, "{kind:?}, {rewriting:?}");
        }
    }
}

#[test]
fn a_box_that_rewrites_sequence_numbers_costs_edges_and_makes_none() {
    let recall = |rewriting| {
        let measured = measured(rewriting);
        let tally = measured.kinds[&EvidenceKind::Sequence];
        ratio(tally.alone, measured.visible)
    };
    let (none, some, all) = (
        recall(Rewriting::Nowhere),
        recall(Rewriting::Somewhere),
        recall(Rewriting::Everywhere),
    );
    assert!(none > 0.4 && some < none && some > 0.1, "{none} {some}");
    assert!(all < 0.001, "{all}");
}

#[test]
fn no_kind_of_evidence_claims_more_than_it_holds() {
    let measured = measured(Rewriting::Somewhere);
    for kind in KINDS {
        let tally = measured.kinds[&kind];
        assert!(tally.found > 0, "{kind:?}");
        let (precision, claimed) = (tally.precision(), tally.confidence());
        assert!(precision >= claimed, "{kind:?}: {precision} {claimed}");
    }
    // Together they find what the strongest alone does not.
    let alone = measured.kinds[&EvidenceKind::Token].alone;
    assert!(measured.joined > 2 * alone, "{} {alone}", measured.joined);
}

/// Histories of each shape.
const HISTORIES: u64 = 12;

#[test]
fn whatever_happened_no_edge_number_or_sum_is_wrong_and_confidence_is_what_it_says() {
    let mut all = Calibration::default();
    for shape in SHAPES {
        let found = calibrate(shape, 0..HISTORIES).named(shape);
        assert!(found.sides.0 > 30, "{shape:?}: {}", found.sides.0);
        // Of twins no connection has agents at both ends.
        assert!(shape == Shape::Twins || found.counted.1 > 20, "{shape:?}");
        all.merge(&found);
    }
    assert!(all.intervals.0 > 50 && all.exact.0 > 200, "{all:?}");
    assert_eq!(all.faults(), [""; 0], "{:?} {:?}", all.wrong, all.off);
}
