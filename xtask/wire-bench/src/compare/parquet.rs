//! The rows as Parquet files with zstd, one file per family, with the types one would choose.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::builder::{ListBuilder, StringBuilder, UInt64Builder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch, StringArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use wire::{Batch, Histogram};

use super::ZSTD_LEVEL;

type Columns = Vec<(&'static str, ArrayRef)>;

/// Bytes of all files.
pub(crate) fn len(batch: &Batch) -> Result<usize> {
    let mut sum = 0;
    for columns in [
        edges(batch)?,
        sightings(batch)?,
        processes(batch),
        hosts(batch),
        events(batch)?,
        nats(batch)?,
    ] {
        if columns.iter().any(|(_, column)| !column.is_empty()) {
            sum += file_len(columns)?;
        }
    }
    Ok(sum)
}

fn file_len(columns: Columns) -> Result<usize> {
    let rows = RecordBatch::try_from_iter(columns).context("build a record batch")?;
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(properties))?;
    writer.write(&rows).context("write Parquet")?;
    writer.close().context("finish Parquet")?;
    Ok(out.len())
}

fn u8s<T>(rows: &[T], get: impl Fn(&T) -> u8) -> ArrayRef {
    Arc::new(UInt8Array::from_iter_values(rows.iter().map(get)))
}

fn u16s<T>(rows: &[T], get: impl Fn(&T) -> u16) -> ArrayRef {
    Arc::new(UInt16Array::from_iter_values(rows.iter().map(get)))
}

fn u32s<T>(rows: &[T], get: impl Fn(&T) -> u32) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(rows.iter().map(get)))
}

fn u64s<T>(rows: &[T], get: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(rows.iter().map(get)))
}

fn texts<T>(rows: &[T], get: impl Fn(&T) -> &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(get)))
}

fn addresses<T>(rows: &[T], get: impl Fn(&T) -> [u8; 16]) -> Result<ArrayRef> {
    if rows.is_empty() {
        return Ok(u8s::<u8>(&[], |_| 0));
    }
    let column = FixedSizeBinaryArray::try_from_iter(rows.iter().map(get))?;
    Ok(Arc::new(column))
}

fn buckets<T>(rows: &[T], get: impl Fn(&T) -> &Histogram) -> ArrayRef {
    let mut list = ListBuilder::new(UInt64Builder::new());
    for row in rows {
        list.append_value(get(row).buckets.iter().map(|count| Some(*count)));
    }
    Arc::new(list.finish())
}

fn lists<T>(rows: &[T], get: impl Fn(&T) -> Vec<String>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for row in rows {
        list.append_value(get(row).into_iter().map(Some));
    }
    Arc::new(list.finish())
}

fn edges(batch: &Batch) -> Result<Columns> {
    let rows = &batch.edges;
    Ok(vec![
        ("total", u8s(rows, |row| u8::from(row.total))),
        ("process_id", u32s(rows, |row| row.process_id)),
        ("role", u8s(rows, |row| row.role as u8)),
        ("local_addr", addresses(rows, |row| row.local.addr)?),
        ("local_port", u16s(rows, |row| row.local.port)),
        ("remote_addr", addresses(rows, |row| row.remote.addr)?),
        ("remote_port", u16s(rows, |row| row.remote.port)),
        ("netns", u32s(rows, |row| row.netns)),
        ("since_ms", u64s(rows, |row| row.since_ms)),
        ("opened", u64s(rows, |row| row.opened)),
        ("closed", u64s(rows, |row| row.closed)),
        ("failed", u64s(rows, |row| row.failed)),
        ("refused", u64s(rows, |row| row.refused)),
        ("reset_local", u64s(rows, |row| row.reset_local)),
        ("reset_remote", u64s(rows, |row| row.reset_remote)),
        ("bytes_sent", u64s(rows, |row| row.bytes_sent)),
        ("bytes_received", u64s(rows, |row| row.bytes_received)),
        ("segments_sent", u64s(rows, |row| row.segments_sent)),
        ("segments_received", u64s(rows, |row| row.segments_received)),
        ("retransmits", u64s(rows, |row| row.retransmits)),
        ("out_of_order", u64s(rows, |row| row.out_of_order)),
        ("zero_windows", u64s(rows, |row| row.zero_windows)),
        ("connect_latency", buckets(rows, |row| &row.connect_latency)),
        (
            "connect_latency_sum_us",
            u64s(rows, |row| row.connect_latency.sum_us),
        ),
        ("rtt", buckets(rows, |row| &row.rtt)),
        ("rtt_sum_us", u64s(rows, |row| row.rtt.sum_us)),
    ])
}

fn sightings(batch: &Batch) -> Result<Columns> {
    let rows = &batch.sightings;
    Ok(vec![
        ("token", u64s(rows, |row| row.token)),
        ("part", u8s(rows, |row| row.part as u8)),
        (
            "answer",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.answer))
                    .collect::<BooleanArray>(),
            ),
        ),
        ("role", u8s(rows, |row| row.role as u8)),
        ("kept", u8s(rows, |row| row.kept as u8)),
        ("life", u8s(rows, |row| row.life as u8)),
        ("sample_level", u8s(rows, |row| row.sample_level)),
        ("process_id", u32s(rows, |row| row.process_id)),
        ("local_addr", addresses(rows, |row| row.local.addr)?),
        ("local_port", u16s(rows, |row| row.local.port)),
        ("remote_addr", addresses(rows, |row| row.remote.addr)?),
        ("remote_port", u16s(rows, |row| row.remote.port)),
        ("netns", u32s(rows, |row| row.netns)),
        ("start_us", u64s(rows, |row| row.start_us)),
    ])
}

fn processes(batch: &Batch) -> Columns {
    let rows = &batch.processes;
    vec![
        ("process_id", u32s(rows, |row| row.process_id)),
        ("tgid", u32s(rows, |row| row.tgid)),
        ("started_ms", u64s(rows, |row| row.started_ms)),
        ("comm", texts(rows, |row| &row.comm)),
        ("exe", texts(rows, |row| &row.exe)),
        ("cgroup", texts(rows, |row| &row.cgroup)),
        ("container", texts(rows, |row| &row.container)),
        ("unit", texts(rows, |row| &row.unit)),
        ("service", texts(rows, |row| &row.service)),
        ("tags", lists(rows, |row| pairs(&row.tags))),
    ]
}

fn pairs(pairs: &[(String, String)]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|(key, value)| [key.clone(), value.clone()])
        .collect()
}

fn hosts(batch: &Batch) -> Columns {
    let rows = &batch.hosts;
    let counters = |row: &wire::HostRow| {
        row.counters
            .iter()
            .flat_map(|(name, value)| [name.clone(), value.to_string()])
            .collect()
    };
    vec![
        ("hostname", texts(rows, |row| &row.hostname)),
        ("kernel", texts(rows, |row| &row.kernel)),
        ("agent", texts(rows, |row| &row.agent)),
        ("mode", texts(rows, |row| &row.mode)),
        ("plan", lists(rows, |row| pairs(&row.plan))),
        ("facts", lists(rows, |row| pairs(&row.facts))),
        ("paths_off", lists(rows, |row| pairs(&row.paths_off))),
        ("counters", lists(rows, counters)),
        ("started_ms", u64s(rows, |row| row.started_ms)),
    ]
}

fn events(batch: &Batch) -> Result<Columns> {
    let rows = &batch.events;
    Ok(vec![
        ("kind", u8s(rows, |row| row.kind as u8)),
        ("time_us", u64s(rows, |row| row.time_us)),
        ("role", u8s(rows, |row| row.role as u8)),
        ("process_id", u32s(rows, |row| row.process_id)),
        ("local_addr", addresses(rows, |row| row.local.addr)?),
        ("local_port", u16s(rows, |row| row.local.port)),
        ("remote_addr", addresses(rows, |row| row.remote.addr)?),
        ("remote_port", u16s(rows, |row| row.remote.port)),
        ("netns", u32s(rows, |row| row.netns)),
        ("token", u64s(rows, |row| row.token)),
        ("errno", u32s(rows, |row| row.errno)),
        ("duration_us", u64s(rows, |row| row.duration_us)),
        ("bytes_sent", u64s(rows, |row| row.bytes_sent)),
        ("bytes_received", u64s(rows, |row| row.bytes_received)),
        ("retransmits", u64s(rows, |row| row.retransmits)),
    ])
}

fn nats(batch: &Batch) -> Result<Columns> {
    let rows = &batch.nats;
    Ok(vec![
        ("netns", u32s(rows, |row| row.netns)),
        ("client", addresses(rows, |row| row.client)?),
        ("dialled_addr", addresses(rows, |row| row.dialled.addr)?),
        ("dialled_port", u16s(rows, |row| row.dialled.port)),
        ("source", addresses(rows, |row| row.source)?),
        ("server_addr", addresses(rows, |row| row.server.addr)?),
        ("server_port", u16s(rows, |row| row.server.port)),
        ("since_ms", u64s(rows, |row| row.since_ms)),
        ("opened", u64s(rows, |row| row.opened)),
    ])
}
