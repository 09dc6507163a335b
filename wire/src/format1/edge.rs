//! Family `edge`: counters of all connections between a process and a remote service.

use super::codec::{Codec, Column, column, first, narrow, previous, second};
use super::histogram::HistogramColumns;
use super::keys::{EndColumns, Ends, Keys};
use super::number::{Expected, bits};
use super::rate::{Mean, Rate, Spread};
use crate::error::DecodeError;
use crate::family::connection::{Columns, EdgeRow, Role};

const SHARE: &str = "about the rate among the subject's, give or take a share";
const ROOT: &str = "about the rate among the subject's, give or take its root";
const LOSS: &str = "about the rate among the network's, give or take its root";

/// Payload bytes of a full segment on most paths; only an expectation.
const SEGMENT: u64 = 1448;

/// The rows of the family by column.
#[derive(Debug, Default)]
pub(crate) struct EdgeColumns {
    ends: EndColumns,
    since: Vec<u64>,
    /// Opened and adopted, wrapping.
    opened: Vec<u64>,
    /// Of these the adopted ones.
    adopted: Vec<u64>,
    /// Of these those that did not close, wrapping.
    live: Vec<u64>,
    failed: Vec<u64>,
    refused: Vec<u64>,
    reset_local: Vec<u64>,
    reset_remote: Vec<u64>,
    bytes_sent: Vec<u64>,
    bytes_received: Vec<u64>,
    segments_sent: Vec<u64>,
    segments_received: Vec<u64>,
    retransmits: Vec<u64>,
    out_of_order: Vec<u64>,
    zero_windows: Vec<u64>,
    absent: Vec<u64>,
    rtt: HistogramColumns,
    connect_latency: HistogramColumns,
}

impl EdgeColumns {
    pub(crate) fn of(rows: &[EdgeRow], keys: &Keys) -> Self {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| Ends::from(*row).order());
        let all = |get: fn(&EdgeRow) -> u64| rows.iter().map(|row| get(row)).collect::<Vec<_>>();
        let opened = all(|row| row.opened.wrapping_add(row.adopted));
        let handshakes: Vec<_> = rows
            .iter()
            .zip(&opened)
            .map(|(row, opened)| handshakes(row.role, *opened))
            .collect();
        let rtt = HistogramColumns::of(rows.iter().map(|row| &row.rtt), &opened, None);
        let connects = rows.iter().map(|row| &row.connect_latency);
        let connect_latency = HistogramColumns::of(connects, &handshakes, Some(&rtt));
        Self {
            ends: EndColumns::of(rows.iter().map(|row| Ends::from(*row)), keys),
            since: all(|row| row.since_ms),
            adopted: all(|row| row.adopted),
            live: all(|row| (row.opened.wrapping_add(row.adopted)).wrapping_sub(row.closed)),
            failed: all(|row| row.failed),
            refused: all(|row| row.refused),
            reset_local: all(|row| row.reset_local),
            reset_remote: all(|row| row.reset_remote),
            bytes_sent: all(|row| row.bytes_sent),
            bytes_received: all(|row| row.bytes_received),
            segments_sent: all(|row| row.segments_sent),
            segments_received: all(|row| row.segments_received),
            retransmits: all(|row| row.retransmits),
            out_of_order: all(|row| row.out_of_order),
            zero_windows: all(|row| row.zero_windows),
            absent: all(|row| u64::from(row.absent.bits())),
            opened,
            rtt,
            connect_latency,
        }
    }

    /// The table `edge` and that of its histograms.
    pub(crate) fn code(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        self.ends.code(codec, keys)?;
        let last = self.code_since(codec)?;
        self.code_opened(codec, last)?;
        self.code_volume(codec)?;
        self.code_troubles(codec)?;
        self.code_histograms(codec, keys)?;
        self.code_absent(codec)?;
        self.code_adopted(codec)
    }

    /// Edges began when the agent did, or lately: the shorter distance counts. Returns the last
    /// beginning.
    fn code_since(&mut self, codec: &mut impl Codec) -> Result<u64, DecodeError> {
        let mut first = self.since.iter().copied().min().unwrap_or(0);
        let mut last = self.since.iter().copied().max().unwrap_or(0);
        codec.parameter(&mut first)?;
        codec.parameter(&mut last)?;
        let fold = |since: u64| match (since.wrapping_sub(first), last.wrapping_sub(since)) {
            (after, before) if after < before => 2 * after + 1,
            (_, before) => 2 * before,
        };
        let unfold = |code: u64| match (code >> 1, code & 1) {
            (after, 1) => first.wrapping_add(after),
            (before, _) => last.wrapping_sub(before),
        };
        let mut codes = self.since.iter().map(|since| fold(*since)).collect();
        let note = "odd: twice the time since the first, plus 1; even: twice the time to the last";
        codec.numbers(column("since_ms", note), &mut codes, &mut |_, _| {
            Expected::ANY
        })?;
        self.since = codes.into_iter().map(unfold).collect();
        Ok(last)
    }

    fn code_opened(&mut self, codec: &mut impl Codec, last: u64) -> Result<(), DecodeError> {
        let age = |since: &u64| last.saturating_sub(*since).saturating_add(1);
        let ages: Vec<_> = self.since.iter().map(age).collect();
        let mut rate = Rate::new(&ages, self.ends.services());
        let opened = column(
            "opened",
            "in bits: like the rate over age among the subject's",
        );
        codec.numbers(opened, &mut self.opened, &mut |row, before| {
            Expected::Bits(bits(rate.value(row, before)))
        })
    }

    fn code_volume(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let groups = self.ends.services();
        let (rate, sent) = (
            Rate::new(&self.opened, groups),
            first("bytes_sent_received", SHARE),
        );
        rated(codec, sent, &mut self.bytes_sent, rate, Spread::Share(2))?;
        // Requests are answered, so bytes sent tell of the number of requests.
        let pairs = self.opened.iter().zip(&self.bytes_sent);
        let means: Vec<_> = pairs
            .map(|(opened, sent)| geometric_mean(*opened, *sent))
            .collect();
        let (rate, received) = (Rate::new(&means, groups), second("bytes_sent_received"));
        rated(
            codec,
            received,
            &mut self.bytes_received,
            rate,
            Spread::Share(2),
        )?;
        let sent: Vec<_> = self.efforts(&self.bytes_sent, &self.bytes_received);
        let (rate, column) = (Rate::new(&sent, groups), column("segments_sent", SHARE));
        rated(
            codec,
            column,
            &mut self.segments_sent,
            rate,
            Spread::Share(6),
        )?;
        let received: Vec<_> = self.efforts(&self.bytes_received, &self.bytes_sent);
        let scaled = received.iter().zip(&sent).zip(&self.segments_sent);
        let answers = scaled.map(|((to, from), segments)| scale(*segments, *to, *from));
        let answers: Vec<_> = answers.collect();
        let (rate, column) = (
            Rate::new(&answers, groups),
            self::column("segments_received", SHARE),
        );
        rated(
            codec,
            column,
            &mut self.segments_received,
            rate,
            Spread::Share(6),
        )
    }

    fn code_troubles(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        let (services, networks) = (self.ends.services(), self.ends.all_networks());
        let mut rare = |column, values: &mut Vec<u64>, base: &[u64], groups| {
            rated(codec, column, values, Rate::new(base, groups), Spread::Root)
        };
        let opened = &self.opened;
        rare(
            first("failed_refused", ROOT),
            &mut self.failed,
            opened,
            services,
        )?;
        rare(
            second("failed_refused"),
            &mut self.refused,
            &self.failed,
            services,
        )?;
        rare(
            first("reset_local_remote", ROOT),
            &mut self.reset_local,
            opened,
            services,
        )?;
        rare(
            second("reset_local_remote"),
            &mut self.reset_remote,
            opened,
            services,
        )?;
        let name = "retransmits_out_of_order";
        rare(
            first(name, LOSS),
            &mut self.retransmits,
            &self.segments_sent,
            networks,
        )?;
        rare(
            second(name),
            &mut self.out_of_order,
            &self.segments_received,
            networks,
        )?;
        rare(
            column("zero_windows", ROOT),
            &mut self.zero_windows,
            opened,
            services,
        )?;
        let live = column("live", "opened less closed");
        codec.numbers(live, &mut self.live, &mut |_, _| Expected::ANY)
    }

    fn code_absent(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        if !codec.knows(1) {
            self.absent = vec![0; self.opened.len()];
            return Ok(());
        }
        let note = "one bit per column that cannot be measured; near the one before";
        codec.numbers(
            column("absent", note),
            &mut self.absent,
            &mut |row, before| Expected::near(previous(row, before)),
        )
    }

    fn code_adopted(&mut self, codec: &mut impl Codec) -> Result<(), DecodeError> {
        if !codec.knows(2) {
            self.adopted = vec![0; self.opened.len()];
            return Ok(());
        }
        // The handshakes of connections that were open before were not measured.
        let (latency, absent) = (&self.connect_latency, &self.absent);
        let unmeasured = u64::from(Columns::CONNECT_LATENCY.bits());
        let adopted = column("adopted", "of opened; near those without connect_latency");
        codec.numbers(adopted, &mut self.adopted, &mut |row, _| {
            let measured = absent[row] & unmeasured == 0;
            Expected::near(if measured { latency.lacks(row) } else { 0 })
        })
    }

    /// Segments that so many bytes in both directions take, roughly.
    fn efforts(&self, there: &[u64], back: &[u64]) -> Vec<u64> {
        let rows = there.iter().zip(back).zip(&self.opened);
        rows.map(|((there, back), opened)| {
            let data = there / SEGMENT + back / (2 * SEGMENT);
            data.saturating_add(opened.saturating_mul(3))
        })
        .collect()
    }

    fn code_histograms(&mut self, codec: &mut impl Codec, keys: &Keys) -> Result<(), DecodeError> {
        let (groups, networks) = (self.ends.services(), &self.ends.networks);
        let mut rate = Rate::new(&self.opened, groups);
        let extra = column(
            "rtt_extra",
            "added to opened; about the rate among the subject's",
        );
        self.rtt
            .code_totals(codec, extra, &self.opened, &mut |row, before| {
                rate.about(Spread::Share(1), row, before)
            })?;
        let mut mean = Mean::new(networks);
        let peak = column("rtt_peak", "near the mean of the network's");
        self.rtt
            .code_peaks(codec, peak, &mut |row, before| mean.near(row, before))?;
        let (paths, connects) = (&self.rtt.peak, &mut self.connect_latency);
        let peak = column("connect_latency_peak", "near rtt_peak");
        connects.code_peaks(codec, peak, &mut |row, _| Expected::near(paths[row]))?;
        let opened = self.opened.iter().enumerate();
        let handshakes: Vec<_> = opened
            .map(|(row, opened)| handshakes(self.ends.role(row, keys), *opened))
            .collect();
        let extra = column(
            "connect_latency_extra",
            "added to a client's opened; near 0",
        );
        connects.code_totals(codec, extra, &handshakes, &mut |_, _| Expected::near(0))?;
        self.rtt.code_sides(codec, "rtt_below_above")?;
        connects.code_sides(codec, "connect_latency_below_above")?;
        HistogramColumns::code_counts(&mut self.rtt, connects, codec, "edge_bucket")?;
        codec.table("edge", &mut self.opened.len())?;
        self.rtt.code_sums(codec, "rtt_sum_us")?;
        self.connect_latency
            .code_sums(codec, "connect_latency_sum_us")
    }

    /// The rows, after [`Self::code`].
    pub(crate) fn rows(&self, keys: &Keys) -> Result<Vec<EdgeRow>, DecodeError> {
        let row = |row: usize| {
            let Ends {
                process_id,
                role,
                netns,
                local,
                remote,
            } = self.ends.row(row, keys)?;
            Ok(EdgeRow {
                total: true,
                process_id,
                role,
                local,
                remote,
                netns,
                since_ms: self.since[row],
                opened: self.opened[row].wrapping_sub(self.adopted[row]),
                adopted: self.adopted[row],
                closed: self.opened[row].wrapping_sub(self.live[row]),
                failed: self.failed[row],
                refused: self.refused[row],
                reset_local: self.reset_local[row],
                reset_remote: self.reset_remote[row],
                bytes_sent: self.bytes_sent[row],
                bytes_received: self.bytes_received[row],
                segments_sent: self.segments_sent[row],
                segments_received: self.segments_received[row],
                retransmits: self.retransmits[row],
                out_of_order: self.out_of_order[row],
                zero_windows: self.zero_windows[row],
                connect_latency: self.connect_latency.row(row),
                rtt: self.rtt.row(row),
                absent: absent(self.absent[row])?,
            })
        };
        (0..self.opened.len()).map(row).collect()
    }
}

fn absent(bits: u64) -> Result<Columns, DecodeError> {
    Columns::from_bits(narrow(bits, "absent")?)
        .ok_or_else(|| DecodeError::Malformed(format!("no columns {bits:#x} of an edge")))
}

/// Connections whose handshake this side began and so measured.
fn handshakes(role: Role, opened: u64) -> u64 {
    match role {
        Role::Client => opened,
        Role::Server => 0,
    }
}

fn geometric_mean(one: u64, other: u64) -> u64 {
    let mean = (u128::from(one) * u128::from(other)).isqrt();
    u64::try_from(mean).expect("a mean of two numbers is no larger than both")
}

/// `value * to / from`.
fn scale(value: u64, to: u64, from: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(to) / u128::from(from.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn rated(
    codec: &mut impl Codec,
    column: Column,
    values: &mut Vec<u64>,
    mut rate: Rate<'_>,
    spread: Spread,
) -> Result<(), DecodeError> {
    codec.numbers(column, values, &mut |row, before| {
        rate.about(spread, row, before)
    })
}
