//! Lists that belong to a row, as tables of their own.

use super::source::{Source, any, narrow, sorted};
use crate::error::DecodeError;

/// What is noted of the column that says whose an item is.
const OWNER: &str = "number of the row it belongs to; at least the one before";

/// A list of pairs of texts for each row.
pub(crate) fn texts(
    source: &mut impl Source,
    table: &'static str,
    rows: usize,
) -> Result<Vec<Vec<(String, String)>>, DecodeError> {
    if source.table(table) == 0 {
        return Ok(vec![Vec::new(); rows]);
    }
    let owners = sorted(source, "row", OWNER)?;
    let keys = source.texts("key")?;
    lists(rows, &owners, keys.into_iter().zip(source.texts("value")?))
}

/// A list of names with counters for each row.
pub(crate) fn counters(
    source: &mut impl Source,
    table: &'static str,
    rows: usize,
) -> Result<Vec<Vec<(String, u64)>>, DecodeError> {
    if source.table(table) == 0 {
        return Ok(vec![Vec::new(); rows]);
    }
    let owners = sorted(source, "row", OWNER)?;
    let values = any(source, "value", "")?;
    lists(rows, &owners, source.texts("name")?.into_iter().zip(values))
}

fn lists<T: Clone>(
    rows: usize,
    owners: &[u64],
    items: impl Iterator<Item = T>,
) -> Result<Vec<Vec<T>>, DecodeError> {
    let mut lists = vec![Vec::new(); rows];
    for (owner, item) in owners.iter().zip(items) {
        let missing = || DecodeError::Malformed(format!("list of a row {owner} that is not there"));
        lists
            .get_mut(narrow::<usize>(*owner, "row")?)
            .ok_or_else(missing)?
            .push(item);
    }
    Ok(lists)
}
