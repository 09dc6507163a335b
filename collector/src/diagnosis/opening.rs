//! Causes that keep connections from being opened.

use super::judge::{Found, is_above, share};
use super::scene::Scene;
use super::statement::{Cause, Verdict};

/// Without SYN-ACK the kernel sends the SYN again after a second (`TCP_TIMEOUT_INIT`,
/// include/net/tcp.h), so an opening that lost one takes at least that long.
const SYN_AGAIN_US: u64 = 900_000;
/// Connections that one side counted more than the other before that is told: intervals of both
/// sides do not end together.
const MISSING: u64 = 3;

pub(super) fn judge(scene: &Scene, found: &mut Vec<Found>) {
    attempts(scene, found);
    found.extend(queue(scene));
    found.push(slow(scene));
    found.extend(arrived(scene));
}

fn attempts(scene: &Scene, found: &mut Vec<Found>) {
    let listens = scene.listening.map(|listening| listening.sockets > 0);
    if listens == Some(false) {
        let one = Found::new(Cause::NobodyListens, Verdict::Likely).weighs(1.0);
        found.push(one.count("sockets", Some(0), None));
    }
    let Some(client) = scene.client() else {
        found.push(Found::new(Cause::Refused, Verdict::Unknown));
        found.push(Found::new(Cause::NoAnswer, Verdict::Unknown));
        return;
    };
    let tried = client.opened.saturating_add(client.failed);
    let unanswered = client.failed.saturating_sub(client.refused);
    let usual = |read: fn(u64, u64) -> u64| {
        scene.usual(0, |before| Some(read(before.failed, before.refused)))
    };
    for (cause, count, name, before) in [
        (
            Cause::Refused,
            client.refused,
            "refused",
            usual(|_, refused| refused),
        ),
        (
            Cause::NoAnswer,
            unanswered,
            "not_answered",
            usual(u64::saturating_sub),
        ),
    ] {
        // Where nobody tried, nothing is known.
        let Some(part) = share(count, tried) else {
            found.push(Found::new(cause, Verdict::Unknown));
            continue;
        };
        let verdict = match count {
            0 => Verdict::RuledOut,
            _ => Verdict::Likely,
        };
        let one = Found::new(cause, verdict).weighs(part);
        found.push(
            one.count(name, Some(count), before)
                .count("attempts", Some(tried), None),
        );
    }
    if listens == Some(true) {
        let one = Found::new(Cause::NobodyListens, Verdict::RuledOut);
        found.push(one.count("sockets", scene.listening.map(|of| of.sockets), None));
    }
}

/// The accept queue of the listener.
fn queue(scene: &Scene) -> Option<Found> {
    let Some(listening) = scene.listening else {
        return Some(Found::new(Cause::QueueFull, Verdict::Unknown));
    };
    if listening.sockets == 0 {
        return None;
    }
    let was_full = listening.queue_most.map(|most| most > listening.backlog);
    let turned_away = listening.drops.map(|drops| drops > 0);
    let verdict = match (turned_away, was_full) {
        (Some(true), _) | (_, Some(true)) => Verdict::Likely,
        (Some(false), _) => Verdict::RuledOut,
        (None, Some(false) | None) => Verdict::Unknown,
    };
    let turned = share(listening.drops.unwrap_or(0), scene.edge.connections);
    let one = Found::new(Cause::QueueFull, verdict).weighs(turned.unwrap_or(0.0));
    let one =
        one.count("drops", listening.drops, None)
            .count("queue_most", listening.queue_most, None);
    Some(one.count("backlog", Some(listening.backlog), None))
}

/// How long openings take, beside the round-trip time.
fn slow(scene: &Scene) -> Found {
    let read = |of: Option<&crate::topology::EdgeCounters>| {
        let side = of?;
        let opening = side.connect_latency_us?.p99?;
        Some((opening, side.rtt_us.and_then(|rtt| rtt.p99)))
    };
    let before = scene.usual(0, |side| side.connect_latency_us?.p99);
    let Some((opening, rtt)) = read(scene.client()) else {
        return Found::new(Cause::SlowOpening, Verdict::Unknown);
    };
    let explained = rtt.is_some_and(|rtt| !is_above(opening, rtt, 3.0));
    let verdict = match before {
        _ if opening >= SYN_AGAIN_US && !explained => Verdict::Likely,
        _ if explained => Verdict::RuledOut,
        Some(before) if is_above(opening, before, 2.0) => Verdict::Possible,
        Some(_) => Verdict::RuledOut,
        None => Verdict::Unknown,
    };
    Found::new(Cause::SlowOpening, verdict)
        .weighs(0.5)
        .time("connect_latency_p99", Some(opening), before)
        .time("rtt_p99", rtt, None)
}

/// Whether what the client opened reached the server.
fn arrived(scene: &Scene) -> Option<Found> {
    let (client, server) = (scene.client()?, scene.server()?);
    // Parts of what several edges share, and estimates, are no counts to compare.
    if client.apportioned || server.apportioned || scene.edge.interval.is_some() {
        return Some(Found::new(Cause::NotArrived, Verdict::Unknown));
    }
    let missing = client.opened.saturating_sub(server.opened);
    let part = share(missing, client.opened)?;
    let verdict = match missing {
        n if n > MISSING && part >= 0.01 => Verdict::Possible,
        _ => Verdict::RuledOut,
    };
    let one = Found::new(Cause::NotArrived, verdict).weighs(part);
    let one = one.count("client_opened", Some(client.opened), None);
    Some(one.count("server_opened", Some(server.opened), None))
}
