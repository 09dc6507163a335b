//! Writing and reading a batch's columns by the same code.
//!
//! A family lists its columns once, with what each number is expected to be. The writer turns the
//! values into tokens, the reader turns tokens into the values, and both expect the same because
//! they only look at columns and rows that came before.

use std::collections::HashMap;

use crate::number::{self, BitReader, BitWriter, Expected};
use crate::stream::{ArrowColumn, ArrowTable, ReadTable, Values};
use crate::{DecodeError, HISTOGRAM_BUCKETS, Limits};

/// Name of the column whose first value is the table's bit string.
const BITS: &str = "bits";

/// One column: its name, and for human readers what its numbers are expected to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
}

/// Shorthand for a [`Column`].
pub(crate) const fn column(name: &'static str, note: &'static str) -> Column {
    Column { name, note }
}

/// Computes what a number is expected to be from its row and the column's numbers before it.
pub(crate) type Expect<'e> = &'e mut dyn FnMut(usize, &[u64]) -> Expected;

/// Expects the number of the row before, or 0.
pub(crate) fn previous(row: usize, before: &[u64]) -> u64 {
    row.checked_sub(1).map_or(0, |last| before[last])
}

/// Either direction.
pub(crate) trait Codec {
    /// Begins a table, or goes back to it. A reader learns the number of rows; a table without
    /// rows is not there.
    fn table(&mut self, name: &'static str, rows: &mut usize) -> Result<(), DecodeError>;

    /// One number that belongs to the table as a whole.
    fn parameter(&mut self, value: &mut u64) -> Result<(), DecodeError>;

    /// A column of numbers, as many as the table has rows.
    fn numbers(
        &mut self,
        column: Column,
        values: &mut Vec<u64>,
        expect: Expect<'_>,
    ) -> Result<(), DecodeError>;

    /// A column of texts, as many as the table has rows.
    fn texts(&mut self, name: &'static str, values: &mut Vec<String>) -> Result<(), DecodeError>;

    /// Tells the compressor that the bytes from here on are of another kind.
    fn turn(&mut self);
}

/// Collects tables.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    tables: Vec<(ArrowTable, BitWriter)>,
    current: usize,
    turn: bool,
}

impl Writer {
    /// All tables in the order in which they began.
    pub(crate) fn finish(self) -> Vec<ArrowTable> {
        let finish = |(mut table, bits): (ArrowTable, BitWriter)| {
            table.columns.push(ArrowColumn {
                name: BITS,
                note: "bit string",
                turn: true,
                values: Values::Blob(bits.finish()),
            });
            table
        };
        self.tables.into_iter().map(finish).collect()
    }

    fn bits(&mut self) -> &mut BitWriter {
        &mut self.tables[self.current].1
    }

    fn push(&mut self, name: &'static str, note: &'static str, values: Values) {
        let turn = std::mem::take(&mut self.turn);
        self.tables[self.current].0.columns.push(ArrowColumn {
            name,
            note,
            turn,
            values,
        });
    }
}

impl Codec for Writer {
    fn table(&mut self, name: &'static str, rows: &mut usize) -> Result<(), DecodeError> {
        if *rows > 0 {
            let known = self.tables.iter().position(|(table, _)| table.name == name);
            self.current = known.unwrap_or(self.tables.len());
            if known.is_none() {
                let table = ArrowTable {
                    name,
                    rows: *rows,
                    columns: Vec::new(),
                };
                self.tables.push((table, BitWriter::default()));
            }
            self.turn = true;
        }
        Ok(())
    }

    fn parameter(&mut self, value: &mut u64) -> Result<(), DecodeError> {
        self.bits().put(*value, u64::BITS);
        Ok(())
    }

    fn numbers(
        &mut self,
        column: Column,
        values: &mut Vec<u64>,
        expect: Expect<'_>,
    ) -> Result<(), DecodeError> {
        let bits = self.bits();
        let tokens = (0..values.len())
            .map(|row| number::write(values[row], expect(row, &values[..row]), bits))
            .collect();
        self.push(column.name, column.note, Values::Bytes(tokens));
        Ok(())
    }

    fn texts(&mut self, name: &'static str, values: &mut Vec<String>) -> Result<(), DecodeError> {
        let mut ends = vec![0];
        let mut data = Vec::new();
        for value in values {
            data.extend_from_slice(value.as_bytes());
            ends.push(i32::try_from(data.len()).expect("texts of one batch are below 2 GiB"));
        }
        self.push(
            name,
            "text",
            Values::Text {
                offsets: ends,
                data,
            },
        );
        Ok(())
    }

    fn turn(&mut self) {
        self.turn = true;
    }
}

/// Gives tables back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    tables: HashMap<&'a str, (ReadTable<'a>, BitReader<'a>)>,
    current: &'static str,
}

impl<'a> Reader<'a> {
    /// Cuts the decompressed bytes into tables.
    pub(crate) fn open(mut raw: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        // The longest helper table has a row per histogram bucket.
        let most = limits.max_rows.saturating_mul(2 * HISTOGRAM_BUCKETS);
        let mut tables = HashMap::new();
        while !raw.is_empty() {
            let table = ReadTable::read(&mut raw)?;
            if table.rows > most {
                return Err(DecodeError::TooLarge {
                    what: "table rows",
                    limit: most,
                });
            }
            let bits = BitReader::new(table.blob(BITS)?);
            if let Some((twice, _)) = tables.insert(table.name, (table, bits)) {
                return Err(malformed(format!("table {} comes twice", twice.name)));
            }
        }
        Ok(Self {
            tables,
            current: "",
        })
    }

    fn current(&mut self) -> Result<&mut (ReadTable<'a>, BitReader<'a>), DecodeError> {
        let missing = || malformed(format!("no table {}", self.current));
        self.tables.get_mut(self.current).ok_or_else(missing)
    }
}

impl Codec for Reader<'_> {
    fn table(&mut self, name: &'static str, rows: &mut usize) -> Result<(), DecodeError> {
        self.current = name;
        *rows = self.tables.get(name).map_or(0, |(table, _)| table.rows);
        Ok(())
    }

    fn parameter(&mut self, value: &mut u64) -> Result<(), DecodeError> {
        *value = self.current()?.1.take(u64::BITS)?;
        Ok(())
    }

    fn numbers(
        &mut self,
        column: Column,
        values: &mut Vec<u64>,
        expect: Expect<'_>,
    ) -> Result<(), DecodeError> {
        let (table, bits) = self.current()?;
        let tokens = table.bytes(column.name)?;
        values.clear();
        values.reserve_exact(tokens.len());
        for (row, token) in tokens.iter().enumerate() {
            let expected = expect(row, values);
            values.push(number::read(*token, expected, bits)?);
        }
        Ok(())
    }

    fn texts(&mut self, name: &'static str, values: &mut Vec<String>) -> Result<(), DecodeError> {
        *values = self.current()?.0.texts(name)?;
        Ok(())
    }

    fn turn(&mut self) {}
}

fn malformed(what: String) -> DecodeError {
    DecodeError::Malformed(what)
}

/// Narrows a decoded number.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64, what: &str) -> Result<T, DecodeError> {
    T::try_from(value).map_err(|_| malformed(format!("{what} {value} is out of range")))
}
