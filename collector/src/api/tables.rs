//! Tables that are stored by their description, and their rows.

use std::io::Write;

use super::failure::{Failure, Problem};
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Need, Parameter, WINDOW};
use crate::query::{self, Asked};
use crate::rows::{Answer, Tables};
use crate::store::Which;

/// `GET /api/v1/tables`
pub const TABLES: Operation = Operation {
    method: "GET",
    path: "/api/v1/tables",
    id: "tables",
    summary: "Every table that agents fill, with its columns",
    help: "A table is described by values: columns with kind, type, unit and help. Those with \
           `shown_by` are part of the topology and have no rows of their own.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Tables>),
    refusals: &[],
    answer: Some(tables),
};

/// `GET /api/v1/rows/{table}`
pub const ROWS: Operation = Operation {
    method: "GET",
    path: "/api/v1/rows/{table}",
    id: "rows",
    summary: "Rows of a table: sums of a window, what holds, or events",
    help: "",
    parameters: &[
        &[TABLE],
        &WINDOW,
        &[
            HOST,
            Parameter::new(
                "intervals",
                Kind::Flag,
                "Each interval of a series by itself, not their sum.",
            )
            .or("false"),
            Parameter::new(
                "silent",
                Kind::Flag,
                "Also series that told nothing in the window while their agent reported.",
            )
            .or("false"),
            Parameter::new(
                "limit",
                Kind::Number(1, 100_000),
                "Most rows; others are counted.",
            )
            .or("1000"),
        ],
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[(404, "No such table")],
    answer: Some(rows),
};

/// The table.
pub(super) const TABLE: Parameter = Parameter::new(
    "table",
    Kind::Text(64),
    "Name of the table, as `tables` lists it.",
)
.at(Need::Path);

/// The host of rows.
pub(super) const HOST: Parameter = Parameter::new(
    "host",
    Kind::Text(256),
    "Only of the host of this name, or whose id begins so.",
);

/// Answers [`TABLES`].
///
/// # Errors
/// Those of the store.
fn tables(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    write(out, &query::tables(asking.store)?)
}

/// Answers [`ROWS`].
///
/// # Errors
/// A table that is not there, and those of the store.
fn rows(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let which = Which {
        table: known(given.text("table").unwrap_or_default())?,
        host: given.text("host").map(String::from),
        intervals: given.flag("intervals"),
        silent: given.flag("silent"),
        most: given.count("limit"),
    };
    write(out, &read(asking, &which, given.asked(asking.now_ms)?)?)
}

/// The name of a table that has rows of its own.
pub(super) fn known(table: &str) -> Result<String, Problem> {
    match query::shown_by(table) {
        Some(by) => Err(Problem::query(format!(
            "table {table} is part of the topology: ask /api/v1/{by} for it"
        ))),
        None => Ok(String::from(table)),
    }
}

/// Rows, where the table is known.
pub(super) fn read(asking: &Asking<'_>, which: &Which, asked: Asked) -> Result<Answer, Failure> {
    let answer = query::rows(asking.store, which, asked, asking.now_ms, asking.meter)?;
    if answer.tables.is_empty() && !query::is_known(&which.table) {
        let shown = crate::escape::shorten(&which.table, 64);
        let why = format!("no table {shown:?}; /api/v1/tables lists those there are");
        return Err(Problem::unknown(why).into());
    }
    Ok(answer)
}
