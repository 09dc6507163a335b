//! Tables of numbers and texts between the row structs and Arrow.
//!
//! A number column is a sequence of `u64`. It is written as `width` Arrow columns of type UInt8,
//! one per byte plane, least significant first: bytes of equal weight then lie side by side, which
//! is what a byte-oriented compressor needs. A value that does not fit into `width` bytes keeps its
//! low bytes there and puts the rest into the `overflow` table, so nothing is ever cut.

use crate::DecodeError;
use crate::overflow::Overflow;
use crate::stream::{ArrowColumn, ArrowTable, Values};

/// What is done to a number before it is cut into byte planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing.
    Plain,
    /// Zigzag of the wrapping difference to the row before (to 0 in the first row).
    Delta,
    /// Zigzag of the wrapping difference to a value computed from other columns; the text says which.
    Minus(&'static str),
}

/// A number column: its name, its planes and its transform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) name: &'static str,
    pub(crate) width: usize,
    pub(crate) how: How,
}

impl Number {
    pub(crate) const fn plain(name: &'static str, width: usize) -> Self {
        Self {
            name,
            width,
            how: How::Plain,
        }
    }

    pub(crate) const fn delta(name: &'static str, width: usize) -> Self {
        Self {
            name,
            width,
            how: How::Delta,
        }
    }

    pub(crate) const fn minus(name: &'static str, width: usize, what: &'static str) -> Self {
        Self {
            name,
            width,
            how: How::Minus(what),
        }
    }

    fn note(&self) -> String {
        match self.how {
            How::Plain => String::from("plain"),
            How::Delta => String::from("delta"),
            How::Minus(what) => format!("minus {what}"),
        }
    }
}

/// A signed difference as an unsigned number that is small when the difference is.
pub(crate) fn zigzag(value: u64, base: u64) -> u64 {
    let difference = value.wrapping_sub(base).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

/// The value that [`zigzag`] was given.
pub(crate) fn unzigzag(code: u64, base: u64) -> u64 {
    base.wrapping_add((code >> 1) ^ (code & 1).wrapping_neg())
}

/// Collects the columns of one table.
#[derive(Debug)]
pub(crate) struct TableWriter<'a> {
    name: &'static str,
    rows: usize,
    columns: Vec<ArrowColumn>,
    overflow: &'a mut Overflow,
}

impl<'a> TableWriter<'a> {
    pub(crate) fn new(name: &'static str, rows: usize, overflow: &'a mut Overflow) -> Self {
        Self {
            name,
            rows,
            columns: Vec::new(),
            overflow,
        }
    }

    /// A plain or delta column.
    pub(crate) fn number(&mut self, spec: &Number, values: impl Iterator<Item = u64>) {
        let mut previous = 0;
        let delta = spec.how == How::Delta;
        self.planes(
            spec,
            values.map(|value| {
                if delta {
                    zigzag(value, std::mem::replace(&mut previous, value))
                } else {
                    value
                }
            }),
        );
    }

    /// A column of pairs: the value and what a reader can predict for it.
    pub(crate) fn against(&mut self, spec: &Number, pairs: impl Iterator<Item = (u64, u64)>) {
        self.planes(spec, pairs.map(|(value, base)| zigzag(value, base)));
    }

    fn planes(&mut self, spec: &Number, codes: impl Iterator<Item = u64>) {
        let mut planes = vec![Vec::with_capacity(self.rows); spec.width];
        for (row, code) in codes.enumerate() {
            let bytes = code.to_le_bytes();
            for (plane, byte) in planes.iter_mut().zip(bytes) {
                plane.push(byte);
            }
            if bytes.iter().skip(spec.width).any(|byte| *byte != 0) {
                self.overflow
                    .put(self.name, spec.name, row, code >> (8 * spec.width));
            }
        }
        for (index, plane) in planes.into_iter().enumerate() {
            self.columns.push(ArrowColumn {
                name: format!("{}.{index}", spec.name),
                note: spec.note(),
                values: Values::Bytes(plane),
            });
        }
    }

    /// A text column.
    pub(crate) fn text<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str>) {
        let mut offsets = Vec::with_capacity(self.rows + 1);
        let mut data = Vec::new();
        offsets.push(0);
        for value in values {
            data.extend_from_slice(value.as_bytes());
            offsets.push(i32::try_from(data.len()).expect("texts of one batch are below 2 GiB"));
        }
        self.columns.push(ArrowColumn {
            name: name.to_owned(),
            note: String::from("plain"),
            values: Values::Text { offsets, data },
        });
    }

    pub(crate) fn finish(self) -> ArrowTable {
        ArrowTable {
            name: self.name.to_owned(),
            rows: self.rows,
            columns: self.columns,
        }
    }
}

/// Gives back the columns of one table. Every column this reader knows must be there.
#[derive(Debug)]
pub(crate) struct TableReader<'a> {
    table: &'a crate::stream::ReadTable<'a>,
    overflow: &'a Overflow,
}

impl<'a> TableReader<'a> {
    pub(crate) fn new(table: &'a crate::stream::ReadTable<'a>, overflow: &'a Overflow) -> Self {
        Self { table, overflow }
    }

    pub(crate) fn rows(&self) -> usize {
        self.table.rows
    }

    /// A plain or delta column; a `minus` column comes as its codes, for [`unzigzag`].
    pub(crate) fn number(&self, spec: &Number) -> Result<Vec<u64>, DecodeError> {
        let mut values = vec![0u64; self.table.rows];
        for index in 0..spec.width {
            let name = format!("{}.{index}", spec.name);
            for (value, byte) in values.iter_mut().zip(self.table.bytes(&name)?) {
                *value |= u64::from(*byte) << (8 * index);
            }
        }
        self.overflow.apply(&self.table.name, spec, &mut values)?;
        if spec.how == How::Delta {
            let mut previous = 0;
            for value in &mut values {
                *value = unzigzag(*value, previous);
                previous = *value;
            }
        }
        Ok(values)
    }

    /// A text column.
    pub(crate) fn text(&self, name: &str) -> Result<Vec<String>, DecodeError> {
        self.table.texts(name)
    }
}

/// Narrows a decoded number.
pub(crate) fn narrow<T: TryFrom<u64>>(value: u64, column: &str) -> Result<T, DecodeError> {
    T::try_from(value)
        .map_err(|_| DecodeError::Malformed(format!("{column} {value} is out of range")))
}
