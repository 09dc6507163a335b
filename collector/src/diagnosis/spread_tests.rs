//! One server of several, a distribution, and a way that is too narrow.

use super::tests::{percentiles, scene, siblings, verdict, with};
use super::*;

#[test]
fn a_way_is_too_narrow_where_a_queue_grows_and_drops_and_less_passes() {
    let narrow = |again, rtt, bytes| {
        let mut scene = with(
            |client| client.rtt_us = Some(percentiles(rtt)),
            |server| server.retransmits = Some(again),
        );
        let usual = scene
            .usual
            .as_mut()
            .and_then(|edge| edge.client_counters.as_mut());
        for (side, bytes) in [
            (usual, 10 << 20),
            (scene.edge.client_counters.as_mut(), bytes),
        ] {
            let side = side.expect("a side");
            (side.bytes_sent, side.bytes_received) = (Some(1000), Some(bytes));
        }
        scene
    };
    let verdict_of = |scene: &Scene| verdict(scene, Cause::NarrowPath);
    let scene = narrow(300, 50_000, 1 << 20);
    assert_eq!(verdict_of(&scene), Some(Verdict::Likely));
    let said = diagnose(&scene, Language::English).headline;
    assert_eq!(
        said,
        "The way is narrower than what wants to pass: 3.00% (before: 0.00%) is lost, round trips \
         take 50.0 ms (before: 800 us), and 1.0 MiB (before: 10.0 MiB) pass."
    );
    // As much as before passes; loss without a queue; a queue that drops nothing.
    assert_eq!(
        verdict_of(&narrow(300, 50_000, 10 << 20)),
        Some(Verdict::Possible)
    );
    assert_eq!(
        verdict_of(&narrow(300, 900, 1 << 20)),
        Some(Verdict::RuledOut)
    );
    assert_eq!(
        verdict_of(&narrow(0, 50_000, 1 << 20)),
        Some(Verdict::RuledOut)
    );
    let mut first = narrow(300, 50_000, 1 << 20);
    first.usual = None;
    assert_eq!(verdict_of(&first), Some(Verdict::Unknown));
}

#[test]
fn connections_are_spread_evenly_or_not_or_are_too_few() {
    let spread = |opened, before: Option<[u64; 3]>| {
        let mut scene = scene();
        scene.siblings = siblings(opened);
        for (at, one) in scene.siblings.iter_mut().enumerate() {
            one.before = before.map(|all| all[at]);
        }
        scene
    };
    let verdict_of = |scene: &Scene| verdict(scene, Cause::Unbalanced);
    let even = spread([340, 330, 330], None);
    assert_eq!(verdict_of(&even), Some(Verdict::RuledOut));
    let skewed = spread([800, 100, 100], Some([334, 333, 333]));
    assert_eq!(verdict_of(&skewed), Some(Verdict::Likely));
    let said = diagnose(&skewed, Language::English);
    assert!(
        said.headline.contains("b/db gets 80.00% (before: 33.40%)"),
        "{said:?}"
    );
    let parts: Vec<_> = said
        .siblings
        .iter()
        .map(|one| (one.share, one.usual_share))
        .collect();
    assert_eq!(parts[0], (Some(80.0), Some(33.4)));
    assert_eq!(said.siblings_left_out, 0);
    // One that gets nothing; weights that are as they were; too few to say.
    assert_eq!(
        verdict_of(&spread([500, 500, 20], None)),
        Some(Verdict::Likely)
    );
    let meant = spread([800, 100, 100], Some([400, 50, 50]));
    assert_eq!(verdict_of(&meant), Some(Verdict::Possible));
    assert_eq!(verdict_of(&spread([8, 1, 1], None)), Some(Verdict::Unknown));
    assert_eq!(verdict_of(&scene()), None, "there is no other");
}

#[test]
fn a_server_that_alone_of_its_siblings_resets_is_said_to() {
    let resets = |others: Option<u64>| {
        let mut scene = with(
            |client| client.reset_remote = Some(30),
            |server| server.reset_local = Some(30),
        );
        scene.siblings = siblings([1000, 1000, 1000]);
        for one in &mut scene.siblings[1..] {
            one.resets = others;
        }
        diagnose(&scene, Language::English).headline
    };
    assert!(
        resets(Some(0)).contains("and it alone: 2 other servers"),
        "{}",
        resets(Some(0))
    );
    assert!(!resets(Some(25)).contains("alone"));
    assert!(!resets(None).contains("alone"), "nobody counts theirs");
}
