//! Series that a scrape shows: a bounded number, each the sum of what belongs to its labels.
//!
//! Pure. What would be a series too many is added to the one of its table whose labels are all
//! [`OTHER`]. Text is written piece by piece, so that nothing holds all of it.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::ops::Bound;

use wire::metric::{Instrument, Metric};

use super::rows::{Value, samples};
use crate::escape;

/// The value of every label of the series for what has none of its own, and of the label `name` for
/// counts of too many names.
const OTHER: &str = "other";
/// Tables, metrics of a table, and names of a metric's counts.
const TABLES: usize = 64;
const METRICS: usize = 256;
const NAMES: usize = 512;
/// Bytes of a label's value: processes may call themselves anything, at any length.
const LABEL_BYTES: usize = 200;
/// Time without a word after which a series may make room, and after which a gauge says nothing,
/// milliseconds.
const IDLE_MS: i64 = 3_600_000;
const STALE_MS: i64 = 300_000;
/// The least time between two looks for idle series, milliseconds.
const SWEEP_MS: i64 = 60_000;
/// Bytes after which a piece ends.
const PIECE: usize = 64 << 10;

/// Labels of a series, by name.
pub(super) type Labels = Vec<(String, String)>;

/// What a row tells of a series.
pub(super) struct Row<'a> {
    pub(super) table: &'a str,
    pub(super) labels: Labels,
    pub(super) metrics: &'a [Metric<'a>],
    /// One for each metric; of counters what was added, unless `total`.
    pub(super) values: Vec<Value>,
    /// Values take the place of those before: nothing can be added to them.
    pub(super) total: bool,
}

/// Where a row went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// To the series of its labels.
    Own,
    /// To the series for the rest.
    Other,
    /// Nowhere.
    LeftOut,
}

/// All series.
#[derive(Debug, Default)]
pub(super) struct Exposed {
    most: usize,
    series: usize,
    swept_ms: i64,
    tables: BTreeMap<String, Table>,
    /// Names that lines begin with.
    taken: HashSet<String>,
}

#[derive(Debug, Default)]
struct Table {
    metrics: Vec<Shown>,
    series: BTreeMap<Labels, Series>,
}

/// A metric as it was first described: hosts may have other versions of a table.
#[derive(Debug)]
struct Shown {
    name: String,
    help: String,
    instrument: Instrument,
    divisor: u64,
    names: BTreeSet<String>,
}

#[derive(Debug)]
struct Series {
    values: Vec<Value>,
    told_ms: i64,
}

/// How far a text is written.
#[derive(Debug, Default)]
pub(super) struct Place {
    table: String,
    metric: usize,
    /// The last series of that metric.
    after: Option<Labels>,
    /// Type and help of the metric are written.
    described: bool,
}

impl Exposed {
    /// At most so many series beside those for the rest.
    pub(super) fn bound(&mut self, most: usize) {
        self.most = most;
    }

    /// Adds a row that came at `now_ms`.
    pub(super) fn take(&mut self, row: Row<'_>, now_ms: i64) -> Went {
        let Row {
            table,
            mut labels,
            metrics,
            values,
            total,
        } = row;
        for (_, value) in &mut labels {
            cut(value);
        }
        let known = self.tables.get(table);
        let is_known = known.is_some_and(|table| table.series.contains_key(&labels));
        let mut went = Went::Own;
        if !is_known && !self.has_room(now_ms) {
            if total {
                return Went::LeftOut;
            }
            went = Went::Other;
            for (_, value) in &mut labels {
                OTHER.clone_into(value);
            }
        }
        if !self.tables.contains_key(table) && self.tables.len() >= TABLES {
            return Went::LeftOut;
        }
        let at = self.tables.entry(table.to_owned()).or_default();
        let series = at.series.entry(labels).or_insert_with(|| {
            self.series += usize::from(went == Went::Own);
            Series {
                values: Vec::new(),
                told_ms: now_ms,
            }
        });
        series.told_ms = now_ms;
        for (metric, value) in metrics.iter().zip(values) {
            let is_gauge = metric.instrument == Instrument::Gauge;
            if matches!(value, Value::Absent) || (is_gauge && went == Went::Other) {
                continue;
            }
            let Some(place) = place(&mut at.metrics, &mut self.taken, metric) else {
                continue;
            };
            if series.values.len() <= place {
                series.values.resize(place + 1, Value::Absent);
            }
            let value = at.metrics[place].bounded(value);
            if total || is_gauge {
                series.values[place] = value;
            } else {
                series.values[place].add(&value);
            }
        }
        went
    }

    fn has_room(&mut self, now_ms: i64) -> bool {
        if self.series >= self.most && now_ms.saturating_sub(self.swept_ms) > SWEEP_MS {
            self.swept_ms = now_ms;
            let since = now_ms.saturating_sub(IDLE_MS);
            for table in self.tables.values_mut() {
                let before = table.series.len();
                // What was added to the rest stays in it.
                table.series.retain(|labels, series| {
                    series.told_ms >= since || labels.iter().all(|(_, value)| value == OTHER)
                });
                self.series -= before - table.series.len();
            }
        }
        self.series < self.most
    }

    /// Writes what follows on a place; `false` when nothing does.
    pub(super) fn write(&self, place: &mut Place, now_ms: i64, out: &mut String) -> bool {
        let begin = out.len();
        let from = Bound::Included(place.table.clone());
        for (name, table) in self.tables.range((from, Bound::Unbounded)) {
            if *name != place.table {
                *place = Place {
                    table: name.clone(),
                    ..Place::default()
                };
            }
            while let Some(metric) = table.metrics.get(place.metric) {
                let after = place.after.clone();
                let after = after.map_or(Bound::Unbounded, Bound::Excluded);
                for (labels, series) in table.series.range((after, Bound::Unbounded)) {
                    if out.len() - begin >= PIECE {
                        return true;
                    }
                    metric.write((labels, series), place, now_ms, out);
                    place.after = Some(labels.clone());
                }
                (place.metric, place.after, place.described) = (place.metric + 1, None, false);
            }
        }
        false
    }
}

impl Shown {
    /// A value with names that are short, and not too many.
    fn bounded(&mut self, value: Value) -> Value {
        let Value::Counts(counts) = value else {
            return value;
        };
        let mut bounded = BTreeMap::<String, u64>::new();
        for (mut name, count) in counts {
            cut(&mut name);
            if !self.names.contains(&name) {
                if self.names.len() < NAMES {
                    self.names.insert(name.clone());
                } else {
                    OTHER.clone_into(&mut name);
                }
            }
            let sum = bounded.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
        Value::Counts(bounded)
    }

    fn write(
        &self,
        (labels, series): (&Labels, &Series),
        place: &mut Place,
        now_ms: i64,
        out: &mut String,
    ) {
        let Some(value) = series.values.get(place.metric) else {
            return;
        };
        let is_gauge = self.instrument == Instrument::Gauge;
        let is_stale = is_gauge && now_ms.saturating_sub(series.told_ms) > STALE_MS;
        if matches!(value, Value::Absent) || is_stale {
            return;
        }
        let Self { name, help, .. } = self;
        if !std::mem::replace(&mut place.described, true) {
            let kind = match self.instrument {
                Instrument::Sum => "counter",
                Instrument::Gauge => "gauge",
                Instrument::Histogram => "histogram",
            };
            out.push_str("# HELP ");
            out.push_str(name);
            out.push(' ');
            escaped(help, false, out);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "\n# TYPE {name} {kind}");
        }
        samples(self.divisor, value, |suffix, label, value| {
            let _ = write!(out, "{name}{suffix}{{");
            let labels = labels.iter().map(|(name, value)| (&**name, &**value));
            for (at, (name, value)) in labels.chain(label).enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{name}=\"");
                escaped(value, true, out);
                out.push('"');
            }
            let _ = writeln!(out, "}} {value}");
        });
    }
}

/// Which of the metrics of a table it is; `None` for one that another one stands in the way of.
fn place(
    metrics: &mut Vec<Shown>,
    taken: &mut HashSet<String>,
    metric: &Metric<'_>,
) -> Option<usize> {
    let name = &metric.prometheus;
    if let Some(at) = metrics.iter().position(|shown| shown.name == *name) {
        let Shown {
            instrument,
            divisor,
            ..
        } = metrics[at];
        return ((instrument, divisor) == (metric.instrument, metric.divisor)).then_some(at);
    }
    let suffixes: &[&str] = match metric.instrument {
        Instrument::Histogram => &["", "_bucket", "_sum", "_count"],
        Instrument::Sum | Instrument::Gauge => &[""],
    };
    let names: Vec<String> = suffixes
        .iter()
        .map(|suffix| format!("{name}{suffix}"))
        .collect();
    // A table can be called so that its metrics are those of another one, or the collector's own.
    let is_ours = name.starts_with("waybill_collector_");
    if is_ours || metrics.len() >= METRICS || names.iter().any(|name| taken.contains(name)) {
        return None;
    }
    taken.extend(names);
    metrics.push(Shown {
        name: name.clone(),
        help: escape::shorten(&metric.column.help, 1000),
        instrument: metric.instrument,
        divisor: metric.divisor,
        names: BTreeSet::new(),
    });
    Some(metrics.len() - 1)
}

fn cut(value: &mut String) {
    value.truncate(value.floor_char_boundary(LABEL_BYTES));
}

fn escaped(text: &str, is_label: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_label => out.push_str("\\\""),
            // Readers in C, and some lexers, end at it.
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
