//! How right each kind of evidence is, in fleets that know the truth.

use collector::topology::EvidenceKind;

use crate::support::calibration::{Calibration, calibrate};
use crate::support::fleet::Rewriting;
use crate::support::histories::{SHAPES, Shape};
use crate::support::measure::{KINDS, Measured, measure, ratio};

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
fn whatever_happened_what_both_ends_told_is_found_and_sums_are_what_each_side_counted() {
    for shape in SHAPES {
        let found = calibrate(shape, 0..HISTORIES);
        assert_eq!(found.wrong_from(9), 0, "{shape:?}: {:?}", found.wrong);
        assert_eq!(found.told.0, found.told.1, "{shape:?}");
        assert_eq!(found.sides.0, found.sides.1, "{shape:?}");
        assert_eq!(found.whole.0, found.whole.1, "{shape:?}");
        assert!(found.sides.0 > 30, "{shape:?}: {}", found.sides.0);
        // Of twins no connection has agents at both ends.
        assert!(shape == Shape::Twins || found.counted.1 > 20, "{shape:?}");
    }
}

#[test]
fn no_tenth_of_confidence_and_no_interval_claims_more_than_it_holds() {
    let mut all = Calibration::default();
    for shape in SHAPES {
        all.merge(&calibrate(shape, 0..HISTORIES));
    }
    for (tenth, bin) in all.bins.iter().enumerate().filter(|(_, bin)| bin.edges > 0) {
        let (right, claimed) = (
            ratio(bin.right, bin.edges),
            bin.claimed / ratio(bin.edges, 1),
        );
        // Where none is wrong, nobody can claim less than is true.
        assert!(
            right >= claimed || right >= 1.0,
            "{tenth}: {right} {claimed}"
        );
    }
    let held = ratio(all.intervals.1, all.intervals.0);
    assert!(all.intervals.0 > 50 && held >= 0.95, "{:?}", all.intervals);
    let exact = ratio(all.exact.1, all.exact.0);
    assert!(all.exact.0 > 200 && exact >= 0.95, "{:?}", all.exact);
}
