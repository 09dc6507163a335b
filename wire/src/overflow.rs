//! High bits of numbers that did not fit into their column's planes.

use std::collections::BTreeMap;

use crate::DecodeError;
use crate::stream::ArrowTable;
use crate::table::{Number, TableReader, TableWriter, narrow};

pub(crate) const TABLE: &str = "overflow";

const ROW: Number = Number::plain("row", 4);
const HIGH: Number = Number::plain("high", 8);

/// Rows and high bits per table and column.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    values: BTreeMap<(String, String), Vec<(u64, u64)>>,
}

impl Overflow {
    pub(crate) fn put(&mut self, table: &str, column: &str, row: usize, high: u64) {
        self.values
            .entry((table.to_owned(), column.to_owned()))
            .or_default()
            .push((row as u64, high));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn write(&self) -> ArrowTable {
        let rows: Vec<_> = self
            .values
            .iter()
            .flat_map(|((table, column), list)| list.iter().map(move |pair| (table, column, pair)))
            .collect();
        let mut none = Self::default();
        let mut writer = TableWriter::new(TABLE, rows.len(), &mut none);
        writer.text("table", rows.iter().map(|row| row.0.as_str()));
        writer.text("column", rows.iter().map(|row| row.1.as_str()));
        writer.number(&ROW, rows.iter().map(|row| row.2.0));
        writer.number(&HIGH, rows.iter().map(|row| row.2.1));
        writer.finish()
    }

    pub(crate) fn read(reader: &TableReader<'_>) -> Result<Self, DecodeError> {
        let tables = reader.text("table")?;
        let columns = reader.text("column")?;
        let rows = reader.number(&ROW)?;
        let highs = reader.number(&HIGH)?;
        let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (((table, column), row), high) in tables.into_iter().zip(columns).zip(rows).zip(highs) {
            values.entry((table, column)).or_default().push((row, high));
        }
        Ok(Self { values })
    }

    pub(crate) fn apply(
        &self,
        table: &str,
        spec: &Number,
        values: &mut [u64],
    ) -> Result<(), DecodeError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let key = (table.to_owned(), spec.name.to_owned());
        for (row, high) in self.values.get(&key).into_iter().flatten() {
            let shift = 8 * u32::try_from(spec.width).expect("at most 8 planes");
            let shifted = high
                .checked_shl(shift)
                .filter(|shifted| shifted >> shift == *high);
            let (Some(value), Some(high)) = (
                values.get_mut(narrow::<usize>(*row, "overflow.row")?),
                shifted,
            ) else {
                return Err(DecodeError::Malformed(format!(
                    "overflow of {table}.{} in row {row} is out of range",
                    spec.name
                )));
            };
            *value |= high;
        }
        Ok(())
    }
}
