//! Tries rules with the rows that stand in their files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Value;
use wire::Histogram;

use super::baseline::{DAYS, Usuals};
use super::evaluate::{Cell, Ends, Pass, Plan, Reporting, Row};
use super::finding::{End, Evaluated, Subject};
use super::rule::cases::Case;
use super::rule::source::{Source, Values};
use super::rule::{Rule, Rules};

/// When cases are judged.
const NOW_MS: i64 = 1_767_225_600_000;
/// How much time the rows are from that say what is usual.
const HOUR_MS: i64 = 3_600_000;

/// Tries rules with their cases.
///
/// # Errors
/// A line for each case in which something else was found.
pub fn run<'r>(rules: impl Iterator<Item = &'r Arc<Rule>>) -> Result<usize, Vec<String>> {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for rule in rules {
        for (at, case) in rule.cases.iter().enumerate() {
            tried += 1;
            if let Err(why) = one(case, rule) {
                wrong.push(format!("rule {}, test {}: {why}", rule.name, at + 1));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(tried),
        false => Err(wrong),
    }
}

/// Tries the rule with it.
///
/// # Errors
/// What was found instead.
fn one(case: &Case, rule: &Rule) -> Result<(), String> {
    let found = found(case, rule)?;
    let told: Vec<String> = found
        .findings
        .iter()
        .map(|one| format!("{:?} on {}: {}", one.severity, one.subject, one.summary.en))
        .collect();
    let told = match told.is_empty() {
        true => match found.unjudged.first() {
            Some(one) => format!("nothing, for {}", one.why),
            None => String::from("nothing"),
        },
        false => told.join("; "),
    };
    let Some(severity) = case.fires else {
        return match found.findings.is_empty() {
            true => Ok(()),
            false => Err(format!("should find nothing, and found {told}")),
        };
    };
    let [one] = &found.findings[..] else {
        return Err(format!("should find one thing, and found {told}"));
    };
    let on = case
        .on
        .as_ref()
        .is_none_or(|on| one.subject.to_string() == *on);
    let says = case
        .says
        .as_ref()
        .is_none_or(|says| one.summary.en.contains(says));
    match one.severity == severity && on && says {
        true => Ok(()),
        false => Err(format!(
            "should find {severity:?} on {} saying {:?}, and found {told}",
            case.on.as_deref().unwrap_or("anything"),
            case.says.as_deref().unwrap_or("")
        )),
    }
}

fn found(case: &Case, rule: &Rule) -> Result<Evaluated, String> {
    let mut only = rule.clone();
    only.enabled = true;
    let plan = Plan::of(&Rules::of([only]));
    let [input] = plan.inputs() else {
        return Err(String::from("a rule reads one source"));
    };
    let row = |values: &BTreeMap<String, Value>| row(&rule.source, &input.columns, values);
    let mut hosts = BTreeSet::new();
    let mut usuals = Usuals::default();
    for _ in 0..DAYS {
        let mut pass = Pass::new(&plan);
        for values in &case.usual {
            let row = row(values)?;
            hosts.extend(hosts_of(&row));
            pass.add(0, &row);
        }
        pass.note(HOUR_MS, &mut usuals);
    }
    let mut pass = Pass::new(&plan);
    for values in &case.rows {
        let row = row(values)?;
        hosts.extend(hosts_of(&row));
        pass.add(0, &row);
    }
    let reporting = Reporting {
        hosts,
        ..Reporting::default()
    };
    Ok(pass.finish(NOW_MS, &usuals, &reporting))
}

fn hosts_of(row: &Row) -> Vec<String> {
    match &row.ends {
        Some(ends) => [&ends.client, &ends.server]
            .into_iter()
            .filter_map(|end| end.host.clone())
            .collect(),
        None => vec![row.host.clone()],
    }
}

/// A row of a case; what is not written is not known.
fn row(
    source: &Source,
    columns: &[String],
    values: &BTreeMap<String, Value>,
) -> Result<Row, String> {
    let text = |name: &str| {
        values
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let mut row = Row {
        end_ms: NOW_MS,
        ..Row::default()
    };
    for name in columns {
        let cell = match values.get(name) {
            Some(value) => cell(source, name, value)?,
            None => derived(name, &text),
        };
        row.cells.push(cell);
    }
    if *source == Source::Edge {
        let client = end(&text("client"));
        let server = end(&text("server"));
        if client.name.is_empty() || server.name.is_empty() {
            return Err(String::from("a row of an edge has a client and a server"));
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        let confidence = values.get("confidence").and_then(number).unwrap_or(1.0);
        row.ends = Some(Arc::new(Ends {
            client,
            server,
            endpoint: text("endpoint"),
            vip: some(text("vip")),
            gateways: some(text("gateway")).into_iter().collect(),
            evidence: Vec::new(),
            confidence,
            flow: some(text("flow")).map(|id| {
                Arc::new(Subject::Flow {
                    source: id.clone(),
                    id,
                    destination: String::from("any"),
                    port: String::new(),
                    owner: text("owner"),
                })
            }),
        }));
        return Ok(row);
    }
    let name = match source {
        Source::Host => text("name"),
        _ => text("hostname"),
    };
    row.host = Some(text("host"))
        .filter(|host| !host.is_empty())
        .unwrap_or(name.clone());
    row.hostname = name;
    row.service = text("service");
    Ok(row)
}

/// What the node of an edge says of its service and host.
fn derived(name: &str, text: &dyn Fn(&str) -> String) -> Cell {
    let Some((side, part)) = name.split_once('_') else {
        return Cell::Absent;
    };
    if !matches!(side, "client" | "server") {
        return Cell::Absent;
    }
    let end = end(&text(side));
    match part {
        "service" if !end.service.is_empty() => Cell::Text(end.service),
        "host" => end.host.map_or(Cell::Absent, Cell::Text),
        _ => Cell::Absent,
    }
}

fn end(name: &str) -> End {
    let (host, service) = match name.split_once('/') {
        Some((host, service)) => (Some(String::from(host)), String::from(service)),
        None => (None, String::new()),
    };
    End {
        name: String::from(name),
        host,
        service,
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tests are small")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn cell(source: &Source, name: &str, value: &Value) -> Result<Cell, String> {
    let wrong = |expected: &str| Err(format!("{name} is {expected}"));
    let Some(column) = source.column(name) else {
        return Err(source.unknown(name));
    };
    Ok(match (column.values, value) {
        (Values::Counter | Values::Gauge, value) => match number(value) {
            Some(value) => Cell::Number(value),
            None => return wrong("a number, in the unit of its column"),
        },
        (Values::Text, Value::String(text)) => Cell::Text(text.clone()),
        (Values::Flag, Value::Boolean(flag)) => Cell::Flag(*flag),
        (Values::Histogram, Value::Table(values)) => {
            let mut histogram = Histogram::default();
            for (time, count) in values {
                let both = time.parse::<u64>().ok().zip(count.as_integer());
                let Some((time, count)) = both.filter(|(_, count)| (0..=1_000_000).contains(count))
                else {
                    return wrong("a table of times and how often each was seen");
                };
                (0..count).for_each(|_| histogram.record(time));
            }
            Cell::Histogram(Box::new(histogram))
        }
        (Values::Text, _) => return wrong("a text"),
        (Values::Flag, _) => return wrong("true or false"),
        (Values::Histogram, _) => return wrong("a table of times and how often each was seen"),
    })
}

#[cfg(test)]
mod tests;
