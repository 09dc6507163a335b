//! Causes at both ends, and what is not known of them.

use super::judge::{Found, share};
use super::scene::{Agent, Scene};
use super::spread;
use super::statement::{Cause, Verdict};

/// An agent sends a batch every ten seconds unless it is told otherwise; one that was silent for
/// six of them is not late.
const SILENT_MS: i64 = 60_000;
/// Below this confidence the join itself is in doubt.
const SURE: f64 = 0.8;

pub(super) fn judge(scene: &Scene, found: &mut Vec<Found>) {
    for at in [0, 1] {
        found.extend(resets(scene, at));
        found.push(reads(scene, at));
        let place = &scene.ends[at];
        if let Some(why) = &place.unseen {
            let one = Found::new(Cause::EndUnseen, Verdict::Unknown).weighs(0.9);
            found.push(one.names("place", &place.name).names("why", why));
        }
        let Some(agent) = &place.agent else { continue };
        found.extend(silent(&place.name, agent));
        if agent.lost > 0 {
            let one = Found::new(Cause::DataLost, Verdict::Possible);
            found.push(
                one.names("place", &place.name)
                    .count("lost", Some(agent.lost), None),
            );
        }
    }
    let confidence = scene.edge.confidence;
    if confidence < SURE && scene.edge.reason.is_none() {
        let one = Found::new(Cause::WeakEvidence, Verdict::Unknown).weighs(1.0);
        found.push(one.share("confidence", Some(confidence), None));
    }
}

/// Whether an agent stopped reporting.
pub(super) fn silent(name: &str, agent: &Agent) -> Option<Found> {
    let one = Found::new(Cause::HostSilent, Verdict::Likely).weighs(1.0);
    let seconds = u64::try_from(agent.silent_ms / 1000).unwrap_or(0);
    (agent.silent_ms >= SILENT_MS).then(|| {
        one.names("place", name)
            .count("silent_seconds", Some(seconds), None)
    })
}

/// Who ends connections with a reset: the client is 0, the server 1.
fn resets(scene: &Scene, at: usize) -> Option<Found> {
    let cause = [Cause::ResetByClient, Cause::ResetByServer][at];
    let sides = [scene.client(), scene.server()];
    let own = sides[at].and_then(|side| side.reset_local);
    let told = sides[1 - at].and_then(|side| side.reset_remote);
    let before = scene
        .usual(at, |side| side.reset_local)
        .or_else(|| scene.usual(1 - at, |side| side.reset_remote));
    let Some(count) = own.or(told) else {
        return Some(Found::new(cause, Verdict::Unknown));
    };
    // Seen from the other side alone, it may have been something between.
    let (verdict, form) = match (count, own) {
        (0, _) => (Verdict::RuledOut, ""),
        (_, Some(_)) => (Verdict::Likely, ""),
        (_, None) => (Verdict::Possible, "other"),
    };
    let part = share(count, scene.edge.connections);
    let one = Found::new(cause, verdict).weighs(part.unwrap_or(0.0));
    let alone = spread::others(scene, count).filter(|_| at == 1 && verdict == Verdict::Likely);
    let (form, one) = match alone {
        Some([others, resets, opened]) => (
            "alone",
            one.count("others", Some(others), None)
                .count("others_resets", Some(resets), None)
                .count("others_opened", Some(opened), None),
        ),
        None => (form, one),
    };
    let one = one.form(form).count("resets", Some(count), before);
    Some(one.count("connections", Some(scene.edge.connections), None))
}

/// Whether an end reads what it is sent, as its peer is told by zero windows: the client is 0, the
/// server 1.
fn reads(scene: &Scene, at: usize) -> Found {
    let cause = [Cause::ClientDoesNotRead, Cause::ServerDoesNotRead][at];
    let peer = [scene.client(), scene.server()][1 - at];
    let before = scene.usual(1 - at, |side| side.zero_windows);
    let Some(count) = peer.and_then(|side| side.zero_windows) else {
        return Found::new(cause, Verdict::Unknown);
    };
    let verdict = match (count, before) {
        (0, _) => Verdict::RuledOut,
        (count, Some(before)) if count <= before.saturating_mul(2) => Verdict::Possible,
        _ => Verdict::Likely,
    };
    let part = share(count, scene.edge.connections).unwrap_or(0.0);
    let one = Found::new(cause, verdict).weighs(part * 0.5);
    one.count("zero_windows", Some(count), before)
}
