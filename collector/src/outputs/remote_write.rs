//! Prometheus remote write 1.0: protobuf in a block of snappy.
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>
//!
//! Series are sums since the collector knows them. One that leaves zero is sent as zero before, so
//! that `rate` and `increase` see its first interval, also after the collector was started again. A
//! series never gets a sample that is older than its last one, which receivers refuse: what comes
//! late shows with the next sample.

use std::collections::HashSet;

use prost::Message;
use wire::metric::{Instrument, Metric};

use super::counted::{Counted, Known, Told};
use super::requests::{Encode, Endpoint};
use super::rows::{Interval, Rows, Value, samples};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    /// 1 counter, 2 gauge, 3 histogram, 5 info.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

const ENDPOINTS: [Endpoint; 1] = [Endpoint {
    path: "",
    headers: &[
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ],
}];

/// Rows as samples.
pub(super) struct RemoteWrite {
    counted: Counted,
    left_out: u64,
    /// Metrics whose type and help were sent.
    described: HashSet<String>,
}

impl RemoteWrite {
    pub(super) fn new(max_series: usize) -> Self {
        Self {
            counted: Counted::new(max_series),
            left_out: 0,
            described: HashSet::new(),
        }
    }

    fn describe(&mut self, metric: &Metric<'_>, request: &mut WriteRequest) {
        // More names than that are of somebody who makes them up.
        if self.described.len() < 4096 && self.described.insert(metric.prometheus.clone()) {
            request.metadata.push(Metadata {
                kind: match metric.instrument {
                    Instrument::Sum => 1,
                    Instrument::Gauge => 2,
                    Instrument::Histogram => 3,
                },
                name: metric.prometheus.clone(),
                help: metric.column.help.clone(),
                unit: String::new(),
            });
        }
    }

    /// The samples of one row.
    fn row(
        &mut self,
        rows: &Rows<'_>,
        interval: Interval,
        row: usize,
        keys: &mut Vec<[u8; 16]>,
    ) -> WriteRequest {
        let mut request = WriteRequest::default();
        if let Some(info) = rows.info() {
            let labels = rows.words(row);
            request
                .timeseries
                .push(series(&info, &labels, None, &[(interval.end_ms, 1.0)]));
        }
        if rows.metrics.is_empty() {
            return request;
        }
        let labels = rows.labels(row);
        let values = rows.values(row);
        let (before, sums) = if rows.is_state() {
            (values.clone(), values)
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
            let known = self.counted.take(key, told, &is_gauge, &mut self.left_out);
            let Some(known) = known else { return request };
            keys.push(key);
            let Known {
                before, sums, late, ..
            } = known;
            if late {
                return request;
            }
            (before, sums)
        };
        for ((metric, before), sum) in rows.metrics.iter().zip(&before).zip(&sums) {
            let is_gauge = metric.instrument == Instrument::Gauge || rows.is_state();
            if matches!(sum, Value::Absent) || (sum.is_zero() && !is_gauge) {
                continue;
            }
            self.describe(metric, &mut request);
            let begins = before.is_zero() && !is_gauge;
            samples(metric.divisor, sum, |suffix, label, value| {
                let name = format!("{}{suffix}", metric.prometheus);
                let mut points = vec![(interval.end_ms, value)];
                if begins && interval.start_ms + 1 < interval.end_ms {
                    points.insert(0, (interval.start_ms + 1, 0.0));
                }
                request
                    .timeseries
                    .push(series(&name, &labels, label, &points));
            });
        }
        request
    }
}

fn series(
    name: &str,
    labels: &[(String, String)],
    label: Option<(&str, &str)>,
    points: &[(i64, f64)],
) -> TimeSeries {
    let of = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let mut all = vec![of("__name__", name)];
    // A label without a value is one that is not there.
    let told = labels.iter().filter(|(_, value)| !value.is_empty());
    all.extend(told.map(|(name, value)| of(name, value)));
    all.extend(label.map(|(name, value)| of(name, value)));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let sample = |(timestamp, value): &(i64, f64)| Sample {
        value: *value,
        timestamp: *timestamp,
    };
    TimeSeries {
        labels: all,
        samples: points.iter().map(sample).collect(),
    }
}

impl Encode for RemoteWrite {
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
        if rows.metrics.is_empty() && rows.info().is_none() {
            return rows.len();
        }
        let [body] = bodies else { return rows.len() };
        let begin = body.len();
        for row in from..rows.len() {
            if body.len() - begin >= most {
                return row;
            }
            body.extend(self.row(rows, interval, row, keys).encode_to_vec());
        }
        rows.len()
    }

    fn pack(&self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(snap::raw::Encoder::new().compress_vec(body)?)
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
