//! Family `edge`: counters of all connections between a process and a remote service.

use super::histogram::HistogramColumns;
use super::keys::{EndColumns, Ends, Keys};
use super::number::{Expected, bits};
use super::rate::{Mean, Rate, Spread};
use super::source::{Column, Source, any, column, first, narrow, near, second};
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
    /// The table `edge` and that of its histograms.
    pub(crate) fn read(source: &mut impl Source, keys: &Keys) -> Result<Self, DecodeError> {
        let mut columns = Self {
            ends: EndColumns::read(source, keys)?,
            ..Self::default()
        };
        let last = columns.read_since(source)?;
        columns.read_opened(source, last)?;
        columns.read_volume(source)?;
        columns.read_troubles(source)?;
        columns.read_histograms(source, keys)?;
        columns.read_absent(source)?;
        columns.read_adopted(source)?;
        Ok(columns)
    }

    /// Edges began when the agent did, or lately: the shorter distance counts. Returns the last
    /// beginning.
    fn read_since(&mut self, source: &mut impl Source) -> Result<u64, DecodeError> {
        let (first, last) = (source.parameter()?, source.parameter()?);
        let unfold = |code: u64| match (code >> 1, code & 1) {
            (after, 1) => first.wrapping_add(after),
            (before, _) => last.wrapping_sub(before),
        };
        let note = "odd: twice the time since the first, plus 1; even: twice the time to the last";
        let codes = any(source, "since_ms", note)?;
        self.since = codes.into_iter().map(unfold).collect();
        Ok(last)
    }

    fn read_opened(&mut self, source: &mut impl Source, last: u64) -> Result<(), DecodeError> {
        let age = |since: &u64| last.saturating_sub(*since).saturating_add(1);
        let ages: Vec<_> = self.since.iter().map(age).collect();
        let mut rate = Rate::new(&ages, self.ends.services());
        let note = "in bits: like the rate over age among the subject's";
        self.opened = source.numbers(column("opened", note), &mut |row, before| {
            Expected::Bits(bits(rate.value(row, before)))
        })?;
        Ok(())
    }

    fn read_volume(&mut self, source: &mut impl Source) -> Result<(), DecodeError> {
        let groups = self.ends.services();
        let mut share = |column, base: &[u64], shift| {
            rated(
                source,
                column,
                Rate::new(base, groups),
                Spread::Share(shift),
            )
        };
        let name = "bytes_sent_received";
        self.bytes_sent = share(first(name, SHARE), &self.opened, 2)?;
        // Requests are answered, so bytes sent tell of the number of requests.
        let pairs = self.opened.iter().zip(&self.bytes_sent);
        let means = pairs.map(|(opened, sent)| geometric_mean(*opened, *sent));
        self.bytes_received = share(second(name), &means.collect::<Vec<_>>(), 2)?;
        let sent = self.efforts(&self.bytes_sent, &self.bytes_received);
        self.segments_sent = share(column("segments_sent", SHARE), &sent, 6)?;
        let received = self.efforts(&self.bytes_received, &self.bytes_sent);
        let scaled = received.iter().zip(&sent).zip(&self.segments_sent);
        let answers = scaled.map(|((to, from), segments)| scale(*segments, *to, *from));
        let answers: Vec<_> = answers.collect();
        self.segments_received = share(column("segments_received", SHARE), &answers, 6)?;
        Ok(())
    }

    fn read_troubles(&mut self, source: &mut impl Source) -> Result<(), DecodeError> {
        let (services, networks) = (self.ends.services(), self.ends.all_networks());
        let mut rare = |column, base: &[u64], groups| {
            rated(source, column, Rate::new(base, groups), Spread::Root)
        };
        let (name, opened) = ("failed_refused", &self.opened);
        self.failed = rare(first(name, ROOT), opened, services)?;
        self.refused = rare(second(name), &self.failed, services)?;
        let name = "reset_local_remote";
        self.reset_local = rare(first(name, ROOT), opened, services)?;
        self.reset_remote = rare(second(name), opened, services)?;
        let name = "retransmits_out_of_order";
        self.retransmits = rare(first(name, LOSS), &self.segments_sent, networks)?;
        self.out_of_order = rare(second(name), &self.segments_received, networks)?;
        self.zero_windows = rare(column("zero_windows", ROOT), opened, services)?;
        self.live = any(source, "live", "opened less closed")?;
        Ok(())
    }

    fn read_absent(&mut self, source: &mut impl Source) -> Result<(), DecodeError> {
        let note = "one bit per column that cannot be measured; near the one before";
        self.absent = if source.knows(1) {
            near(source, "absent", note)?
        } else {
            vec![0; self.opened.len()]
        };
        Ok(())
    }

    fn read_adopted(&mut self, source: &mut impl Source) -> Result<(), DecodeError> {
        if !source.knows(2) {
            self.adopted = vec![0; self.opened.len()];
            return Ok(());
        }
        // The handshakes of connections that were open before were not measured.
        let (latency, absent) = (&self.connect_latency, &self.absent);
        let unmeasured = u64::from(Columns::CONNECT_LATENCY.bits());
        let adopted = column("adopted", "of opened; near those without connect_latency");
        self.adopted = source.numbers(adopted, &mut |row, _| {
            let measured = absent[row] & unmeasured == 0;
            Expected::near(if measured { latency.lacks(row) } else { 0 })
        })?;
        Ok(())
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

    fn read_histograms(
        &mut self,
        source: &mut impl Source,
        keys: &Keys,
    ) -> Result<(), DecodeError> {
        let (groups, networks) = (self.ends.services(), &self.ends.networks);
        let mut rate = Rate::new(&self.opened, groups);
        let note = "added to opened; about the rate among the subject's";
        let extra = column("rtt_extra", note);
        self.rtt
            .read_totals(source, extra, &self.opened, &mut |row, before| {
                rate.about(Spread::Share(1), row, before)
            })?;
        let mut mean = Mean::new(networks);
        let peak = column("rtt_peak", "near the mean of the network's");
        self.rtt.peak = source.numbers(peak, &mut |row, before| mean.near(row, before))?;
        let (paths, connects) = (&self.rtt.peak, &mut self.connect_latency);
        let peak = column("connect_latency_peak", "near rtt_peak");
        connects.peak = source.numbers(peak, &mut |row, _| Expected::near(paths[row]))?;
        let opened = self.opened.iter().enumerate();
        // A client began the handshake and so measured it.
        let handshakes = opened.map(|(row, opened)| match self.ends.role(row, keys) {
            Role::Client => *opened,
            Role::Server => 0,
        });
        let handshakes: Vec<_> = handshakes.collect();
        let note = "added to a client's opened; near 0";
        let extra = column("connect_latency_extra", note);
        connects.read_totals(source, extra, &handshakes, &mut |_, _| Expected::near(0))?;
        self.rtt.read_sides(source, "rtt_below_above")?;
        connects.read_sides(source, "connect_latency_below_above")?;
        HistogramColumns::read_counts(&mut self.rtt, connects, source, "edge_bucket")?;
        source.table("edge");
        self.rtt.read_sums(source, "rtt_sum_us")?;
        self.connect_latency
            .read_sums(source, "connect_latency_sum_us")
    }

    /// The rows.
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
    source: &mut impl Source,
    column: Column,
    mut rate: Rate<'_>,
    spread: Spread,
) -> Result<Vec<u64>, DecodeError> {
    source.numbers(column, &mut |row, before| rate.about(spread, row, before))
}
