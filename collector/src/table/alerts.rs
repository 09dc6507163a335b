//! What `alerts list` and `alerts show` print.

use std::io::{self, Write};

use serde_json::Value;

use crate::escape::{Shown, shorten};
use crate::time::rfc3339;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// A time, and nothing for none.
fn time(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_i64)
        .map_or_else(String::new, rfc3339)
}

/// Groups of those that fire, then each alert.
///
/// # Errors
/// Those of the writer.
pub fn alerts(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let counts = &answer["counts"];
    if answer["at_ms"] == 0 {
        return writeln!(out, "nothing was judged yet");
    }
    writeln!(
        out,
        "{} critical and {} warnings fire, {} pending, {} not known; judged up to {}",
        counts["critical"],
        counts["warning"],
        counts["pending"],
        counts["unknown"],
        time(answer, "at_ms")
    )?;
    for group in list(answer, "groups") {
        writeln!(
            out,
            "\n{} since {}: {}",
            text(group, "severity"),
            time(group, "since_ms"),
            Shown(text(group, "headline"))
        )?;
        for candidate in list(group, "candidates") {
            writeln!(out, "  changed nearby: {}", Shown(text(candidate, "why")))?;
        }
    }
    let alerts = list(answer, "alerts");
    if !alerts.is_empty() {
        writeln!(
            out,
            "\n{:<20}{:<10}{:<10}{:<28}ABOUT",
            "ID", "PHASE", "SEVERITY", "RULE"
        )?;
    }
    for alert in alerts {
        writeln!(
            out,
            "{:<20}{:<10}{:<10}{:<28}{}{}",
            text(alert, "id"),
            text(alert, "phase"),
            text(alert, "severity"),
            shorten(text(alert, "rule"), 27),
            shorten(text(alert, "name"), 60),
            known(alert)
        )?;
    }
    if answer.get("next").is_some() {
        writeln!(
            out,
            "\nmore are not shown; narrow with --severity, --host or --rule"
        )?;
    }
    Ok(())
}

/// Who knows of an alert, and what mutes it.
fn known(alert: &Value) -> String {
    let mut known = String::new();
    if let Some(who) = alert.pointer("/acknowledged/who").and_then(Value::as_str) {
        known.push_str(&format!("  (known to {})", Shown(who)));
    }
    if let Some(by) = alert.pointer("/muted/by").and_then(Value::as_str) {
        known.push_str(&format!("  (muted by {by} {})", alert["muted"]["id"]));
    }
    if !alert["unknown_since_ms"].is_null() {
        known.push_str("  (cannot be judged now)");
    }
    known
}

/// One alert.
///
/// # Errors
/// Those of the writer.
pub fn alert(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let alert = &answer["alert"];
    writeln!(out, "{}", Shown(text(alert, "summary")))?;
    let lines = [
        ("id", String::from(text(alert, "id"))),
        ("rule", String::from(text(alert, "rule"))),
        ("severity", String::from(text(alert, "severity"))),
        ("phase", String::from(text(alert, "phase"))),
        ("about", Shown(text(alert, "name")).to_string()),
        ("value", value(alert, "value", text(alert, "unit"))),
        (
            "usual",
            value(&alert["usual"], "median", text(alert, "unit")),
        ),
        ("confidence", value(alert, "confidence", "")),
        ("found first", time(alert, "began_ms")),
        ("fires since", time(alert, "fired_ms")),
        ("found last", time(alert, "found_ms")),
        ("over since", time(alert, "resolved_ms")),
        ("not judged", Shown(text(alert, "unknown_why")).to_string()),
        ("notes", known(alert)),
        ("meaning", Shown(text(answer, "meaning")).to_string()),
        ("next step", Shown(text(answer, "next_step")).to_string()),
    ];
    for (name, line) in lines {
        if !line.is_empty() {
            writeln!(out, "  {name:<12}{}", line.trim_start())?;
        }
    }
    for cause in list(answer, "likely_causes") {
        let cause = cause.as_str().unwrap_or_default();
        writeln!(out, "  {:<12}{}", "may be", Shown(cause))?;
    }
    for candidate in list(&answer["group"], "candidates") {
        let why = text(candidate, "why");
        writeln!(out, "  {:<12}{}", "changed", Shown(why))?;
    }
    writeln!(out)?;
    for step in list(answer, "history") {
        let why = text(step, "why");
        writeln!(
            out,
            "{}  {:<10}{}  {}",
            time(step, "at_ms"),
            text(step, "what"),
            step["value"],
            Shown(why)
        )?;
    }
    Ok(())
}

fn value(of: &Value, name: &str, unit: &str) -> String {
    let number = of.get(name).and_then(Value::as_f64);
    number.map_or_else(String::new, |number| {
        format!("{number} {unit}").trim_end().to_owned()
    })
}
