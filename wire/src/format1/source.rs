//! Where the columns of a batch come from.
//!
//! A family reads its columns in one order, and says of each number what it is expected to be by
//! columns and rows that came before; a token says how far the number is from that.

use std::collections::HashMap;

use super::number::{self, BitReader, Expected};
use crate::bounds::{Limits, ROWS_PER_ROW};
use crate::error::DecodeError;
use crate::stream::ReadTable;

/// Name of the table with the other tables' bit strings.
pub const BITS: &str = "bits";

/// One column of tokens: its name, and for human readers what its numbers are expected to be.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in its table.
    pub name: &'static str,
    /// The note in the field's metadata; empty for [`Half::Low`].
    pub note: &'static str,
    /// What of its bytes is this column's.
    pub half: Half,
}

/// Which bits of a byte a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// All.
    Whole,
    /// The higher four; another column has the lower ones.
    High,
    /// The lower four, in a column that was begun with the higher ones.
    Low,
}

/// A token that needs more than four bits has this in its half byte and what is above it in
/// [`LONG_BITS`] bits.
pub const LONG: u8 = 15;
/// Bits of what is above [`LONG`].
pub const LONG_BITS: u32 = 7;

/// A column of its own.
pub(crate) const fn column(name: &'static str, note: &'static str) -> Column {
    let half = Half::Whole;
    Column { name, note, half }
}

/// A column that shares its tokens' bytes with [`second`] of the same name. Meant for numbers of few
/// tokens that depend on each other.
pub(crate) const fn first(name: &'static str, note: &'static str) -> Column {
    let half = Half::High;
    Column { name, note, half }
}

/// The other column of [`first`], which must come before it.
pub(crate) const fn second(name: &'static str) -> Column {
    let (note, half) = ("", Half::Low);
    Column { name, note, half }
}

/// Computes what a number is expected to be from its row and the column's numbers before it.
pub type Expect<'e> = &'e mut dyn FnMut(usize, &[u64]) -> Expected;

/// Expects the number of the row before, or 0.
pub(crate) fn previous(row: usize, before: &[u64]) -> u64 {
    row.checked_sub(1).map_or(0, |last| before[last])
}

/// Gives the columns of a batch, one after the other.
///
/// A trait, so that the writer of the trials needs no second list of columns and expectations: it is
/// asked in the place of what reads.
pub trait Source {
    /// Whether the batch is of this minor schema version or a later one; what it lacks is zero.
    fn knows(&self, minor: u8) -> bool;

    /// Goes to a table, and says how many rows it has; a table without rows is not there.
    fn table(&mut self, name: &'static str) -> usize;

    /// One number that belongs to the table as a whole.
    ///
    /// # Errors
    /// Where the table is missing or its bits end.
    fn parameter(&mut self) -> Result<u64, DecodeError>;

    /// A column of numbers, as many as the table has rows.
    ///
    /// # Errors
    /// Where the column is missing, its bits end, or a token is out of range.
    fn numbers(&mut self, column: Column, expect: Expect<'_>) -> Result<Vec<u64>, DecodeError>;

    /// A column of texts, as many as the table has rows.
    ///
    /// # Errors
    /// Where the column is missing or no UTF-8.
    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, DecodeError>;
}

/// A column of numbers of which nothing is known.
pub(crate) fn any(
    source: &mut impl Source,
    name: &'static str,
    note: &'static str,
) -> Result<Vec<u64>, DecodeError> {
    source.numbers(column(name, note), &mut |_, _| Expected::ANY)
}

/// A column of numbers that are near the one before.
pub(crate) fn near(
    source: &mut impl Source,
    name: &'static str,
    note: &'static str,
) -> Result<Vec<u64>, DecodeError> {
    source.numbers(column(name, note), &mut |row, before| {
        Expected::near(previous(row, before))
    })
}

/// A column of numbers that are at least the one before.
pub(crate) fn sorted(
    source: &mut impl Source,
    name: &'static str,
    note: &'static str,
) -> Result<Vec<u64>, DecodeError> {
    source.numbers(column(name, note), &mut |row, before| {
        Expected::AtLeast(previous(row, before))
    })
}

/// More than any version of this format has.
const MAX_TABLES: usize = 64;

/// What a sealed batch holds.
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

impl Source for Reader<'_> {
    fn knows(&self, minor: u8) -> bool {
        self.minor >= minor
    }

    fn table(&mut self, name: &'static str) -> usize {
        self.current = name;
        self.tables.get(name).map_or(0, |(table, _)| table.rows)
    }

    fn parameter(&mut self) -> Result<u64, DecodeError> {
        self.current()?.1.take(u64::BITS)
    }

    fn numbers(&mut self, column: Column, expect: Expect<'_>) -> Result<Vec<u64>, DecodeError> {
        let (table, bits) = self.current()?;
        let tokens = table.bytes(column.name)?;
        let mut values = Vec::with_capacity(tokens.len());
        for (row, byte) in tokens.iter().enumerate() {
            let mut token = match column.half {
                Half::Whole => *byte,
                Half::High => byte >> 4,
                Half::Low => byte & 15,
            };
            if column.half != Half::Whole && token == LONG {
                token += narrow::<u8>(bits.take(LONG_BITS)?, "token")?;
            }
            let expected = expect(row, &values);
            values.push(number::read(token, expected, bits)?);
        }
        Ok(values)
    }

    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, DecodeError> {
        self.current()?.0.texts(name)
    }
}

fn malformed(what: String) -> DecodeError {
    DecodeError::Malformed(what)
}

/// Narrows a decoded number.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64, what: &str) -> Result<T, DecodeError> {
    T::try_from(value).map_err(|_| malformed(format!("{what} {value} is out of range")))
}
