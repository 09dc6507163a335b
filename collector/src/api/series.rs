//! `GET /api/v1/series/{table}`: a column of a table over time, by what its description says.

use std::collections::BTreeMap;
use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use wire::{HISTOGRAM_BUCKETS, Histogram, schema};

use super::columns::{self, WHERE, Where, label};
use super::distribution::{Bucket, Distribution, Quantile};
use super::failure::{Failure, Problem};
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Need, Parameter, WINDOW};
use super::tables::{self, HOST, TABLE};
use crate::meter::Meter;
use crate::rows::{Answer, Row};
use crate::store::Which;

/// `GET /api/v1/series/{table}`
pub const SERIES: Operation = Operation {
    method: "GET",
    path: "/api/v1/series/{table}",
    id: "series",
    summary: "A column of a table: sum, rate, largest value, percentile or distribution, by group and \
              step",
    help: "Counters have a `sum` and a `rate` (per second), gauges a `max`, histograms a \
           `percentile` and a `distribution`, whose value is how many there are. A value is null \
           where a host cannot measure a part of it.",
    parameters: &[
        &[
            TABLE,
            Parameter::new("value", Kind::Text(64), "The column.").at(Need::Required),
        ],
        &WINDOW,
        &[
            Parameter::new(
                "function",
                Kind::Choice(&["sum", "rate", "max", "percentile", "distribution"]),
                "What is made of its values; by default what fits the column.",
            ),
            Parameter::new("percentile", Kind::Number(1, 100), "Which percentile.").or("99"),
            Parameter::new(
                "group",
                Kind::Text(512),
                "A series for each combination of these columns, with commas between them.",
            ),
            Parameter::new(
                "step",
                Kind::Duration,
                "Length of a step; without it there is one value for the window. At most 1000 steps.",
            ),
            HOST,
            WHERE,
            Parameter::new(
                "limit",
                Kind::Number(1, 1000),
                "Most series: the largest ones.",
            )
            .or("20"),
        ],
    ],
    body: None,
    form: Form::Json(form::<Found>),
    refusals: &[(404, "No such table")],
    answer: Some(series),
};

/// Rows that are looked at.
const ROWS: usize = 200_000;
/// Most steps.
const STEPS: i64 = 1000;

/// Series of a column.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SeriesAnswer")]
struct Found {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// Length of a step, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_ms: Option<i64>,
    /// What was made of the values.
    function: String,
    /// Unit of the column, as UCUM writes it; a rate is per second of it.
    unit: String,
    /// The largest ones first.
    series: Vec<Series>,
    /// Series beyond `limit`.
    left_out: u64,
    /// Rows that were not looked at; choose a shorter window or a condition.
    #[serde(skip_serializing_if = "is_zero")]
    rows_left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Values of one combination of columns.
#[derive(Serialize, JsonSchema)]
struct Series {
    /// The combination.
    labels: Map<String, Value>,
    /// Over the window.
    value: Option<f64>,
    /// Of a percentile, the bounds between which it lies, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Quantile>,
    /// Where distributions were asked for, and hosts can measure all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<Distribution>,
    /// By step, those with rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<Point>,
}

/// The value of a step.
#[derive(Serialize, JsonSchema)]
struct Point {
    /// Its end, inclusive; Unix milliseconds.
    to_ms: i64,
    /// Null where a host cannot measure a part of it.
    value: Option<f64>,
    /// Where distributions were asked for, and hosts can measure all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<Distribution>,
}

/// What is made of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    Sum,
    Rate,
    Max,
    Percentile(u64),
    Distribution,
}

/// Values that were added up.
#[derive(Clone, Default)]
struct Sum {
    number: u128,
    max: u64,
    histogram: Histogram,
    is_unknown: bool,
}

fn series(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let step_ms = given.duration_ms("step");
    let which = Which {
        table: tables::known(given.text("table").unwrap_or_default())?,
        host: given.text("host").map(String::from),
        intervals: step_ms.is_some() || given.text("function") == Some("max"),
        silent: false,
        most: ROWS,
    };
    let answer = tables::read(asking, &which, given.asked(asking.now_ms)?)?;
    let (from_ms, to_ms) = (answer.from_ms, answer.to_ms);
    if step_ms.is_some_and(|step| (to_ms - from_ms) / step > STEPS) {
        let why = format!("step: more than {STEPS} steps; choose a longer one or a shorter window");
        return Err(Problem::query(why).into());
    }
    let name = given.text("value").unwrap_or_default();
    let (function, word, unit) = of_column(given.text("function"), asking, name, &answer)?;
    let group = given.text("group").map(|text| text.split(',').collect());
    let group: Vec<&str> = group.unwrap_or_default();
    for column in &group {
        columns::check("group", column, &answer)?;
    }
    let conditions = Where::parse(given.text("where"), &answer)?;
    let adding = Adding {
        value: name,
        group: &group,
        conditions: &conditions,
        step_ms,
        point: size_of::<Point>()
            + match function {
                Function::Distribution => HISTOGRAM_BUCKETS * size_of::<Bucket>(),
                _ => 0,
            },
    };
    let sums = adding.sums(&answer, asking.meter)?;
    let rows_left_out = answer.tables.iter().map(|rows| rows.rows_left_out).sum();
    let window_ms = to_ms - from_ms;
    let mut all: Vec<Series> = sums
        .into_values()
        .map(|sums| Series {
            labels: sums.labels,
            value: sums.whole.value(function, window_ms),
            bounds: sums.whole.bounds(function),
            distribution: sums.whole.distribution(function),
            points: sums
                .points
                .into_iter()
                .map(|(to_ms, sum)| Point {
                    to_ms,
                    value: sum.value(function, step_ms.unwrap_or(window_ms)),
                    distribution: sum.distribution(function),
                })
                .collect(),
        })
        .collect();
    let size = |one: &Series| one.value.unwrap_or(-1.0);
    all.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let most = given.count("limit");
    let left_out = all.len().saturating_sub(most) as u64;
    all.truncate(most);
    let found = Found {
        from_ms,
        to_ms,
        whole_from_ms: answer.whole_from_ms,
        step_ms,
        function: word.into(),
        unit,
        series: all,
        left_out,
        rows_left_out,
    };
    write(out, &found)
}

/// How rows are added up.
struct Adding<'a> {
    value: &'a str,
    group: &'a [&'a str],
    conditions: &'a Where,
    step_ms: Option<i64>,
    /// Bytes of what is answered of a step.
    point: usize,
}

/// Those with the same labels.
struct Sums {
    labels: Map<String, Value>,
    whole: Sum,
    /// By the end of their step.
    points: BTreeMap<i64, Sum>,
}

impl Adding<'_> {
    /// By their labels, as text.
    fn sums(&self, answer: &Answer, mut meter: Meter) -> Result<BTreeMap<String, Sums>, Failure> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        for rows in &answer.tables {
            let met = |row: &&Row| self.conditions.is_met(&rows.table, row);
            for row in rows.rows.iter().filter(met) {
                let named =
                    |column: &&str| (String::from(*column), label(&rows.table, row, column));
                let labels: Map<String, Value> = self.group.iter().map(named).collect();
                let key = Value::Object(labels.clone()).to_string();
                if !sums.contains_key(&key) {
                    let one = size_of::<Series>() + size_of::<Sums>() + self.point;
                    meter.row(2 * key.len() + one)?;
                }
                let of = sums.entry(key).or_insert_with(|| Sums {
                    labels,
                    whole: Sum::default(),
                    points: BTreeMap::new(),
                });
                of.whole.add(row, self.value);
                let Some(step) = self.step_ms else { continue };
                let before = (row.end_ms - answer.from_ms - 1) / step;
                let end = (answer.from_ms + (before + 1) * step).min(answer.to_ms);
                if !of.points.contains_key(&end) {
                    meter.bytes(size_of::<Sum>() + self.point)?;
                }
                of.points.entry(end).or_default().add(row, self.value);
            }
        }
        Ok(sums)
    }
}

/// What can be made of a column, as it was asked or as fits it: the function, its name, the unit.
fn of_column(
    asked: Option<&str>,
    asking: &Asking<'_>,
    name: &str,
    answer: &Answer,
) -> Result<(Function, &'static str, String), Problem> {
    columns::check("value", name, answer)?;
    let mut columns = answer
        .tables
        .iter()
        .filter_map(|rows| rows.table.column(name));
    let Some(column) = columns.next() else {
        // Nobody has filled the table, or the name is one of every row's.
        return match answer.tables.is_empty() {
            true => Ok((Function::Sum, "sum", String::new())),
            false => Err(Problem::query(format!("value: {name} is no number"))),
        };
    };
    let fitting: &[&'static str] = match column.kind {
        schema::Kind::Counter => &["sum", "rate"],
        schema::Kind::Gauge => &["max"],
        schema::Kind::Histogram => &["percentile", "distribution"],
        _ => {
            return Err(Problem::query(format!(
                "value: {name} is no number to add up"
            )));
        }
    };
    let word = asked.unwrap_or(fitting[0]);
    let Some(word) = fitting.iter().find(|fits| **fits == word) else {
        let fits = fitting.join(" or ");
        return Err(Problem::query(format!(
            "function: {name} has {fits}, and no {word}"
        )));
    };
    let percentile = asking.given.number("percentile").unwrap_or(99);
    let function = match *word {
        "rate" => Function::Rate,
        "max" => Function::Max,
        "percentile" => Function::Percentile(percentile),
        "distribution" => Function::Distribution,
        _ => Function::Sum,
    };
    Ok((function, word, column.unit.clone()))
}

impl Sum {
    fn add(&mut self, row: &Row, column: &str) {
        match row.values.get(column) {
            Some(Value::Number(number)) => {
                let number = number.as_u64().unwrap_or(0);
                self.number += u128::from(number);
                self.max = self.max.max(number);
            }
            Some(value) if let Some(told) = Distribution::read(value) => {
                self.histogram.sum_us = self.histogram.sum_us.saturating_add(told.sum_us);
                let buckets = self.histogram.buckets.iter_mut();
                for (mine, told) in buckets.zip(told.buckets) {
                    *mine = mine.saturating_add(told);
                }
            }
            // What a host cannot measure, and a column that its description does not have.
            _ => self.is_unknown = true,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a document's number")]
    fn value(&self, function: Function, span_ms: i64) -> Option<f64> {
        if self.is_unknown {
            return None;
        }
        Some(match function {
            Function::Sum => self.number as f64,
            Function::Rate => self.number as f64 * 1000.0 / span_ms.max(1) as f64,
            Function::Max => self.max as f64,
            Function::Percentile(_) => self.bounds(function)?.value_us as f64,
            Function::Distribution => self.distribution(function)?.count as f64,
        })
    }

    fn distribution(&self, function: Function) -> Option<Distribution> {
        let is_asked = function == Function::Distribution && !self.is_unknown;
        is_asked.then(|| Distribution::of(&self.histogram))
    }

    fn bounds(&self, function: Function) -> Option<Quantile> {
        match function {
            Function::Percentile(per_cent) if !self.is_unknown => {
                Quantile::of(&self.histogram, per_cent)
            }
            _ => None,
        }
    }
}
