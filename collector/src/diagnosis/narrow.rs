//! Whether the way between both ends is narrower than what wants to pass.

use super::judge::{Found, is_above, share};
use super::scene::Scene;
use super::statement::{Cause, Verdict};
use crate::topology::EdgeCounters;

/// A full queue drops at least this part of what is sent.
const LOSS: f64 = 0.005;
/// Less than that part of what passed before is less.
const PART: f64 = 0.7;

/// A way that is too narrow shows three things at once: a queue that is full, so that round trips
/// take longer, segments that it drops, and less data than before.
pub(super) fn judge(scene: &Scene) -> Found {
    let at = usize::from(scene.client().and_then(|side| side.rtt_us).is_none());
    let side = [scene.client(), scene.server()][at];
    let rtt = |side: &EdgeCounters| side.rtt_us?.p95;
    let bytes = |side: &EdgeCounters| Some(side.bytes_sent?.saturating_add(side.bytes_received?));
    let (now, before) = (side.and_then(rtt), scene.usual(at, rtt));
    let (passed, usual) = (side.and_then(bytes), scene.usual(at, bytes));
    let lost = |side: &EdgeCounters| share(side.retransmits?, side.segments_sent?);
    let sides = [scene.client(), scene.server()];
    let most = |parts: [Option<f64>; 2]| parts.into_iter().flatten().max_by(f64::total_cmp);
    let loss = most(sides.map(|side| side.and_then(lost)));
    let loss_before = most([0, 1].map(|at| scene.usual(at, lost)));
    let verdict = match (now.zip(before), passed.zip(usual), loss) {
        (Some((now, before)), _, _) if !is_above(now, before, 1.5) => Verdict::RuledOut,
        (_, _, Some(loss)) if loss < LOSS / 5.0 => Verdict::RuledOut,
        (Some((now, before)), Some((passed, usual)), Some(loss)) => {
            let less = !is_above(passed, usual, PART);
            match loss >= LOSS && is_above(now, before, 2.0) && less {
                true => Verdict::Likely,
                false => Verdict::Possible,
            }
        }
        _ => Verdict::Unknown,
    };
    Found::new(Cause::NarrowPath, verdict)
        .weighs(0.6)
        .share("loss", loss, loss_before)
        .time("rtt_p95", now, before)
        .bytes("passed", passed, usual)
}
