//! What stands in each column of each table, before it is known what is expected there.

use std::collections::{HashMap, VecDeque};

use wire::format1::{Column, Half};
use wire::{Batch, EdgeRow, EventRow, HostRow, NatRow, Part, ProcessRow, Role, SightingRow};

use crate::histogram;
use crate::keys::{Ends, Keys, addresses, recency, split};

type Name = (&'static str, &'static str, Half);

/// All columns of a batch by table and name.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    table: &'static str,
    rows: HashMap<&'static str, usize>,
    numbers: HashMap<Name, Vec<u64>>,
    texts: HashMap<(&'static str, &'static str), Vec<String>>,
    parameters: VecDeque<u64>,
    /// Rows of the table of counts from which on they are of another kind.
    turns: Vec<usize>,
}

impl Columns {
    pub(crate) fn of(batch: &Batch) -> Self {
        let mut columns = Self::default();
        let keys = Keys::of(batch);
        columns.keys(&keys);
        let end_ms = batch.header.end_ms;
        columns.edges(&batch.edges, &keys);
        columns.sightings(&batch.sightings, end_ms, &keys);
        columns.events(&batch.events, end_ms, &keys);
        columns.processes(&batch.processes, end_ms);
        columns.hosts(&batch.hosts, end_ms);
        columns.nats(&batch.nats, end_ms, &keys);
        columns
    }

    /// Rows of a table; 0 where it is not there.
    pub(crate) fn rows(&self, table: &str) -> usize {
        self.rows.get(table).copied().unwrap_or(0)
    }

    /// The next number that belongs to a table as a whole.
    pub(crate) fn parameter(&mut self) -> u64 {
        self.parameters
            .pop_front()
            .expect("the only table with any")
    }

    pub(crate) fn numbers(&mut self, table: &'static str, column: Column) -> Vec<u64> {
        let found = self.numbers.remove(&(table, column.name, column.half));
        found.expect("every column that a reader asks for")
    }

    pub(crate) fn texts(&mut self, table: &'static str, name: &'static str) -> Vec<String> {
        let found = self.texts.remove(&(table, name));
        found.expect("every column that a reader asks for")
    }

    pub(crate) fn turns(&self, table: &str, name: &str) -> &[usize] {
        let counts = (table, name) == ("edge_bucket", "count");
        if counts { &self.turns } else { &[] }
    }

    fn begin(&mut self, table: &'static str, rows: usize) {
        self.table = table;
        self.rows.insert(table, rows);
    }

    fn put(&mut self, name: &'static str, values: impl Iterator<Item = u64>) {
        self.put_half(name, Half::Whole, values);
    }

    fn put_half(&mut self, name: &'static str, half: Half, values: impl Iterator<Item = u64>) {
        self.numbers
            .insert((self.table, name, half), values.collect());
    }

    /// Two columns in one.
    fn put_both<R>(&mut self, name: &'static str, rows: &[R], get: impl Fn(&R) -> [u64; 2]) {
        self.put_half(name, Half::High, rows.iter().map(|row| get(row)[0]));
        self.put_half(name, Half::Low, rows.iter().map(|row| get(row)[1]));
    }

    fn put_texts<'a>(&mut self, name: &'static str, texts: impl Iterator<Item = &'a String>) {
        self.texts
            .insert((self.table, name), texts.cloned().collect());
    }

    fn keys(&mut self, keys: &Keys) {
        self.begin("network", keys.networks.len());
        let halves = keys.networks.iter().map(|network| {
            let low = network & u128::from(u64::MAX);
            [network >> 64, low].map(|half| u64::try_from(half).expect("64 bits"))
        });
        self.put("high", halves.clone().map(|[high, _]| high));
        self.put("low", halves.map(|[_, low]| low));
        self.begin("subject", keys.subjects.len());
        let all = || keys.subjects.iter();
        self.put("role", all().map(|subject| subject.role as u64));
        self.put(
            "process_id",
            all().map(|subject| u64::from(subject.process_id)),
        );
        let network = |network: u128| keys.network(network);
        self.put(
            "local_network",
            all().map(|subject| network(subject.local.0)),
        );
        self.put("local_host", all().map(|subject| subject.local.1));
        let netns = recency(all().map(|subject| u64::from(subject.netns)));
        self.put("netns", netns.into_iter());
        let port = recency(all().map(|subject| u64::from(subject.port)));
        self.put("port", port.into_iter());
    }

    fn ends<'a, R>(&mut self, rows: &[&'a R], keys: &Keys)
    where
        Ends: From<&'a R>,
    {
        let ends: Vec<_> = rows.iter().map(|row| Ends::from(row)).collect();
        self.put_both("subject_network", &ends, |ends| {
            [keys.subject(&ends.subject), keys.network(ends.remote.0)]
        });
        self.put("host", ends.iter().map(|ends| ends.remote.1));
        self.put(
            "other_port",
            ends.iter().map(|ends| u64::from(ends.other_port)),
        );
    }

    fn edges(&mut self, rows: &[EdgeRow], keys: &Keys) {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| Ends::from(*row));
        self.begin("edge", rows.len());
        self.ends(&rows, keys);
        // Edges began when the agent did, or lately: the shorter distance counts.
        let since = || rows.iter().map(|row| row.since_ms);
        let (first, last) = (since().min().unwrap_or(0), since().max().unwrap_or(0));
        self.parameters.extend([first, last]);
        let fold = |since: u64| match (since.wrapping_sub(first), last.wrapping_sub(since)) {
            (after, before) if after < before => 2 * after + 1,
            (_, before) => 2 * before,
        };
        self.put("since_ms", since().map(fold));
        let opened = |row: &EdgeRow| row.opened.wrapping_add(row.adopted);
        self.put("opened", rows.iter().map(|row| opened(row)));
        let live = rows.iter().map(|row| opened(row).wrapping_sub(row.closed));
        self.put("live", live);
        self.put("adopted", rows.iter().map(|row| row.adopted));
        self.put(
            "absent",
            rows.iter().map(|row| u64::from(row.absent.bits())),
        );
        self.put("segments_sent", rows.iter().map(|row| row.segments_sent));
        let received = rows.iter().map(|row| row.segments_received);
        self.put("segments_received", received);
        self.put("zero_windows", rows.iter().map(|row| row.zero_windows));
        self.put_both("bytes_sent_received", &rows, |row| {
            [row.bytes_sent, row.bytes_received]
        });
        self.put_both("failed_refused", &rows, |row| [row.failed, row.refused]);
        self.put_both("reset_local_remote", &rows, |row| {
            [row.reset_local, row.reset_remote]
        });
        self.put_both("retransmits_out_of_order", &rows, |row| {
            [row.retransmits, row.out_of_order]
        });
        let rtt = histogram::shapes(
            rows.iter().map(|row| &row.rtt),
            |row| opened(rows[row]),
            None,
        );
        let handshakes = |row: usize| match rows[row].role {
            Role::Client => opened(rows[row]),
            Role::Server => 0,
        };
        let connects = rows.iter().map(|row| &row.connect_latency);
        let connects = histogram::shapes(connects, handshakes, Some(&rtt));
        for (shapes, [extra, peak, sides, sum]) in [
            (
                &rtt,
                ["rtt_extra", "rtt_peak", "rtt_below_above", "rtt_sum_us"],
            ),
            (
                &connects,
                [
                    "connect_latency_extra",
                    "connect_latency_peak",
                    "connect_latency_below_above",
                    "connect_latency_sum_us",
                ],
            ),
        ] {
            self.put(extra, shapes.iter().map(|shape| shape.extra));
            self.put(peak, shapes.iter().map(|shape| shape.peak as u64));
            self.put_both(sides, shapes, |shape| {
                [shape.below as u64, shape.above as u64]
            });
            self.put(sum, shapes.iter().map(|shape| shape.histogram.sum_us));
        }
        let (counts, turns) = histogram::counts(&[&rtt, &connects]);
        self.begin("edge_bucket", counts.len());
        self.put("count", counts.into_iter());
        self.turns = turns;
    }

    fn sightings(&mut self, rows: &[SightingRow], end_ms: u64, keys: &Keys) {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| (Ends::from(*row), row.start_us, row.token));
        self.begin("sighting", rows.len());
        self.ends(&rows, keys);
        // Rotated, so that the zeros at the end of a sampled token lead.
        let token = |row: &&SightingRow| row.token.rotate_right(u32::from(row.sample_level));
        self.put("token", rows.iter().map(token));
        let levels = rows.iter().map(|row| u64::from(row.sample_level));
        self.put("sample_level", levels);
        self.put("kept", rows.iter().map(|row| row.kept as u64));
        let part = |row: &&SightingRow| match row.part {
            Part::Sequence => 4,
            part => (part as u64) ^ (row.role as u64) | u64::from(row.answer) << 1,
        };
        self.put("part", rows.iter().map(part));
        let end_us = end_ms.wrapping_mul(1000);
        self.put(
            "start_us",
            rows.iter().map(|row| end_us.wrapping_sub(row.start_us)),
        );
        self.put("life", rows.iter().map(|row| row.life as u64));
    }

    fn events(&mut self, rows: &[EventRow], end_ms: u64, keys: &Keys) {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| (Ends::from(*row), row.time_us, row.token));
        self.begin("event", rows.len());
        self.ends(&rows, keys);
        self.put("kind", rows.iter().map(|row| row.kind as u64));
        self.put("errno", rows.iter().map(|row| u64::from(row.errno)));
        let end_us = end_ms.wrapping_mul(1000);
        self.put(
            "time_us",
            rows.iter().map(|row| end_us.wrapping_sub(row.time_us)),
        );
        self.put("duration_us", rows.iter().map(|row| row.duration_us));
        self.put("bytes_sent", rows.iter().map(|row| row.bytes_sent));
        self.put("bytes_received", rows.iter().map(|row| row.bytes_received));
        self.put("retransmits", rows.iter().map(|row| row.retransmits));
        self.put("token", rows.iter().map(|row| row.token));
    }

    fn processes(&mut self, rows: &[ProcessRow], end_ms: u64) {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|row| row.process_id);
        self.begin("process", rows.len());
        self.put(
            "process_id",
            rows.iter().map(|row| u64::from(row.process_id)),
        );
        self.put("tgid", rows.iter().map(|row| u64::from(row.tgid)));
        self.put(
            "started_ms",
            rows.iter().map(|row| end_ms.wrapping_sub(row.started_ms)),
        );
        self.put_texts("comm", rows.iter().map(|row| &row.comm));
        self.put_texts("exe", rows.iter().map(|row| &row.exe));
        self.put_texts("service", rows.iter().map(|row| &row.service));
        self.put_texts("unit", rows.iter().map(|row| &row.unit));
        self.put_texts("container", rows.iter().map(|row| &row.container));
        self.put_texts("cgroup", rows.iter().map(|row| &row.cgroup));
        self.pairs("process_tag", rows.iter().map(|row| row.tags.as_slice()));
    }

    fn hosts(&mut self, rows: &[HostRow], end_ms: u64) {
        self.begin("host", rows.len());
        self.put(
            "started_ms",
            rows.iter().map(|row| end_ms.wrapping_sub(row.started_ms)),
        );
        self.put_texts("hostname", rows.iter().map(|row| &row.hostname));
        self.put_texts("kernel", rows.iter().map(|row| &row.kernel));
        self.put_texts("agent", rows.iter().map(|row| &row.agent));
        self.put_texts("mode", rows.iter().map(|row| &row.mode));
        self.pairs("host_plan", rows.iter().map(|row| row.plan.as_slice()));
        self.pairs("host_fact", rows.iter().map(|row| row.facts.as_slice()));
        self.pairs(
            "host_path_off",
            rows.iter().map(|row| row.paths_off.as_slice()),
        );
        let counters = rows.iter().map(|row| row.counters.as_slice());
        let counters = self.list("host_counter", counters);
        self.put("value", counters.iter().map(|(_, value)| *value));
        self.put_texts("name", counters.iter().map(|(name, _)| name));
    }

    fn pairs<'a>(
        &mut self,
        table: &'static str,
        lists: impl Iterator<Item = &'a [(String, String)]>,
    ) {
        let pairs = self.list(table, lists);
        self.put_texts("key", pairs.iter().map(|(key, _)| key));
        self.put_texts("value", pairs.iter().map(|(_, value)| value));
    }

    /// Begins the table of a list, with the number of the row that each item belongs to.
    fn list<'a, T: 'a>(
        &mut self,
        table: &'static str,
        lists: impl Iterator<Item = &'a [T]>,
    ) -> Vec<&'a T> {
        let items = lists.enumerate();
        let items = items.flat_map(|(row, list)| list.iter().map(move |item| (row as u64, item)));
        let (rows, items): (Vec<u64>, Vec<_>) = items.unzip();
        self.begin(table, rows.len());
        self.put("row", rows.into_iter());
        items
    }

    fn nats(&mut self, rows: &[NatRow], end_ms: u64, keys: &Keys) {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_cached_key(|row| {
            let ports = (row.dialled.port, row.server.port);
            (row.netns, ports, addresses(row), row.since_ms, row.opened)
        });
        self.begin("nat", rows.len());
        self.put("netns", rows.iter().map(|row| u64::from(row.netns)));
        self.put(
            "dialled_port",
            rows.iter().map(|row| u64::from(row.dialled.port)),
        );
        self.put(
            "server_port",
            rows.iter().map(|row| u64::from(row.server.port)),
        );
        for (at, (network, host)) in [
            ("dialled_network", "dialled_host"),
            ("server_network", "server_host"),
            ("source_network", "source_host"),
            ("client_network", "client_host"),
        ]
        .into_iter()
        .enumerate()
        {
            let parts = || rows.iter().map(|row| split(addresses(row)[at]));
            self.put(network, parts().map(|(network, _)| keys.network(network)));
            self.put(host, parts().map(|(_, host)| host));
        }
        self.put(
            "since_ms",
            rows.iter().map(|row| end_ms.wrapping_sub(row.since_ms)),
        );
        self.put("opened", rows.iter().map(|row| row.opened));
    }
}
