//! Edge rows from simulated connections.

use wire::{EdgeRow, Role};

use super::random::{Random, count, float};
use super::topology::{Host, Process, Site};
use super::traffic::{durations, total};

/// One more edge of a process.
pub(crate) fn edge(random: &mut Random, host: &Host, process: &Process) -> EdgeRow {
    let (role, local, remote, site) = process.pair(random);
    let style = &process.style;
    let whole_ms = host.now_ms - host.agent_started_ms;
    // Found when the agent started, which takes some milliseconds; or begun since.
    let found = random.chance(0.35);
    let age_ms = if found {
        whole_ms - random.below(60)
    } else {
        let log = float(10_000).ln() + random.unit() * (float(whole_ms) / 10_000.0).ln().max(0.1);
        count(log.exp()).clamp(1, whole_ms)
    };
    let seconds = float(age_ms) / 1000.0;
    let rate = random.around(style.rate, 0.9);
    let opened = random.poisson(rate * seconds).max(1);
    let live = random
        .poisson(rate * style.lifetime_s.min(seconds))
        .min(opened);
    // The handshakes of connections that were open then were not seen.
    let unseen = if found {
        random.poisson(rate * style.lifetime_s).min(opened)
    } else {
        0
    };
    let mut row = EdgeRow {
        opened,
        closed: opened - live,
        ..EdgeRow::new(
            (process.row.process_id, role, local, remote),
            process.netns,
            host.now_ms - age_ms,
        )
    };
    ends(random, &mut row, process);
    volume(random, &mut row, process, &site);
    times(
        random,
        &mut row,
        &site,
        seconds.min(style.lifetime_s),
        opened - unseen,
    );
    (row.opened, row.adopted) = (opened - unseen, unseen);
    row
}

fn ends(random: &mut Random, row: &mut EdgeRow, process: &Process) {
    let style = &process.style;
    row.failed = random.poisson(float(row.opened) * style.failures);
    row.refused = random.binomial(row.failed, 0.6);
    let resets = random.binomial(row.closed, style.resets);
    let mine = if row.role == Role::Client { 0.9 } else { 0.1 };
    row.reset_local = random.binomial(resets, mine);
    row.reset_remote = resets - row.reset_local;
}

fn volume(random: &mut Random, row: &mut EdgeRow, process: &Process, site: &Site) {
    let style = &process.style;
    let calls = float(row.opened) * random.around(style.requests, 0.3);
    let (request, response) = (
        random.around(style.request_bytes, 0.25),
        random.around(style.response_bytes, 0.25),
    );
    let (asked, answered) = (
        total(random, calls, request),
        total(random, calls, response),
    );
    // Data segments carry full payloads but for the last one of each message.
    let asked_segments = asked / site.mss + calls * 0.7;
    let answered_segments = answered / site.mss + calls * 0.7;
    // Pure acknowledgements: every second segment, fewer where the card merges them.
    let mut acks = |segments: f64| segments * 0.45 * random.around(1.0, 0.12);
    let (asked_acks, answered_acks) = (acks(asked_segments), acks(answered_segments));
    let both = float(row.opened) * 2.0 + float(row.closed);
    let client = (asked, asked_segments + answered_acks + both);
    let server = (answered, answered_segments + asked_acks + both);
    let (sent, received) = if row.role == Role::Client {
        (client, server)
    } else {
        (server, client)
    };
    row.bytes_sent = count(sent.0);
    row.bytes_received = count(received.0);
    row.retransmits = random.poisson(sent.1 * site.loss);
    row.segments_sent = count(sent.1) + row.retransmits;
    row.segments_received = count(received.1) + random.poisson(received.1 * site.loss);
    row.out_of_order = random.poisson(received.1 * site.loss * 1.4);
    if style.slow_reader {
        row.zero_windows = random.poisson(float(row.opened) * 0.05);
    }
}

fn times(random: &mut Random, row: &mut EdgeRow, site: &Site, lives_s: f64, handshakes: u64) {
    let rtt = random.around(site.rtt_us, 0.2);
    let sigma = random.around(0.35, 0.3);
    // One value per connection, and one more per report that it lives through.
    let reports = random.around(lives_s / 10.0, 0.3);
    let samples = row.opened + random.poisson(float(row.opened) * reports);
    row.rtt = durations(random, samples, rtt, sigma);
    if row.role == Role::Client {
        // A lost SYN is sent again after one second.
        let late = random
            .poisson(float(handshakes) * site.loss)
            .min(handshakes);
        row.connect_latency = durations(random, handshakes - late, rtt * 1.15, sigma * 0.8);
        for _ in 0..late {
            row.connect_latency.record(1_000_000 + count(rtt));
        }
    }
}
