//! Writing and reading a batch's columns by the same code.
//!
//! A family lists its columns once, with what each number is expected to be. The writer turns the
//! values into tokens, the reader turns tokens into the values, and both expect the same because
//! they only look at columns and rows that came before.

use std::borrow::Cow;
use std::collections::HashMap;

use super::alike;
use super::number::{self, BitReader, BitWriter, Expected};
use crate::bounds::{Limits, ROWS_PER_ROW};
use crate::compress::Kind;
use crate::error::DecodeError;
use crate::stream::{ArrowColumn, ArrowTable, ReadTable, Values};

/// Name of the table with the other tables' bit strings.
const BITS: &str = "bits";

/// One column of tokens: its name, and for human readers what its numbers are expected to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    note: &'static str,
    half: Half,
}

/// Which bits of a byte a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Whole,
    /// The higher four; another column has the lower ones.
    High,
    /// The lower four, in a column that was begun with the higher ones.
    Low,
}

/// A token that needs more than four bits has this in its half byte and what is above it in
/// [`LONG_BITS`] bits.
const LONG: u8 = 15;
const LONG_BITS: u32 = 7;

/// A column of its own.
pub(crate) const fn column(name: &'static str, note: &'static str) -> Column {
    Column {
        name,
        note,
        half: Half::Whole,
    }
}

/// A column that shares its tokens' bytes with [`second`] of the same name. Meant for numbers of few
/// tokens that depend on each other.
pub(crate) const fn first(name: &'static str, note: &'static str) -> Column {
    Column {
        name,
        note,
        half: Half::High,
    }
}

/// The other column of [`first`], which must come before it.
pub(crate) const fn second(name: &'static str) -> Column {
    Column {
        name,
        note: "",
        half: Half::Low,
    }
}

/// Computes what a number is expected to be from its row and the column's numbers before it.
pub(crate) type Expect<'e> = &'e mut dyn FnMut(usize, &[u64]) -> Expected;

/// Expects the number of the row before, or 0.
pub(crate) fn previous(row: usize, before: &[u64]) -> u64 {
    row.checked_sub(1).map_or(0, |last| before[last])
}

/// Either direction.
pub(crate) trait Codec {
    /// Whether the batch is of this minor schema version or a later one; what it lacks is zero.
    fn knows(&self, minor: u8) -> bool;

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

    /// Tells the compressor that the next column is of another kind from these rows on.
    fn turns(&mut self, rows: &[usize]);
}

/// Collects tables.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    tables: Vec<(ArrowTable, BitWriter)>,
    current: usize,
    turns: Vec<usize>,
}

impl Writer {
    /// All tables in the order in which they began, and the one of their bit strings.
    pub(crate) fn finish(self) -> Vec<ArrowTable> {
        let (mut tables, bits): (Vec<_>, Vec<_>) = self.tables.into_iter().unzip();
        if tables.is_empty() {
            return tables;
        }
        let bits: Vec<_> = bits.into_iter().map(BitWriter::finish).collect();
        let names = Values::texts(tables.iter().map(|table: &ArrowTable| table.name.as_ref()));
        let bits = Values::blobs(bits.iter().map(Vec::as_slice));
        for table in &mut tables {
            alike::arrange(&mut table.columns);
        }
        let column = |name, values| ArrowColumn {
            name: Cow::Borrowed(name),
            note: Some(""),
            turns: Vec::new(),
            values,
        };
        let columns = vec![column("table", names), column("bits", bits)];
        tables.push(ArrowTable {
            name: Cow::Borrowed(BITS),
            rows: tables.len(),
            columns,
            shares_zeros: false,
        });
        tables
    }

    fn bits(&mut self) -> &mut BitWriter {
        &mut self.tables[self.current].1
    }

    fn push(&mut self, name: &'static str, note: &'static str, values: Values) {
        let turns = std::mem::take(&mut self.turns).into_iter();
        self.tables[self.current].0.columns.push(ArrowColumn {
            name: Cow::Borrowed(name),
            note: Some(note),
            turns: turns.map(|row| (row, Kind::Tokens)).collect(),
            values,
        });
    }

    /// Puts the lower halves into a column that has the higher ones.
    fn merge(&mut self, name: &'static str, low: &[u8]) -> Result<(), DecodeError> {
        let columns = &mut self.tables[self.current].0.columns;
        let column = columns.iter_mut().find(|column| column.name == name);
        let Some(ArrowColumn {
            values: Values::Bytes(bytes),
            ..
        }) = column
        else {
            unreachable!("the first half of a column is written before the second");
        };
        for (byte, low) in bytes.iter_mut().zip(low) {
            *byte |= low;
        }
        Ok(())
    }
}

impl Codec for Writer {
    fn knows(&self, _minor: u8) -> bool {
        true
    }

    fn table(&mut self, name: &'static str, rows: &mut usize) -> Result<(), DecodeError> {
        if *rows > 0 {
            let known = self.tables.iter().position(|(table, _)| table.name == name);
            self.current = known.unwrap_or(self.tables.len());
            if known.is_none() {
                let table = ArrowTable {
                    name: Cow::Borrowed(name),
                    rows: *rows,
                    columns: Vec::new(),
                    shares_zeros: false,
                };
                self.tables.push((table, BitWriter::default()));
            }
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
        let write = |row: usize| {
            let coded = number::write(values[row], expect(row, &values[..row]));
            let mut token = coded.token;
            if column.half != Half::Whole && token >= LONG {
                bits.put(u64::from(token - LONG), LONG_BITS);
                token = LONG;
            }
            bits.put(coded.bits, coded.count);
            token
        };
        let tokens: Vec<u8> = (0..values.len()).map(write).collect();
        let value = match column.half {
            Half::Whole => tokens,
            Half::High => tokens.iter().map(|token| token << 4).collect(),
            Half::Low => return self.merge(column.name, &tokens),
        };
        self.push(column.name, column.note, Values::Bytes(value));
        Ok(())
    }

    fn texts(&mut self, name: &'static str, values: &mut Vec<String>) -> Result<(), DecodeError> {
        let texts = Values::texts(values.iter().map(String::as_str));
        self.push(name, "text", texts);
        Ok(())
    }

    fn turns(&mut self, rows: &[usize]) {
        self.turns.extend_from_slice(rows);
    }
}

/// More than any version of this format will have.
const MAX_TABLES: usize = 64;

/// Gives tables back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    tables: HashMap<&'a str, (ReadTable<'a>, BitReader<'a>)>,
    current: &'static str,
    minor: u8,
}

impl<'a> Reader<'a> {
    /// Cuts the decompressed bytes of a batch of that minor schema version into tables.
    pub(crate) fn open(mut raw: &'a [u8], minor: u8, limits: &Limits) -> Result<Self, DecodeError> {
        let most = limits.max_rows.saturating_mul(ROWS_PER_ROW);
        let mut tables: HashMap<_, (ReadTable<'a>, BitReader<'a>)> = HashMap::new();
        while !raw.is_empty() {
            let table = ReadTable::read(&mut raw)?;
            if table.rows > most {
                return Err(DecodeError::TooLarge {
                    what: "table rows",
                    limit: most,
                });
            }
            if tables.len() == MAX_TABLES {
                return Err(malformed(String::from("too many tables")));
            }
            if let Some((twice, _)) = tables.insert(table.name, (table, BitReader::new(&[]))) {
                return Err(malformed(format!("table {} comes twice", twice.name)));
            }
        }
        if let Some((bits, _)) = tables.remove(BITS) {
            for (name, string) in bits.texts("table")?.iter().zip(bits.blobs("bits")?) {
                if let Some((_, reader)) = tables.get_mut(name.as_str()) {
                    *reader = BitReader::new(string);
                }
            }
        }
        Ok(Self {
            tables,
            current: "",
            minor,
        })
    }

    /// Bytes that the columns of all tables take once they are unpacked.
    pub(crate) fn bytes(&self) -> usize {
        let tables = self.tables.values();
        let bytes = tables.map(|(table, _)| table.unpacked_bytes());
        bytes.fold(0, usize::saturating_add)
    }

    /// Bytes of all texts of these tables.
    pub(crate) fn text_bytes(&self, tables: &[&str]) -> usize {
        let found = tables.iter().filter_map(|name| self.tables.get(name));
        found.map(|(table, _)| table.text_bytes()).sum()
    }

    fn current(&mut self) -> Result<&mut (ReadTable<'a>, BitReader<'a>), DecodeError> {
        let missing = || malformed(format!("no table {}", self.current));
        self.tables.get_mut(self.current).ok_or_else(missing)
    }
}

impl Codec for Reader<'_> {
    fn knows(&self, minor: u8) -> bool {
        self.minor >= minor
    }

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
        for (row, byte) in tokens.iter().enumerate() {
            let mut token = match column.half {
                Half::Whole => *byte,
                Half::High => byte >> 4,
                Half::Low => byte & 15,
            };
            if column.half != Half::Whole && token == LONG {
                token += narrow::<u8>(bits.take(LONG_BITS)?, "token")?;
            }
            let expected = expect(row, values);
            values.push(number::read(token, expected, bits)?);
        }
        Ok(())
    }

    fn texts(&mut self, name: &'static str, values: &mut Vec<String>) -> Result<(), DecodeError> {
        *values = self.current()?.0.texts(name)?;
        Ok(())
    }

    fn turns(&mut self, _rows: &[usize]) {}
}

fn malformed(what: String) -> DecodeError {
    DecodeError::Malformed(what)
}

/// Narrows a decoded number.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64, what: &str) -> Result<T, DecodeError> {
    T::try_from(value).map_err(|_| malformed(format!("{what} {value} is out of range")))
}
