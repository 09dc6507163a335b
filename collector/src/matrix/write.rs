//! Files of flows and of reports: CSV, XLSX, TOML, HTML, JSON.
//!
//! Every text in them came from people or from hosts. A program that opens a file executes none of
//! it: in CSV, what a spreadsheet would take for a formula begins with an apostrophe; in XLSX every
//! text is a string cell; in HTML nothing but text is text.

mod csv;
mod html;
mod sheet;
mod xlsx;

pub use html::sentence;

use std::io::Write;

use anyhow::bail;
use sheet::Sheet;

use super::flow::{COLUMNS, Fields};
use super::report::{EdgeState, EdgeVerdict, FlowVerdict, Report, Verdict, Why};
use crate::escape;
use crate::time::rfc3339;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values, UTF-8 with a byte order mark, so that spreadsheets read it as such.
    Csv,
    /// A workbook.
    Xlsx,
    /// `[[flow]]` tables.
    Toml,
    /// A page to print.
    Html,
    /// The report as JSON.
    Json,
}

impl Form {
    /// That of a file with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::of_word(&name.rsplit_once('.')?.1.to_lowercase())
    }

    /// That of this ending of a name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "csv" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            "toml" => Some(Self::Toml),
            "html" | "htm" => Some(Self::Html),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Toml => "application/toml",
            Self::Html => "text/html",
            Self::Json => "application/json",
        }
    }
}

/// Writes flows as a matrix that can be read again.
///
/// # Errors
/// Those of the writer, and a form that is for reports alone.
pub fn flows(out: &mut dyn Write, form: Form, flows: &[Fields]) -> anyhow::Result<()> {
    let row = |fields: &Fields| fields.all().map(String::from).to_vec();
    let sheet = Sheet {
        name: "matrix",
        headings: COLUMNS.iter().map(|(name, _)| *name).collect(),
        rows: flows.iter().map(row).collect(),
    };
    match form {
        Form::Csv => csv::write(out, &[sheet]),
        Form::Xlsx => xlsx::write(out, &[sheet]),
        Form::Toml => toml(out, flows),
        Form::Html | Form::Json => bail!("a matrix is written as .csv, .xlsx or .toml"),
    }
}

fn toml(out: &mut dyn Write, flows: &[Fields]) -> anyhow::Result<()> {
    for fields in flows {
        let pairs = COLUMNS.iter().zip(fields.all());
        let pairs = pairs.filter(|(_, text)| !text.is_empty());
        let table: toml::Table = pairs
            .map(|((name, _), text)| (String::from(*name), toml::Value::from(text)))
            .collect();
        writeln!(out, "[[flow]]\n{}", toml::to_string(&table)?)?;
    }
    Ok(())
}

/// Writes a report.
///
/// # Errors
/// Those of the writer, and a form that is for matrices alone.
pub fn report(out: &mut dyn Write, form: Form, report: &Report) -> anyhow::Result<()> {
    match form {
        Form::Csv => csv::write(out, &sheets(report)),
        Form::Xlsx => xlsx::write(out, &sheets(report)),
        Form::Html => html::write(out, report, &sheets(report)),
        Form::Json => Ok(escape::json(out, report)?),
        Form::Toml => bail!("a report is written as .csv, .xlsx, .html or .json"),
    }
}

fn sheets(report: &Report) -> [Sheet; 2] {
    [
        Sheet {
            name: "flows",
            headings: vec![
                "verdict",
                "why",
                "id",
                "source",
                "destination",
                "port",
                "action",
                "owner",
                "valid_until",
                "comment",
                "edges",
                "connections",
                "failed",
                "first_seen",
                "last_seen",
                "seen",
            ],
            rows: report.flows.iter().map(flow_row).collect(),
        },
        Sheet {
            name: "edges",
            headings: vec![
                "state",
                "why",
                "client",
                "server",
                "endpoint",
                "called as",
                "connections",
                "failed",
                "confidence",
                "evidence",
                "first_seen",
                "last_seen",
                "flows",
            ],
            rows: report.edges.iter().map(edge_row).collect(),
        },
    ]
}

fn flow_row(flow: &FlowVerdict) -> Vec<String> {
    let seen = flow.seen.iter();
    let seen = seen.map(|edge| format!("{} -> {} {}", edge.client, edge.server, edge.endpoint));
    vec![
        String::from(verdict(flow.verdict)),
        reasons(&flow.why),
        flow.id.clone(),
        flow.source.clone(),
        flow.destination.clone(),
        flow.port.clone(),
        flow.action.clone(),
        flow.owner.clone(),
        flow.valid_until.clone(),
        flow.comment.clone(),
        flow.edges.to_string(),
        flow.connections.to_string(),
        flow.failed.to_string(),
        at(flow.first_seen_ms),
        at(flow.last_seen_ms),
        seen.collect::<Vec<_>>().join("; "),
    ]
}

fn edge_row(one: &EdgeVerdict) -> Vec<String> {
    vec![
        String::from(state(one.state)),
        reasons(&one.why),
        one.edge.client.clone(),
        one.edge.server.clone(),
        one.edge.endpoint.clone(),
        one.edge.via.join(", "),
        one.edge.connections.to_string(),
        one.edge.failed.to_string(),
        format!("{:.2}", one.edge.confidence),
        one.edge.evidence.join(", "),
        at(Some(one.edge.first_seen_ms)),
        at(Some(one.edge.last_seen_ms)),
        one.flows.join(", "),
    ]
}

fn at(ms: Option<i64>) -> String {
    ms.map(rfc3339).unwrap_or_default()
}

/// A verdict in words.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Used => "used",
        Verdict::Unused => "unused",
        Verdict::Expired => "expired",
        Verdict::Violated => "violated",
        Verdict::Kept => "kept",
        Verdict::NotObservable => "not observable",
        Verdict::Undecided => "undecided",
    }
}

/// What an edge is, in words.
#[must_use]
pub fn state(state: EdgeState) -> &'static str {
    match state {
        EdgeState::Declared => "declared",
        EdgeState::Undeclared => "undeclared",
        EdgeState::Violating => "violating",
        EdgeState::Undecided => "undecided",
    }
}

/// Reasons in words.
#[must_use]
pub fn reasons(why: &[Why]) -> String {
    let word = |why: &Why| match why {
        Why::Protocol => "only TCP is seen",
        Why::NoAgent => "no agent at either end",
        Why::UnknownEnd => "the service of an end is not known",
        Why::LowConfidence => "low confidence",
        Why::OnlyAttempts => "every attempt failed",
        Why::UsedAfterEnd => "used after its end",
    };
    why.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
