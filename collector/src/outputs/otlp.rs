//! OTLP over HTTP with protobuf: series as metrics, events and what holds as log records.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//!
//! Sums and histograms tell what an interval added (delta), or everything since the collector knows
//! the series (cumulative), for receivers that take nothing else.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as OtlpMetric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::Value as Json;
use wire::HISTOGRAM_BUCKETS;
use wire::metric::{Instrument, Metric};

use super::counted::{Counted, Told};
use super::requests::{Encode, Endpoint};
use super::rows::{Interval, Rows, Value, bound};
use crate::config::Temporality;

/// Rows that are encoded together, so that they share what is said once.
const ROWS: usize = 64;

const HEADERS: &[(&str, &str)] = &[("Content-Type", "application/x-protobuf")];
const ENDPOINTS: [Endpoint; 2] = [
    Endpoint {
        path: "/v1/metrics",
        headers: HEADERS,
    },
    Endpoint {
        path: "/v1/logs",
        headers: HEADERS,
    },
];

/// Rows as points and records.
pub(super) struct Otlp {
    counted: Counted,
    left_out: u64,
    temporality: Temporality,
    /// When cumulative sums began, Unix milliseconds.
    begin_ms: i64,
}

/// The points of one row: what it counts, and since when.
struct Points {
    attributes: Vec<KeyValue>,
    start_ms: i64,
    values: Vec<Value>,
}

impl Otlp {
    pub(super) fn new(max_series: usize, temporality: Temporality, now_ms: i64) -> Self {
        Self {
            counted: Counted::new(max_series),
            left_out: 0,
            temporality,
            begin_ms: now_ms,
        }
    }

    fn points(
        &mut self,
        rows: &Rows<'_>,
        interval: Interval,
        row: usize,
        keys: &mut Vec<[u8; 16]>,
    ) -> Option<Points> {
        let labels = rows.labels(row);
        let values = rows.values(row);
        let begin_ms = self.begin_ms.min(interval.start_ms);
        let (start_ms, values) = if rows.is_state() {
            (begin_ms, values)
        } else {
            let told = Told {
                end_ms: interval.end_ms,
                total: rows.is_total(row),
                begun: rows.is_begun(row),
                values,
            };
            let key = rows.key(row, &labels);
            let is_gauge = |metric: &Metric<'_>| metric.instrument == Instrument::Gauge;
            let is_gauge: Vec<bool> = rows.metrics.iter().map(is_gauge).collect();
            let known = self
                .counted
                .take(key, told, &is_gauge, &mut self.left_out)?;
            keys.push(key);
            match self.temporality {
                Temporality::Delta => (interval.start_ms, known.added),
                Temporality::Cumulative if known.late => return None,
                Temporality::Cumulative => (begin_ms, known.sums),
            }
        };
        // The host is the resource.
        let labels = labels.into_iter().filter(|(name, _)| name != "host");
        Some(Points {
            attributes: labels.map(|(name, value)| text(&name, value)).collect(),
            start_ms,
            values,
        })
    }

    fn metrics(
        &mut self,
        rows: &Rows<'_>,
        interval: Interval,
        range: std::ops::Range<usize>,
        keys: &mut Vec<[u8; 16]>,
    ) -> Vec<OtlpMetric> {
        let points: Vec<Points> = range
            .filter_map(|row| self.points(rows, interval, row, keys))
            .collect();
        let cumulative = rows.is_state() || self.temporality == Temporality::Cumulative;
        let temporality = if cumulative {
            AggregationTemporality::Cumulative
        } else {
            AggregationTemporality::Delta
        };
        let metric = |(at, metric): (usize, &Metric<'_>)| {
            let data = data(metric, at, &points, interval, temporality)?;
            Some(OtlpMetric {
                name: metric.otlp.clone(),
                description: metric.column.help.clone(),
                unit: metric.unit.to_owned(),
                data: Some(data),
                ..OtlpMetric::default()
            })
        };
        rows.metrics.iter().enumerate().filter_map(metric).collect()
    }
}

/// The points of one metric, those that say nothing left out; `None` where all are.
fn data(
    metric: &Metric<'_>,
    at: usize,
    points: &[Points],
    interval: Interval,
    temporality: AggregationTemporality,
) -> Option<Data> {
    let is_gauge = metric.instrument == Instrument::Gauge;
    let told = points.iter().filter(|point| match &point.values[at] {
        Value::Absent => false,
        value => is_gauge || !value.is_zero(),
    });
    if metric.instrument == Instrument::Histogram {
        let points: Vec<_> = told
            .filter_map(|point| histogram(point, at, interval))
            .collect();
        if points.is_empty() {
            return None;
        }
        return Some(Data::Histogram(Histogram {
            data_points: points,
            aggregation_temporality: temporality as i32,
        }));
    }
    let mut numbers = Vec::new();
    for point in told {
        let mut number = |name: Option<&str>, value: u64| {
            let mut attributes = point.attributes.clone();
            attributes.extend(name.map(|name| text("name", name.to_owned())));
            let value = match metric.divisor {
                1 => number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX)),
                divisor => number_data_point::Value::AsDouble(value as f64 / divisor as f64),
            };
            numbers.push(NumberDataPoint {
                attributes,
                start_time_unix_nano: nanoseconds(point.start_ms),
                time_unix_nano: nanoseconds(interval.end_ms),
                value: Some(value),
                ..NumberDataPoint::default()
            });
        };
        match &point.values[at] {
            Value::Number(value) => number(None, *value),
            Value::Counts(counts) => {
                counts
                    .iter()
                    .for_each(|(name, value)| number(Some(name), *value));
            }
            Value::Absent | Value::Histogram(_) => {}
        }
    }
    if numbers.is_empty() {
        return None;
    }
    Some(if is_gauge {
        Data::Gauge(Gauge {
            data_points: numbers,
        })
    } else {
        Data::Sum(Sum {
            data_points: numbers,
            aggregation_temporality: temporality as i32,
            is_monotonic: true,
        })
    })
}

fn histogram(point: &Points, at: usize, interval: Interval) -> Option<HistogramDataPoint> {
    let Value::Histogram(histogram) = &point.values[at] else {
        return None;
    };
    Some(HistogramDataPoint {
        attributes: point.attributes.clone(),
        start_time_unix_nano: nanoseconds(point.start_ms),
        time_unix_nano: nanoseconds(interval.end_ms),
        count: histogram.count(),
        sum: Some(histogram.sum_us as f64 / 1e6),
        bucket_counts: histogram.buckets.to_vec(),
        explicit_bounds: (0..HISTOGRAM_BUCKETS - 1).map(bound).collect(),
        ..HistogramDataPoint::default()
    })
}

fn nanoseconds(ms: i64) -> u64 {
    ms.max(0).unsigned_abs().saturating_mul(1_000_000)
}

fn any(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: String) -> KeyValue {
    any(key, Any::StringValue(value))
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: String::from("waybill"),
        version: String::from(env!("CARGO_PKG_VERSION")),
        ..InstrumentationScope::default()
    })
}

fn resource(rows: &Rows<'_>) -> Option<Resource> {
    let (host, boot) = rows.whose();
    Some(Resource {
        attributes: vec![
            text("host.id", host),
            text("service.name", String::from("waybill-agent")),
            text("service.instance.id", boot),
        ],
        ..Resource::default()
    })
}

/// A row as a record: its columns are attributes, with the table's name in front.
fn record(rows: &Rows<'_>, interval: Interval, row: usize) -> LogRecord {
    let name = rows.name();
    let columns = rows
        .row(row)
        .into_iter()
        .filter(|(_, value)| !value.is_null());
    let attributes = columns.map(|(column, value)| {
        let value = match value {
            Json::Bool(value) => Any::BoolValue(value),
            Json::String(value) => Any::StringValue(value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Any::IntValue(number),
                None => Any::StringValue(number.to_string()),
            },
            other => Any::StringValue(other.to_string()),
        };
        any(&format!("waybill.{name}.{column}"), value)
    });
    LogRecord {
        time_unix_nano: rows.time_us(row).map_or_else(
            || nanoseconds(interval.end_ms),
            |us| us.saturating_mul(1000),
        ),
        observed_time_unix_nano: nanoseconds(interval.end_ms),
        event_name: format!("waybill.{name}"),
        attributes: attributes.collect(),
        ..LogRecord::default()
    }
}

impl Encode for Otlp {
    fn endpoints(&self) -> &'static [Endpoint] {
        &ENDPOINTS
    }

    fn encode(
        &mut self,
        (rows, interval): (&Rows<'_>, Interval),
        from: usize,
        most: usize,
        bodies: &mut [Vec<u8>],
        keys: &mut Vec<[u8; 16]>,
    ) -> usize {
        let [metrics, logs] = bodies else {
            return rows.len();
        };
        let begin = metrics.len() + logs.len();
        let mut from = from;
        while from < rows.len() && metrics.len() + logs.len() - begin < most {
            let to = rows.len().min(from + ROWS);
            let points = self.metrics(rows, interval, from..to, keys);
            if !points.is_empty() {
                let resource_metrics = vec![ResourceMetrics {
                    resource: resource(rows),
                    scope_metrics: vec![ScopeMetrics {
                        scope: scope(),
                        metrics: points,
                        ..ScopeMetrics::default()
                    }],
                    ..ResourceMetrics::default()
                }];
                metrics.extend(ExportMetricsServiceRequest { resource_metrics }.encode_to_vec());
            }
            if rows.is_state() || rows.is_events() {
                let records = (from..to).map(|row| record(rows, interval, row));
                let resource_logs = vec![ResourceLogs {
                    resource: resource(rows),
                    scope_logs: vec![ScopeLogs {
                        scope: scope(),
                        log_records: records.collect(),
                        ..ScopeLogs::default()
                    }],
                    ..ResourceLogs::default()
                }];
                logs.extend(ExportLogsServiceRequest { resource_logs }.encode_to_vec());
            }
            from = to;
        }
        from
    }

    fn pack(&self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(body.to_vec())
    }

    fn forget(&mut self, keys: &[[u8; 16]]) {
        for key in keys {
            self.counted.forget(key);
        }
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }
}
