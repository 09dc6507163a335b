//! Lists that belong to a row, as tables of their own.

use super::codec::{Codec, column, narrow, previous};
use super::number::Expected;
use crate::error::DecodeError;

/// Pairs of texts, each with the number of the row that it belongs to.
#[derive(Debug, Default)]
pub(crate) struct TextPairs {
    row: Vec<u64>,
    key: Vec<String>,
    value: Vec<String>,
}

impl TextPairs {
    pub(crate) fn of<'a>(lists: impl Iterator<Item = &'a [(String, String)]>) -> Self {
        let mut pairs = Self::default();
        for (row, list) in lists.enumerate() {
            for (key, value) in list {
                pairs.row.push(row as u64);
                pairs.key.push(key.clone());
                pairs.value.push(value.clone());
            }
        }
        pairs
    }

    pub(crate) fn code(
        &mut self,
        table: &'static str,
        codec: &mut impl Codec,
    ) -> Result<(), DecodeError> {
        let mut rows = self.row.len();
        codec.table(table, &mut rows)?;
        if rows == 0 {
            return Ok(());
        }
        code_owner(&mut self.row, codec)?;
        codec.texts("key", &mut self.key)?;
        codec.texts("value", &mut self.value)
    }

    /// One list per row, after [`Self::code`].
    pub(crate) fn lists(self, rows: usize) -> Result<Vec<Vec<(String, String)>>, DecodeError> {
        let pairs = self.key.into_iter().zip(self.value);
        lists(rows, &self.row, pairs)
    }
}

/// Names with counters, each with the number of the row that it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    row: Vec<u64>,
    name: Vec<String>,
    value: Vec<u64>,
}

impl Counters {
    pub(crate) fn of<'a>(lists: impl Iterator<Item = &'a [(String, u64)]>) -> Self {
        let mut counters = Self::default();
        for (row, list) in lists.enumerate() {
            for (name, value) in list {
                counters.row.push(row as u64);
                counters.name.push(name.clone());
                counters.value.push(*value);
            }
        }
        counters
    }

    pub(crate) fn code(
        &mut self,
        table: &'static str,
        codec: &mut impl Codec,
    ) -> Result<(), DecodeError> {
        let mut rows = self.row.len();
        codec.table(table, &mut rows)?;
        if rows == 0 {
            return Ok(());
        }
        code_owner(&mut self.row, codec)?;
        codec.numbers(column("value", ""), &mut self.value, &mut |_, _| {
            Expected::ANY
        })?;
        codec.texts("name", &mut self.name)
    }

    /// One list per row, after [`Self::code`].
    pub(crate) fn lists(self, rows: usize) -> Result<Vec<Vec<(String, u64)>>, DecodeError> {
        lists(rows, &self.row, self.name.into_iter().zip(self.value))
    }
}

fn code_owner(row: &mut Vec<u64>, codec: &mut impl Codec) -> Result<(), DecodeError> {
    let owner = column(
        "row",
        "number of the row it belongs to; at least the one before",
    );
    codec.numbers(owner, row, &mut |row, before| {
        Expected::AtLeast(previous(row, before))
    })
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
