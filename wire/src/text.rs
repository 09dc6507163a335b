//! Lists of text pairs that belong to a row, as a table of their own.

use crate::DecodeError;
use crate::table::{Number, narrow};
use crate::tables::{Opened, Tables};

const ROW: Number = Number::delta("row", 4);

/// Pairs of one kind of all rows of a family.
#[derive(Debug)]
pub(crate) struct Pairs;

impl Pairs {
    pub(crate) fn write<'a>(
        name: &'static str,
        lists: impl Iterator<Item = &'a [(String, String)]>,
        tables: &mut Tables,
    ) {
        let pairs: Vec<_> = lists
            .enumerate()
            .flat_map(|(row, list)| list.iter().map(move |pair| (row as u64, pair)))
            .collect();
        tables.add(name, pairs.len(), |table, _| {
            table.number(&ROW, pairs.iter().map(|(row, _)| *row));
            table.text("key", pairs.iter().map(|(_, pair)| pair.0.as_str()));
            table.text("value", pairs.iter().map(|(_, pair)| pair.1.as_str()));
        });
    }

    /// One list for each of `rows` rows.
    pub(crate) fn read(
        name: &str,
        rows: usize,
        opened: &Opened<'_>,
    ) -> Result<Vec<Vec<(String, String)>>, DecodeError> {
        let mut lists = vec![Vec::new(); rows];
        if let Some(table) = opened.table(name) {
            let pairs = table.text("key")?.into_iter().zip(table.text("value")?);
            for (row, pair) in table.number(&ROW)?.into_iter().zip(pairs) {
                lists
                    .get_mut(narrow::<usize>(row, "row")?)
                    .ok_or_else(|| DecodeError::Malformed(format!("{name} has no row {row}")))?
                    .push(pair);
            }
        }
        Ok(lists)
    }
}
