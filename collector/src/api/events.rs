//! `GET /api/v1/events/{table}`: what happened, one by one, the newest first.

use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::columns::{WHERE, Where};
use super::failure::Failure;
use super::operation::{Asking, Form, Operation, form, write};
use super::page::{self, CURSOR};
use super::parameter::{Kind, Parameter, WINDOW};
use super::tables::{self, HOST, TABLE};
use crate::query::Asked;
use crate::rows::Row;
use crate::store::Which;

/// `GET /api/v1/events/{table}`
pub const EVENTS: Operation = Operation {
    method: "GET",
    path: "/api/v1/events/{table}",
    id: "events",
    summary: "Rows of a table one by one, the newest first",
    help: "`event` has abnormal connections. A page has fewer rows than `limit` where few of many \
           meet the conditions; it ends where `next` is not there.",
    parameters: &[
        &[TABLE],
        &WINDOW,
        &[
            HOST,
            WHERE,
            Parameter::new("limit", Kind::Number(1, 1000), "Most rows of a page.").or("100"),
            CURSOR,
        ],
    ],
    body: None,
    form: Form::Json(form::<Page>),
    refusals: &[(404, "No such table")],
    answer: Some(events),
};

/// Rows that are looked at for one page.
const LOOKED_AT: usize = 10_000;

/// A page of rows.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventPage")]
struct Page {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Where this page begins: the newest time, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// The rows.
    rows: Vec<Row>,
    /// The cursor of the next page; not there on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Begin of the window, end of what is left of it, and the rows at that end that were seen.
type Place = (i64, i64, usize);

fn events(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let text = |name| given.text(name).unwrap_or_default();
    let of = ["events", text("table"), text("host"), text("where")].join("\n");
    let asked = given.asked(asking.now_ms)?;
    let place: Option<Place> = match given.text("cursor") {
        Some(cursor) => Some(page::place(&of, cursor)?),
        None => None,
    };
    let (asked, seen) = match place {
        Some((from_ms, to_ms, seen)) if from_ms < to_ms && seen <= LOOKED_AT => {
            let asked = Asked {
                from_ms: Some(from_ms),
                to_ms: Some(to_ms),
            };
            (asked, seen)
        }
        Some(_) => return Err(page::foreign().into()),
        None => (asked, 0),
    };
    let which = Which {
        table: tables::known(text("table"))?,
        host: given.text("host").map(String::from),
        intervals: true,
        silent: false,
        most: LOOKED_AT + seen,
    };
    let answer = tables::read(asking, &which, asked)?;
    let conditions = Where::parse(given.text("where"), &answer)?;
    let (from_ms, to_ms) = (answer.from_ms, answer.to_ms);
    let whole_from_ms = answer.whole_from_ms;
    let more = answer.tables.iter().any(|rows| rows.rows_left_out > 0);
    let mut all = Vec::new();
    for rows in answer.tables {
        let met = |row: Row| (conditions.is_met(&rows.table, &row), row);
        all.extend(rows.rows.into_iter().map(met));
    }
    all.sort_by_key(|(_, row)| std::cmp::Reverse(row.end_ms));
    let most = given.count("limit");
    let (mut rows, mut at, mut passed) = (Vec::new(), to_ms, 0);
    let mut left = all.into_iter().skip(seen);
    for (is_met, row) in left.by_ref() {
        if row.end_ms != at && !(passed == 0 && row.end_ms > at) {
            (at, passed) = (row.end_ms, 0);
        }
        passed += 1;
        if is_met {
            rows.push(row);
        }
        if rows.len() == most {
            break;
        }
    }
    let is_over = left.next().is_none() && !more;
    // At the same end as before, those seen before are to be passed again.
    let passed = if at == to_ms { passed + seen } else { passed };
    let place: Place = (from_ms, at, passed);
    let next = (!is_over && passed <= LOOKED_AT).then(|| page::cursor(&of, place));
    let page = Page {
        from_ms,
        to_ms,
        whole_from_ms,
        rows,
        next,
    };
    write(out, &page)
}
