//! Edge rows from simulated connections.

use wire::{EdgeRow, Role, SINCE_STEP_MS};

use super::random::{Random, count, float};
use super::topology::{Host, Process, Site};
use super::traffic::{durations, total};

/// Milliseconds of an interval.
pub const INTERVAL_MS: u64 = 10_000;

/// An edge of a process, with all that it counted since it began.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// A total.
    pub(crate) row: EdgeRow,
    site: Site,
    /// Connections per second.
    rate: f64,
}

/// What connections do in a while.
struct While {
    /// Connections as if each lived all of its life in it.
    lives: f64,
    /// Values of the round trip.
    round_trips: u64,
    /// Handshakes that were seen.
    handshakes: u64,
}

/// One more edge of a process.
pub(crate) fn edge(random: &mut Random, host: &Host, process: &Process) -> Edge {
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
    let ends = (process.row.process_id, role, local, remote);
    // As the agent does: in steps from its own start.
    let since_ms = host.now_ms - age_ms - (whole_ms - age_ms) % SINCE_STEP_MS;
    let mut row = EdgeRow {
        opened,
        closed: opened - live,
        ..EdgeRow::new(ends, process.netns, since_ms)
    };
    // One value per connection, and one more per report that it lives through.
    let reports = random.around(seconds.min(style.lifetime_s) / 10.0, 0.3);
    let what = While {
        lives: float(opened),
        round_trips: opened + random.poisson(float(opened) * reports),
        handshakes: opened - unseen,
    };
    fill(random, &mut row, process, &site, &what);
    (row.opened, row.adopted) = (opened - unseen, unseen);
    Edge { row, site, rate }
}

impl Edge {
    /// What an interval added, which is added to the total as well; `None` where
    /// nothing happened, unless it is `busy`.
    pub(crate) fn interval(
        &mut self,
        random: &mut Random,
        process: &Process,
        busy: bool,
    ) -> Option<EdgeRow> {
        let style = &process.style;
        let seconds = float(INTERVAL_MS) / 1000.0;
        let open = (self.row.opened + self.row.adopted).saturating_sub(self.row.closed);
        let mut opened = random.poisson(self.rate * seconds);
        let ends = (self.rate * seconds.min(style.lifetime_s))
            + float(open) * seconds / style.lifetime_s.max(seconds);
        let mut closed = random.poisson(ends).min(open + opened);
        // Connections that stay open call now and then.
        let calls =
            random.poisson(float(open) * style.requests * seconds / style.lifetime_s.max(seconds));
        if opened + closed + calls == 0 {
            if !busy {
                return None;
            }
            opened = 1;
            closed = u64::from(style.lifetime_s < seconds);
        }
        let row = &self.row;
        let key = (row.process_id, row.role, row.local, row.remote);
        let mut added = EdgeRow {
            total: false,
            opened,
            closed,
            ..EdgeRow::new(key, row.netns, row.since_ms)
        };
        let what = While {
            lives: float(opened) * (seconds / style.lifetime_s.max(seconds))
                + float(calls) / style.requests,
            // Each connection is reported on once.
            round_trips: opened + (open + opened - closed),
            handshakes: opened,
        };
        fill(random, &mut added, process, &self.site, &what);
        self.add(&added);
        Some(added)
    }

    fn add(&mut self, added: &EdgeRow) {
        let row = &mut self.row;
        for (sum, more) in [
            (&mut row.opened, added.opened),
            (&mut row.closed, added.closed),
            (&mut row.failed, added.failed),
            (&mut row.refused, added.refused),
            (&mut row.reset_local, added.reset_local),
            (&mut row.reset_remote, added.reset_remote),
            (&mut row.bytes_sent, added.bytes_sent),
            (&mut row.bytes_received, added.bytes_received),
            (&mut row.segments_sent, added.segments_sent),
            (&mut row.segments_received, added.segments_received),
            (&mut row.retransmits, added.retransmits),
            (&mut row.out_of_order, added.out_of_order),
            (&mut row.zero_windows, added.zero_windows),
        ] {
            *sum += more;
        }
        for (sum, more) in [
            (&mut row.rtt, &added.rtt),
            (&mut row.connect_latency, &added.connect_latency),
        ] {
            for (bucket, more) in sum.buckets.iter_mut().zip(more.buckets) {
                *bucket += more;
            }
            sum.sum_us += more.sum_us;
        }
    }
}

/// Counts what connections did, beside `opened` and `closed`.
fn fill(random: &mut Random, row: &mut EdgeRow, process: &Process, site: &Site, what: &While) {
    ends(random, row, process);
    volume(random, row, process, site, what.lives);
    times(random, row, site, what);
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

fn volume(random: &mut Random, row: &mut EdgeRow, process: &Process, site: &Site, lives: f64) {
    let style = &process.style;
    let calls = lives * random.around(style.requests, 0.3);
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

fn times(random: &mut Random, row: &mut EdgeRow, site: &Site, what: &While) {
    let rtt = random.around(site.rtt_us, 0.2);
    let sigma = random.around(0.35, 0.3);
    row.rtt = durations(random, what.round_trips, rtt, sigma);
    if row.role == Role::Client {
        // A lost SYN is sent again after one second.
        let handshakes = what.handshakes;
        let late = random
            .poisson(float(handshakes) * site.loss)
            .min(handshakes);
        row.connect_latency = durations(random, handshakes - late, rtt * 1.15, sigma * 0.8);
        for _ in 0..late {
            row.connect_latency.record(1_000_000 + count(rtt));
        }
    }
}
