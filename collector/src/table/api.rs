//! What `search`, `chain`, `edge` and `diagnose` print.

use std::io::{self, Write};

use serde_json::Value;

use super::line::write_text;
use crate::escape::shorten;
use crate::time::rfc3339;

/// Text of a member.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A number, and a dash for what is not known.
fn number(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::Number(number)) => number.to_string(),
        _ => String::from("-"),
    }
}

/// Hits, the best first.
///
/// # Errors
/// Those of the writer.
pub fn search(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let hits = list(answer, "hits");
    if hits.is_empty() {
        return writeln!(out, "nothing found; choose a longer window with --from");
    }
    writeln!(out, "{:<6}{:<50}{:>9}  WHY, KEY", "WHAT", "NAME", "CONNS")?;
    for hit in hits {
        let key = text(hit, "href").rsplit('/').next().unwrap_or_default();
        let title = shorten(text(hit, "title"), 49);
        let conns = number(hit, "/connections");
        let why = shorten(text(hit, "why"), 33);
        writeln!(out, "{:<6}{title:<50}{conns:>9}  {why}", text(hit, "kind"))?;
        if key.starts_with("e-") || key.starts_with("n-") {
            writeln!(out, "{:<67}{key}", "")?;
        }
    }
    match answer["more"].as_u64() {
        Some(more) if more > 0 => writeln!(out, "\n{more} more; narrow the text"),
        _ => Ok(()),
    }
}

/// Each chain, hop by hop.
///
/// # Errors
/// Those of the writer.
pub fn chain(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    writeln!(out, "{}", shorten(text(answer, "tuple"), 100))?;
    if !text(answer, "nothing").is_empty() {
        return writeln!(out, "{}", shorten(text(answer, "nothing"), 300));
    }
    for chain in list(answer, "chains") {
        let exact = if chain["exact"] == true {
            "this connection"
        } else {
            "connections with these addresses"
        };
        let evidence = list(chain, "evidence").iter().map(|one| text(one, "kind"));
        let evidence: Vec<_> = evidence.collect();
        let evidence = if evidence.is_empty() {
            String::from("none")
        } else {
            evidence.join(", ")
        };
        let confidence = chain["confidence"].as_f64().unwrap_or_default();
        writeln!(
            out,
            "\n{exact}; evidence: {evidence}; confidence {confidence:.2}; edge {}",
            text(chain, "edge")
        )?;
        for hop in list(chain, "hops") {
            let name = shorten(text(hop, "name"), 80);
            writeln!(out, "  {:<8}{name}", text(hop, "kind"))?;
            for (word, side) in [("in", "before"), ("out", "after")] {
                if let Some(pair) = hop.get(side) {
                    let (from, to) = (text(pair, "source"), text(pair, "destination"));
                    writeln!(out, "    {word:<4}{from} -> {to}")?;
                }
            }
        }
        let ends = &chain["ends"];
        let word = if ends["complete"] == true {
            "ends at"
        } else {
            "known up to"
        };
        let (at, why) = (
            shorten(text(ends, "at"), 40),
            shorten(text(ends, "why"), 60),
        );
        writeln!(out, "  {word} {at} ({why})")?;
    }
    match answer["left_out"].as_u64() {
        Some(more) if more > 0 => writeln!(out, "\n{more} more"),
        _ => Ok(()),
    }
}

/// An edge and its steps.
///
/// # Errors
/// Those of the writer.
pub fn edge(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let name = |side: &str| shorten(text(answer, side), 45);
    let endpoint = text(answer, "server_endpoint");
    writeln!(out, "{} -> {}", name("client"), name("server"))?;
    let evidence = list(answer, "evidence").iter();
    let evidence: Vec<_> = evidence
        .map(|one| format!("{} {}", text(one, "kind"), number(one, "/connections")))
        .collect();
    writeln!(
        out,
        "{endpoint}; evidence: {}; confidence {}",
        if evidence.is_empty() {
            String::from("none")
        } else {
            evidence.join(", ")
        },
        number(answer, "/confidence")
    )?;
    for via in list(answer, "via") {
        writeln!(
            out,
            "via {} {}",
            text(via, "kind"),
            shorten(text(via, "address"), 60)
        )?;
    }
    for (side, path) in [("client", "/client_times"), ("server", "/server_times")] {
        for what in ["connect_latency", "rtt"] {
            let value = |p: &str| number(answer, &format!("{path}/{what}/{p}/value_us"));
            if answer.pointer(&format!("{path}/{what}/p50")).is_some() {
                let [p50, p90, p99] = ["p50", "p90", "p99"].map(value);
                writeln!(
                    out,
                    "{what} at the {side}: p50 {p50} us, p90 {p90} us, p99 {p99} us"
                )?;
            }
        }
    }
    let head = [
        "FROM", "CONNS", "FAILED", "RESET", "RETR", "SENT", "RECEIVED",
    ];
    write!(out, "\n{:<26}", head[0])?;
    head[1..]
        .iter()
        .try_for_each(|word| write!(out, "{word:>12}"))?;
    writeln!(out)?;
    for step in list(answer, "steps") {
        let from = rfc3339(step["from_ms"].as_i64().unwrap_or_default());
        write!(out, "{from:<26}{:>12}", number(step, "/connections"))?;
        let side = if step["client"].is_object() {
            "client"
        } else {
            "server"
        };
        for name in [
            "failed",
            "reset_remote",
            "retransmits",
            "bytes_sent",
            "bytes_received",
        ] {
            write!(out, "{:>12}", number(step, &format!("/{side}/{name}")))?;
        }
        writeln!(out)?;
    }
    broken(out, list(answer, "abnormal"))?;
    if let Some(detail) = answer.pointer("/truncated/detail").and_then(Value::as_str) {
        writeln!(out, "\n{}", shorten(detail, 200))?;
    }
    Ok(())
}

/// What is wrong with an edge, the likely causes first.
///
/// # Errors
/// Those of the writer.
pub fn diagnosis(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let name = |side: &str| shorten(text(answer, side), 45);
    writeln!(out, "{} -> {}", name("client"), name("server"))?;
    write_text(out, "", &shorten(text(answer, "headline"), 400))?;
    let heads = [
        ("likely", "LIKELY"),
        ("possible", "POSSIBLE"),
        ("unknown", "NOT KNOWN"),
        ("ruled_out", "RULED OUT"),
    ];
    for (verdict, head) in heads {
        let all = list(answer, "statements").iter();
        let mut all = all.filter(|one| text(one, "verdict") == verdict).peekable();
        if all.peek().is_some() {
            writeln!(out, "\n{head}")?;
        }
        for one in all {
            write_text(out, "  ", &shorten(text(one, "text"), 400))?;
            if !text(one, "next").is_empty() {
                let next = format!("-> {}", shorten(text(one, "next"), 400));
                write_text(out, "    ", &next)?;
            }
        }
    }
    siblings(out, answer)?;
    let time = |name: &str| rfc3339(answer[name].as_i64().unwrap_or_default());
    let (from, to, usual) = (time("from_ms"), time("to_ms"), time("usual_from_ms"));
    writeln!(out, "\nfrom {from} to {to}; before: from {usual}")
}

/// What the servers get that do the same for the client.
fn siblings(out: &mut dyn Write, answer: &Value) -> io::Result<()> {
    let all = list(answer, "siblings");
    if all.is_empty() {
        return Ok(());
    }
    let head = "   SHARE   BEFORE     CONNS   RESETS  SERVERS THAT DO THE SAME";
    writeln!(out, "\n{head}")?;
    for one in all {
        let part = |name: &str| match one[name].as_f64() {
            Some(part) => format!("{part:.2}%"),
            None => String::from("-"),
        };
        let (share, before) = (part("share"), part("usual_share"));
        let (opened, resets) = (number(one, "/opened"), number(one, "/resets"));
        let server = shorten(text(one, "server"), 45);
        let endpoint = text(one, "endpoint");
        writeln!(
            out,
            "{share:>8} {before:>8} {opened:>9} {resets:>8}  {server} at {endpoint}"
        )?;
    }
    match answer["siblings_left_out"].as_u64() {
        Some(more) if more > 0 => writeln!(out, "{more} more"),
        _ => Ok(()),
    }
}

/// Connections that broke.
fn broken(out: &mut dyn Write, rows: &[Value]) -> io::Result<()> {
    if !rows.is_empty() {
        writeln!(out, "\nCONNECTIONS THAT BROKE")?;
    }
    for row in rows {
        let values = &row["values"];
        let end = |side: &str| {
            let port = number(values, &format!("/{side}_port"));
            format!("{}:{port}", text(values, &format!("{side}_address")))
        };
        let at = rfc3339(row["end_ms"].as_i64().unwrap_or_default());
        let (kind, local, remote) = (text(values, "kind"), end("local"), end("remote"));
        writeln!(out, "{at}  {kind:<12} {local} -> {remote}")?;
    }
    Ok(())
}
