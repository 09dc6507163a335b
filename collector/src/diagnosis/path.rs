//! Causes between both ends: loss, resets that nobody sent, longer round trips.

use super::judge::{Found, is_above, share};
use super::scene::{Flow, Scene};
use super::statement::{Cause, Verdict};

/// From this share on loss is felt: a connection that loses one segment in a hundred has a small
/// part of its rate (Mathis et al., "The macroscopic behavior of the TCP congestion avoidance
/// algorithm", 1997).
const LOSS_FELT: f64 = 0.01;
/// Below it, it is not.
const LOSS_NONE: f64 = 0.001;
/// Fewer segments sent again are chance.
const AGAIN: u64 = 10;
/// Segments from which a share means something.
const SEGMENTS: u64 = 1000;
/// Share of segments out of order from which it is told.
const REORDERED: f64 = 0.05;

pub(super) fn judge(scene: &Scene, found: &mut Vec<Found>) {
    found.push(loss(scene, 0));
    found.push(loss(scene, 1));
    found.push(round_trips(scene));
    found.extend(reordered(scene));
    found.extend(resets_between(scene));
    if scene.unseen_hop {
        found.push(Found::new(Cause::HopUnseen, Verdict::Unknown));
    }
    for gateway in &scene.gateways {
        found.extend(super::ends::silent(&gateway.name, &gateway.agent));
    }
}

/// What an end sends and sends again: the client is 0, the server 1.
fn loss(scene: &Scene, from: usize) -> Found {
    let cause = [Cause::LossToServer, Cause::LossToClient][from];
    let side = [scene.client(), scene.server()][from];
    let numbers = side.and_then(|side| side.segments_sent.zip(side.retransmits));
    let Some((sent, again)) = numbers else {
        return Found::new(cause, Verdict::Unknown);
    };
    let before = scene.usual(from, |side| share(side.retransmits?, side.segments_sent?));
    let part = share(again, sent);
    let felt = part.is_some_and(|part| part >= LOSS_FELT) && again >= AGAIN;
    let more = before.is_none_or(|before| part.is_some_and(|part| part >= 2.0 * before));
    let verdict = match part {
        _ if felt && more => Verdict::Likely,
        _ if felt => Verdict::Possible,
        Some(part) if part < LOSS_NONE && sent >= SEGMENTS => Verdict::RuledOut,
        Some(_) if again == 0 && sent > 0 => Verdict::RuledOut,
        Some(_) => Verdict::Possible,
        None => Verdict::Unknown,
    };
    let one = Found::new(cause, verdict)
        .weighs(part.unwrap_or(0.0))
        .share("retransmits_of_segments_sent", part, before)
        .count("retransmits", Some(again), None)
        .count("segments_sent", Some(sent), None);
    if felt { place(scene, from, one) } else { one }
}

/// Where it is lost, by what the same hosts and gateways lose elsewhere.
fn place(scene: &Scene, from: usize, one: Found) -> Found {
    let (sender, receiver) = (&scene.ends[from], &scene.ends[1 - from]);
    let loses = |of: &dyn Fn(&Flow) -> bool| {
        let all = scene.flows.iter().filter(|flow| {
            (flow.from.as_str(), flow.to.as_str()) != (&sender.host, &receiver.host) && of(flow)
        });
        let add = |sum: (u64, u64), flow: &Flow| {
            (
                sum.0.saturating_add(flow.sent),
                sum.1.saturating_add(flow.again),
            )
        };
        let (sent, again) = all.fold((0, 0), add);
        let part = share(again, sent).filter(|_| sent >= SEGMENTS);
        part.map(|part| part >= LOSS_FELT)
    };
    let through = |name: &&String| loses(&|flow: &Flow| flow.middles.contains(name)) == Some(true);
    let middle = scene.middles.iter().find(through);
    let beside = |flow: &Flow| middle.is_none_or(|of| !flow.middles.contains(of));
    let by_sender = loses(&|flow: &Flow| flow.from == sender.host && beside(flow));
    let to_receiver = loses(&|flow: &Flow| flow.to == receiver.host && beside(flow));
    let one = one
        .names("sender", &sender.name)
        .names("receiver", &receiver.name);
    match (middle, by_sender, to_receiver) {
        (Some(middle), by, to) if by != Some(true) && to != Some(true) => {
            one.form("middle").names("middle", middle)
        }
        (_, Some(true), Some(true)) => one.form("network"),
        (_, Some(true), _) => one.form("sender"),
        (_, _, Some(true)) => one.form("receiver"),
        (_, Some(false), Some(false)) => one.form("between"),
        _ => one.form("somewhere"),
    }
}

/// The round-trip time beside the usual one.
fn round_trips(scene: &Scene) -> Found {
    let at = usize::from(scene.client().and_then(|side| side.rtt_us).is_none());
    let side = [scene.client(), scene.server()][at];
    let Some(now) = side.and_then(|side| side.rtt_us?.p95) else {
        return Found::new(Cause::SlowPath, Verdict::Unknown);
    };
    let before = scene.usual(at, |side| side.rtt_us?.p95);
    // Buckets are powers of two: what differs by less than that may be the same.
    let verdict = match before {
        Some(before) if is_above(now, before, 2.0) => Verdict::Likely,
        Some(before) if is_above(now, before, 1.5) => Verdict::Possible,
        Some(_) => Verdict::RuledOut,
        None => Verdict::Unknown,
    };
    let form = if before.is_none() { "no_usual" } else { "" };
    let one = Found::new(Cause::SlowPath, verdict).weighs(0.3).form(form);
    one.time("rtt_p95", Some(now), before)
}

fn reordered(scene: &Scene) -> Option<Found> {
    let sides = [scene.client(), scene.server()].into_iter().flatten();
    let parts = sides.filter_map(|side| {
        let received = side.segments_received?;
        let part = share(side.out_of_order?, received)?;
        (received >= SEGMENTS).then_some(part)
    });
    let most = parts.max_by(f64::total_cmp)?;
    let verdict = match most {
        most if most >= REORDERED => Verdict::Possible,
        _ => Verdict::RuledOut,
    };
    let one = Found::new(Cause::Reordered, verdict).weighs(most * 0.1);
    Some(one.share("out_of_order_of_segments_received", Some(most), None))
}

/// Resets that an end received and the other did not send.
fn resets_between(scene: &Scene) -> Option<Found> {
    let (client, server) = (scene.client()?, scene.server()?);
    let apart = !client.apportioned && !server.apportioned;
    let pairs = [
        (client.reset_remote, server.reset_local),
        (server.reset_remote, client.reset_local),
    ];
    let mut unsent = 0;
    let mut received = 0;
    for (got, sent) in pairs {
        // What an end cannot measure says nothing of the other.
        let (got, sent) = (got.filter(|_| apart)?, sent?);
        received += got;
        unsent += got.saturating_sub(sent);
    }
    let part = share(unsent, scene.edge.connections)?;
    let verdict = match unsent {
        0 => Verdict::RuledOut,
        1..3 => Verdict::Possible,
        _ => Verdict::Likely,
    };
    let one = Found::new(Cause::ResetBetween, verdict).weighs(part);
    Some(one.count("resets_received", Some(received), None).count(
        "resets_not_sent",
        Some(unsent),
        None,
    ))
}
