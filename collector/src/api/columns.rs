//! Columns of a table by the names that a question has for them, and the rows that it means.

use serde_json::Value;
use wire::schema::Table;

use super::failure::Problem;
use super::parameter::{Kind, Parameter};
use crate::escape;
use crate::rows::{Answer, Row};

/// What every row has beside its columns.
const OF_EVERY_ROW: [&str; 3] = ["host", "hostname", "service"];

/// Which rows are meant.
pub(super) const WHERE: Parameter = Parameter::new(
    "where",
    Kind::Text(1024),
    "Only rows with these values: `column=value`, several with commas between them. Every row has \
     `host`, `hostname` and, where its process is known, `service`.",
);

/// Conditions that a row has to meet.
pub(super) struct Where(Vec<(String, String)>);

impl Where {
    /// # Errors
    /// What is no condition, and columns that no description of the table has.
    pub(super) fn parse(text: Option<&str>, answer: &Answer) -> Result<Self, Problem> {
        let mut conditions = Vec::new();
        for part in text.into_iter().flat_map(|text| text.split(',')) {
            let Some((column, value)) = part.split_once('=') else {
                let why = "where: expected column=value, several with commas between them";
                return Err(Problem::query(why));
            };
            check("where", column, answer)?;
            conditions.push((column.to_owned(), value.to_owned()));
        }
        Ok(Self(conditions))
    }

    /// Whether a row meets all.
    pub(super) fn is_met(&self, table: &Table, row: &Row) -> bool {
        let mut all = self.0.iter();
        all.all(|(column, value)| match label(table, row, column) {
            Value::Null => false,
            Value::String(text) => text == *value,
            other => {
                let text = other.to_string();
                text == *value
            }
        })
    }
}

/// The value of a row under a name.
pub(super) fn label(table: &Table, row: &Row, column: &str) -> Value {
    if table.column(column).is_some() {
        return row.values.get(column).cloned().unwrap_or_default();
    }
    match column {
        "host" => row.host.as_str().into(),
        "hostname" => row.hostname.as_str().into(),
        "service" => {
            let process = row.process.as_ref();
            process.map_or(Value::Null, |process| process.service.as_str().into())
        }
        _ => Value::Null,
    }
}

/// Whether some description of the table has a column.
///
/// # Errors
/// A sentence with the columns that there are.
pub(super) fn check(parameter: &str, column: &str, answer: &Answer) -> Result<(), Problem> {
    let mut tables = answer.tables.iter();
    let known = OF_EVERY_ROW.contains(&column);
    // Nothing is known of a table that nobody has filled.
    if known || answer.tables.is_empty() || tables.any(|rows| rows.table.column(column).is_some()) {
        return Ok(());
    }
    let mut names: Vec<&str> = OF_EVERY_ROW.into();
    for rows in &answer.tables {
        names.extend(rows.table.columns.iter().map(|column| column.name.as_str()));
    }
    names.dedup();
    let shown = escape::shorten(column, 64);
    Err(Problem::query(format!(
        "{parameter}: no column {shown:?}; there are: {}",
        names.join(", ")
    )))
}
