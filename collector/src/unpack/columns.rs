//! The columns of each family.

use std::net::Ipv6Addr;
use std::sync::Arc;

use arrow_array::types::UInt64Type;
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use wire::{Batch, Columns, EdgeRow, Endpoint, EventKind, Histogram, Kept, Life, Part, Role};

use crate::digest::hex;

/// Name and values of a column.
pub(super) type Column = (&'static str, ArrayRef);

/// All instants are Unix time.
const ZONE: &str = "UTC";

fn text(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn names(values: impl Iterator<Item = &'static str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn u16s(values: impl Iterator<Item = u16>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<UInt16Array>())
}

fn u32s(values: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<UInt32Array>())
}

fn u64s(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<UInt64Array>())
}

fn flags(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<BooleanArray>())
}

fn ms(values: impl Iterator<Item = u64>) -> ArrayRef {
    let values = values.map(|ms| Some(ms.cast_signed()));
    let array: TimestampMillisecondArray = values.collect();
    Arc::new(array.with_timezone(ZONE))
}

fn us(values: impl Iterator<Item = u64>) -> ArrayRef {
    let values = values.map(|us| Some(us.cast_signed()));
    let array: TimestampMicrosecondArray = values.collect();
    Arc::new(array.with_timezone(ZONE))
}

fn address(addr: &[u8; 16]) -> String {
    Ipv6Addr::from(*addr).to_canonical().to_string()
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("lists of text and numbers are JSON")
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Failed => "failed",
        EventKind::Refused => "refused",
        EventKind::ResetLocal => "reset_local",
        EventKind::ResetRemote => "reset_remote",
        EventKind::Retransmits => "retransmits",
        EventKind::TimedOut => "timed_out",
    }
}

const fn part(part: Part) -> &'static str {
    match part {
        Part::Wrote => "wrote",
        Part::Read => "read",
        Part::Sequence => "sequence",
    }
}

const fn kept(kept: Kept) -> &'static str {
    match kept {
        Kept::Sampled => "sampled",
        Kept::Abnormal => "abnormal",
        Kept::LongLived => "long_lived",
        Kept::First => "first",
        Kept::Adopted => "adopted",
    }
}

const fn life(life: Life) -> Option<&'static str> {
    match life {
        Life::Unknown => None,
        Life::Open => Some("open"),
        Life::Ended => Some("ended"),
    }
}

/// What every row begins with.
fn begin(batch: &Batch, rows: usize) -> Vec<Column> {
    let head = &batch.header;
    let same = |id: &[u8; 16]| text(std::iter::repeat_n(hex(id), rows));
    vec![
        ("host", same(&head.host)),
        ("boot", same(&head.boot)),
        ("sequence", u64s(std::iter::repeat_n(head.sequence, rows))),
        (
            "interval_start",
            ms(std::iter::repeat_n(head.start_ms, rows)),
        ),
        ("interval_end", ms(std::iter::repeat_n(head.end_ms, rows))),
    ]
}

/// Process, role and both ends of rows that have them.
fn ends<R>(
    rows: &[R],
    process_and_role: impl Fn(&R) -> (u32, Role),
    both: impl Fn(&R) -> (Endpoint, Endpoint, u32),
) -> Vec<Column> {
    let local = |row: &R| both(row).0;
    let remote = |row: &R| both(row).1;
    vec![
        (
            "process_id",
            u32s(rows.iter().map(|row| process_and_role(row).0)),
        ),
        (
            "role",
            names(rows.iter().map(|row| role(process_and_role(row).1))),
        ),
        (
            "local_addr",
            text(rows.iter().map(|row| local(row).ip().to_string())),
        ),
        ("local_port", u16s(rows.iter().map(|row| local(row).port))),
        (
            "remote_addr",
            text(rows.iter().map(|row| remote(row).ip().to_string())),
        ),
        ("remote_port", u16s(rows.iter().map(|row| remote(row).port))),
        ("netns", u32s(rows.iter().map(|row| both(row).2))),
    ]
}

/// A counter that some hosts cannot measure.
fn measured(rows: &[EdgeRow], column: Columns, value: impl Fn(&EdgeRow) -> u64) -> ArrayRef {
    let values = rows
        .iter()
        .map(|row| (!row.absent.has(column)).then(|| value(row)));
    Arc::new(values.collect::<UInt64Array>())
}

/// Buckets of a histogram: the n-th counts values from 2^n to 2^(n+1) microseconds.
fn buckets(rows: &[EdgeRow], column: Columns, value: impl Fn(&EdgeRow) -> &Histogram) -> ArrayRef {
    let lists = rows.iter().map(|row| {
        let present = !row.absent.has(column);
        present.then(|| value(row).buckets.map(Some))
    });
    Arc::new(ListArray::from_iter_primitive::<UInt64Type, _, _>(lists))
}

pub(super) fn edges(batch: &Batch) -> Vec<Column> {
    let rows = &batch.edges;
    let all = |value: fn(&EdgeRow) -> u64| u64s(rows.iter().map(value));
    let some = |column, value: fn(&EdgeRow) -> u64| measured(rows, column, value);
    let mut columns = begin(batch, rows.len());
    columns.extend(ends(
        rows,
        |row| (row.process_id, row.role),
        |row| (row.local, row.remote, row.netns),
    ));
    columns.extend([
        ("since", ms(rows.iter().map(|row| row.since_ms))),
        ("total", flags(rows.iter().map(|row| row.total))),
        ("opened", all(|row| row.opened)),
        ("adopted", all(|row| row.adopted)),
        ("closed", all(|row| row.closed)),
        ("failed", all(|row| row.failed)),
        ("refused", all(|row| row.refused)),
        ("reset_local", all(|row| row.reset_local)),
        ("reset_remote", all(|row| row.reset_remote)),
        (
            "bytes_sent",
            some(Columns::BYTES_SENT, |row| row.bytes_sent),
        ),
        (
            "bytes_received",
            some(Columns::BYTES_RECEIVED, |row| row.bytes_received),
        ),
        (
            "segments_sent",
            some(Columns::SEGMENTS_SENT, |row| row.segments_sent),
        ),
        (
            "segments_received",
            some(Columns::SEGMENTS_RECEIVED, |row| row.segments_received),
        ),
        (
            "retransmits",
            some(Columns::RETRANSMITS, |row| row.retransmits),
        ),
        (
            "out_of_order",
            some(Columns::OUT_OF_ORDER, |row| row.out_of_order),
        ),
        (
            "zero_windows",
            some(Columns::ZERO_WINDOWS, |row| row.zero_windows),
        ),
    ]);
    for (sum, list, column, value) in [
        (
            "connect_latency_sum_us",
            "connect_latency_buckets",
            Columns::CONNECT_LATENCY,
            (|row| &row.connect_latency) as fn(&EdgeRow) -> &Histogram,
        ),
        ("rtt_sum_us", "rtt_buckets", Columns::RTT, |row| &row.rtt),
    ] {
        columns.push((sum, measured(rows, column, |row| value(row).sum_us)));
        columns.push((list, buckets(rows, column, value)));
    }
    columns
}

pub(super) fn sightings(batch: &Batch) -> Vec<Column> {
    let rows = &batch.sightings;
    let mut columns = begin(batch, rows.len());
    columns.extend(ends(
        rows,
        |row| (row.process_id, row.role),
        |row| (row.local, row.remote, row.netns),
    ));
    let life: StringArray = rows.iter().map(|row| life(row.life)).collect();
    let level: UInt8Array = rows.iter().map(|row| Some(row.sample_level)).collect();
    columns.extend([
        ("token", u64s(rows.iter().map(|row| row.token))),
        ("part", names(rows.iter().map(|row| part(row.part)))),
        ("answer", flags(rows.iter().map(|row| row.answer))),
        ("kept", names(rows.iter().map(|row| kept(row.kept)))),
        ("life", Arc::new(life)),
        ("sample_level", Arc::new(level)),
        ("start", us(rows.iter().map(|row| row.start_us))),
    ]);
    columns
}

pub(super) fn processes(batch: &Batch) -> Vec<Column> {
    let rows = &batch.processes;
    let mut columns = begin(batch, rows.len());
    columns.extend([
        ("process_id", u32s(rows.iter().map(|row| row.process_id))),
        ("tgid", u32s(rows.iter().map(|row| row.tgid))),
        ("started", ms(rows.iter().map(|row| row.started_ms))),
        ("comm", text(rows.iter().map(|row| row.comm.clone()))),
        ("exe", text(rows.iter().map(|row| row.exe.clone()))),
        ("cgroup", text(rows.iter().map(|row| row.cgroup.clone()))),
        (
            "container",
            text(rows.iter().map(|row| row.container.clone())),
        ),
        ("unit", text(rows.iter().map(|row| row.unit.clone()))),
        ("service", text(rows.iter().map(|row| row.service.clone()))),
        ("tags", text(rows.iter().map(|row| json(&row.tags)))),
    ]);
    columns
}

pub(super) fn hosts(batch: &Batch) -> Vec<Column> {
    let rows = &batch.hosts;
    let mut columns = begin(batch, rows.len());
    columns.extend([
        (
            "hostname",
            text(rows.iter().map(|row| row.hostname.clone())),
        ),
        ("kernel", text(rows.iter().map(|row| row.kernel.clone()))),
        ("agent", text(rows.iter().map(|row| row.agent.clone()))),
        ("mode", text(rows.iter().map(|row| row.mode.clone()))),
        ("plan", text(rows.iter().map(|row| json(&row.plan)))),
        ("facts", text(rows.iter().map(|row| json(&row.facts)))),
        (
            "paths_off",
            text(rows.iter().map(|row| json(&row.paths_off))),
        ),
        ("counters", text(rows.iter().map(|row| json(&row.counters)))),
        ("started", ms(rows.iter().map(|row| row.started_ms))),
    ]);
    columns
}

pub(super) fn events(batch: &Batch) -> Vec<Column> {
    let rows = &batch.events;
    let mut columns = begin(batch, rows.len());
    columns.extend(ends(
        rows,
        |row| (row.process_id, row.role),
        |row| (row.local, row.remote, row.netns),
    ));
    columns.extend([
        ("kind", names(rows.iter().map(|row| kind(row.kind)))),
        ("time", us(rows.iter().map(|row| row.time_us))),
        ("token", u64s(rows.iter().map(|row| row.token))),
        ("errno", u32s(rows.iter().map(|row| row.errno))),
        ("duration_us", u64s(rows.iter().map(|row| row.duration_us))),
        ("bytes_sent", u64s(rows.iter().map(|row| row.bytes_sent))),
        (
            "bytes_received",
            u64s(rows.iter().map(|row| row.bytes_received)),
        ),
        ("retransmits", u64s(rows.iter().map(|row| row.retransmits))),
    ]);
    columns
}

pub(super) fn nats(batch: &Batch) -> Vec<Column> {
    let rows = &batch.nats;
    let mut columns = begin(batch, rows.len());
    columns.extend([
        ("netns", u32s(rows.iter().map(|row| row.netns))),
        (
            "client_addr",
            text(rows.iter().map(|row| address(&row.client))),
        ),
        (
            "dialled_addr",
            text(rows.iter().map(|row| row.dialled.ip().to_string())),
        ),
        (
            "dialled_port",
            u16s(rows.iter().map(|row| row.dialled.port)),
        ),
        (
            "source_addr",
            text(rows.iter().map(|row| address(&row.source))),
        ),
        (
            "server_addr",
            text(rows.iter().map(|row| row.server.ip().to_string())),
        ),
        ("server_port", u16s(rows.iter().map(|row| row.server.port))),
        ("since", ms(rows.iter().map(|row| row.since_ms))),
        ("total", flags(rows.iter().map(|row| row.total))),
        ("opened", u64s(rows.iter().map(|row| row.opened))),
    ]);
    columns
}
