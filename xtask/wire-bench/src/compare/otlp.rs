//! OTLP protobuf as an OpenTelemetry exporter would send these rows.
//!
//! Edges are metrics: one monotonic sum per counter and one histogram per distribution, of the
//! temporality that the rows have, with a data point per edge that carries the edge's key as
//! attributes. The other families are log records with an event name. The host is the resource,
//! once per request.

use notation::hex;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use wire::{Batch, EdgeRow, Endpoint, EventRow, NatRow, ProcessRow, Role, Row as _, SightingRow};

/// How generous the imagined exporter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Every counter of every edge; histograms with explicit bounds, as SDKs do by default.
    Plain,
    /// Counters that are zero are left out, and histograms are exponential: the least that OTLP
    /// can say these rows with.
    Lean,
}

/// What the points of a request count.
fn temporality(batch: &Batch) -> i32 {
    if batch.edges.iter().all(|row| row.total) {
        AggregationTemporality::Cumulative as i32
    } else {
        AggregationTemporality::Delta as i32
    }
}

type Counter = (&'static str, fn(&EdgeRow) -> u64);
type Distribution = (&'static str, fn(&EdgeRow) -> &wire::Histogram);

/// By column; the description says what each is called.
const COUNTERS: [Counter; 13] = [
    ("opened", |row| row.opened),
    ("closed", |row| row.closed),
    ("failed", |row| row.failed),
    ("refused", |row| row.refused),
    ("reset_local", |row| row.reset_local),
    ("reset_remote", |row| row.reset_remote),
    ("bytes_sent", |row| row.bytes_sent),
    ("bytes_received", |row| row.bytes_received),
    ("segments_sent", |row| row.segments_sent),
    ("segments_received", |row| row.segments_received),
    ("retransmits", |row| row.retransmits),
    ("out_of_order", |row| row.out_of_order),
    ("zero_windows", |row| row.zero_windows),
];

const DISTRIBUTIONS: [Distribution; 2] = [
    ("connect_latency", |row| &row.connect_latency),
    ("rtt", |row| &row.rtt),
];

/// One request body per signal that has rows.
pub(crate) fn requests(batch: &Batch, style: Style) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    if !batch.edges.is_empty() {
        bodies.push(metrics(batch, style).encode_to_vec());
    }
    let records = log_records(batch);
    if !records.is_empty() {
        let logs = ScopeLogs {
            scope: scope(),
            log_records: records,
            ..ScopeLogs::default()
        };
        let resource_logs = vec![ResourceLogs {
            resource: resource(batch),
            scope_logs: vec![logs],
            ..ResourceLogs::default()
        }];
        bodies.push(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
    }
    bodies
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: String::from("waybill"),
        version: String::from("0.1.0"),
        ..InstrumentationScope::default()
    })
}

fn resource(batch: &Batch) -> Option<Resource> {
    let header = &batch.header;
    let attributes = vec![
        text("host.id", &hex(&header.host)),
        text("service.instance.id", &hex(&header.boot)),
        text("service.name", "waybill-agent"),
    ];
    Some(Resource {
        attributes,
        ..Resource::default()
    })
}

fn any(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    any(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: impl Into<u64>) -> KeyValue {
    any(key, Value::IntValue(value.into().cast_signed()))
}

fn role(role: Role) -> KeyValue {
    let name = match role {
        Role::Client => "client",
        Role::Server => "server",
    };
    text("waybill.role", name)
}

fn endpoint(list: &mut Vec<KeyValue>, side: &str, endpoint: &Endpoint) {
    list.push(text(
        &format!("network.{side}.address"),
        &endpoint.ip().to_string(),
    ));
    if endpoint.port != 0 {
        list.push(number(&format!("network.{side}.port"), endpoint.port));
    }
}

fn key(row: &EdgeRow) -> Vec<KeyValue> {
    let mut list = vec![number("waybill.process", row.process_id), role(row.role)];
    endpoint(&mut list, "local", &row.local);
    endpoint(&mut list, "peer", &row.remote);
    list.push(number("waybill.netns", row.netns));
    list
}

fn metrics(batch: &Batch, style: Style) -> ExportMetricsServiceRequest {
    let end = batch.header.end_ms * 1_000_000;
    let mut metrics = Vec::new();
    for (column, value) in COUNTERS {
        let rows = batch
            .edges
            .iter()
            .filter(|row| style == Style::Plain || value(row) > 0);
        let data_points = rows
            .map(|row| NumberDataPoint {
                attributes: key(row),
                start_time_unix_nano: row.since_ms * 1_000_000,
                time_unix_nano: end,
                value: Some(number_data_point::Value::AsInt(value(row).cast_signed())),
                ..NumberDataPoint::default()
            })
            .collect();
        let sum = Sum {
            data_points,
            aggregation_temporality: temporality(batch),
            is_monotonic: true,
        };
        metrics.push(metric(column, Data::Sum(sum)));
    }
    for (column, histogram) in DISTRIBUTIONS {
        // A server measures no connect latency.
        let rows = batch.edges.iter().filter(|row| histogram(row).count() > 0);
        let data = match style {
            Style::Plain => Data::Histogram(Histogram {
                data_points: rows.map(|row| explicit(row, histogram(row), end)).collect(),
                aggregation_temporality: temporality(batch),
            }),
            Style::Lean => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: rows
                    .map(|row| exponential(row, histogram(row), end))
                    .collect(),
                aggregation_temporality: temporality(batch),
            }),
        };
        metrics.push(metric(column, data));
    }
    let scope_metrics = vec![ScopeMetrics {
        scope: scope(),
        metrics,
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        resource: resource(batch),
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn metric(column: &str, data: Data) -> Metric {
    let named = wire::metric::metrics(EdgeRow::table());
    let named = named
        .into_iter()
        .find(|metric| metric.column.name == column);
    let named = named.expect("each is a column");
    Metric {
        name: named.otlp,
        unit: named.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// OpenTelemetry measures durations in seconds.
#[expect(clippy::cast_precision_loss, reason = "OTLP sums are doubles")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn explicit(row: &EdgeRow, histogram: &wire::Histogram, end: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: key(row),
        start_time_unix_nano: row.since_ms * 1_000_000,
        time_unix_nano: end,
        count: histogram.count(),
        sum: Some(seconds(histogram.sum_us)),
        bucket_counts: histogram.buckets.to_vec(),
        explicit_bounds: (1..histogram.buckets.len())
            .map(|i| seconds(1 << i))
            .collect(),
        ..HistogramDataPoint::default()
    }
}

fn exponential(
    row: &EdgeRow,
    histogram: &wire::Histogram,
    end: u64,
) -> ExponentialHistogramDataPoint {
    let used = |count: &u64| *count > 0;
    let first = histogram.buckets.iter().position(used).unwrap_or(0);
    let last = histogram.buckets.iter().rposition(used).unwrap_or(0);
    ExponentialHistogramDataPoint {
        attributes: key(row),
        start_time_unix_nano: row.since_ms * 1_000_000,
        time_unix_nano: end,
        count: histogram.count(),
        sum: Some(seconds(histogram.sum_us)),
        positive: Some(Buckets {
            // Powers of two of a microsecond are not powers of two of a second; the nearest scale
            // would need the same number of buckets.
            offset: i32::try_from(first).expect("32 buckets"),
            bucket_counts: histogram.buckets[first..=last].to_vec(),
        }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn log_records(batch: &Batch) -> Vec<LogRecord> {
    let end = batch.header.end_ms * 1_000_000;
    let record = |name: &str, time: u64, attributes: Vec<KeyValue>| LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: end,
        event_name: name.to_owned(),
        attributes,
        ..LogRecord::default()
    };
    let sightings = batch
        .sightings
        .iter()
        .map(|row| record("waybill.sighting", row.start_us * 1000, sighting(row)));
    let events = batch
        .events
        .iter()
        .map(|row| record("waybill.event", row.time_us * 1000, event(row)));
    let processes = batch
        .processes
        .iter()
        .map(|row| record("waybill.process", end, process(row)));
    let hosts = batch.hosts.iter().map(|row| {
        let mut list = vec![
            text("host.name", &row.hostname),
            text("os.version", &row.kernel),
            text("service.version", &row.agent),
            text("waybill.mode", &row.mode),
            number("waybill.started_ms", row.started_ms),
        ];
        let pairs = row.plan.iter().chain(&row.facts).chain(&row.paths_off);
        list.extend(pairs.map(|(key, value)| text(&format!("waybill.{key}"), value)));
        let counters = row.counters.iter();
        list.extend(counters.map(|(name, value)| number(&format!("waybill.{name}"), *value)));
        record("waybill.host", end, list)
    });
    let nats = batch
        .nats
        .iter()
        .map(|row| record("waybill.nat", end, nat(row)));
    sightings
        .chain(events)
        .chain(nats)
        .chain(processes)
        .chain(hosts)
        .collect()
}

fn sighting(row: &SightingRow) -> Vec<KeyValue> {
    let mut list = vec![
        number("waybill.token", row.token),
        text("waybill.part", &format!("{:?}", row.part)),
        any("waybill.answer", Value::BoolValue(row.answer)),
        role(row.role),
        text("waybill.kept", &format!("{:?}", row.kept)),
        text("waybill.life", &format!("{:?}", row.life)),
        number("waybill.sample_level", row.sample_level),
        number("waybill.process", row.process_id),
    ];
    endpoint(&mut list, "local", &row.local);
    endpoint(&mut list, "peer", &row.remote);
    list.push(number("waybill.netns", row.netns));
    list
}

fn event(row: &EventRow) -> Vec<KeyValue> {
    let mut list = vec![
        text("waybill.kind", &format!("{:?}", row.kind)),
        role(row.role),
        number("waybill.process", row.process_id),
        number("waybill.token", row.token),
        number("waybill.errno", row.errno),
        number("waybill.duration_us", row.duration_us),
        number("waybill.tcp.bytes_sent", row.bytes_sent),
        number("waybill.tcp.bytes_received", row.bytes_received),
        number("waybill.tcp.retransmits", row.retransmits),
    ];
    endpoint(&mut list, "local", &row.local);
    endpoint(&mut list, "peer", &row.remote);
    list.push(number("waybill.netns", row.netns));
    list
}

fn nat(row: &NatRow) -> Vec<KeyValue> {
    let mut list = vec![
        number("waybill.since_ms", row.since_ms),
        number("waybill.tcp.opened", row.opened),
    ];
    for (name, addr, port) in [
        ("client", row.client, 0),
        ("dialled", row.dialled.addr, row.dialled.port),
        ("source", row.source, 0),
        ("server", row.server.addr, row.server.port),
    ] {
        endpoint(&mut list, name, &Endpoint { addr, port });
    }
    list.push(number("waybill.netns", row.netns));
    list
}

fn process(row: &ProcessRow) -> Vec<KeyValue> {
    let mut list = vec![
        number("waybill.process", row.process_id),
        number("process.pid", row.tgid),
        number("waybill.started_ms", row.started_ms),
        text("process.command", &row.comm),
        text("process.executable.path", &row.exe),
        text("process.linux.cgroup", &row.cgroup),
        text("container.id", &row.container),
        text("waybill.unit", &row.unit),
        text("service.name", &row.service),
    ];
    list.retain(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        value != Some(&Value::StringValue(String::new()))
    });
    list.extend(
        row.tags
            .iter()
            .map(|(key, value)| text(&format!("waybill.tag.{key}"), value)),
    );
    list
}
