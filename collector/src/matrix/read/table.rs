//! What all kinds of files are read into, and what can be wrong with them.

use std::fmt;

use crate::escape::shorten;
use crate::matrix::flow::{Fields, column};

/// Mistakes that are told.
const TOLD: usize = 50;

/// Why a matrix was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub(super) Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = &self.0[..self.0.len().min(TOLD)];
        f.write_str(&told.join("; "))?;
        match self.0.len() - told.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Mistakes {}

impl From<String> for Mistakes {
    fn from(why: String) -> Self {
        Self(vec![why])
    }
}

impl Mistakes {
    /// Each of them.
    #[must_use]
    pub fn each(&self) -> &[String] {
        &self.0
    }
}

/// A line of a file: its number, and what stands under each column.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) fields: Fields,
}

/// Lines, and what is to be said of the file.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    pub(super) notes: Vec<String>,
}

/// The column of each heading, and notes on those that mean nothing.
pub(super) fn headings(
    found: &[String],
) -> Result<(Vec<Option<&'static str>>, Vec<String>), Mistakes> {
    let columns: Vec<_> = found.iter().map(|heading| column(heading)).collect();
    let mut mistakes = Vec::new();
    for (at, name) in columns.iter().enumerate() {
        if let Some(name) = name
            && columns[..at].contains(&Some(name))
        {
            mistakes.push(format!("two columns are {name}"));
        }
    }
    for needed in ["source", "destination"] {
        if !columns.contains(&Some(needed)) {
            let shown: Vec<String> = found.iter().map(|text| shorten(text, 24)).collect();
            mistakes.push(format!(
                "no column {needed:?} in the first line ({})",
                shown.join(", ")
            ));
        }
    }
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let unused = found.iter().zip(&columns);
    let unused = unused.filter(|(text, column)| column.is_none() && !text.trim().is_empty());
    let notes = unused.map(|(text, _)| format!("column {:?} is not read", shorten(text, 40)));
    let notes = notes.collect();
    Ok((columns, notes))
}
