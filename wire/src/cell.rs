//! How the types of fields become columns.

use crate::error::DecodeError;
use crate::schema::{Kind, Type};
use crate::table::{Cell, Values};
use crate::value::{Endpoint, Histogram};

type Parts = Vec<(&'static str, Option<Kind>, Type)>;

fn missing() -> DecodeError {
    DecodeError::Malformed(String::from(
        "a column has another type than its table says",
    ))
}

/// Appends a column of numbers.
pub(crate) fn write_numbers(numbers: impl Iterator<Item = u64>, out: &mut Vec<Values>) {
    out.push(Values::Numbers(numbers.collect()));
}

/// Takes a column of numbers, each of which `of` may refuse.
pub(crate) fn read_numbers<'a, T: 'a>(
    cells: impl Iterator<Item = &'a mut T>,
    columns: &mut dyn Iterator<Item = Values>,
    of: impl Fn(u64) -> Option<T>,
) -> Result<(), DecodeError> {
    let Some(Values::Numbers(numbers)) = columns.next() else {
        return Err(missing());
    };
    for (cell, number) in cells.zip(numbers) {
        let out_of_range =
            || DecodeError::Malformed(format!("{number} is out of a column's range"));
        *cell = of(number).ok_or_else(out_of_range)?;
    }
    Ok(())
}

macro_rules! number {
    ($type:ty, $name:expr) => {
        impl Cell for $type {
            fn parts() -> Parts {
                vec![("", None, $name)]
            }

            fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
                write_numbers(cells.map(|cell| u64::from(*cell)), out);
            }

            fn read<'a>(
                cells: impl Iterator<Item = &'a mut Self>,
                columns: &mut dyn Iterator<Item = Values>,
            ) -> Result<(), DecodeError> {
                read_numbers(cells, columns, |number| number.try_into().ok())
            }
        }
    };
}

number!(u8, Type::U8);
number!(u16, Type::U16);
number!(u32, Type::U32);
number!(u64, Type::U64);

impl Cell for bool {
    fn parts() -> Parts {
        vec![("", None, Type::Bool)]
    }

    fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
        write_numbers(cells.map(|cell| u64::from(*cell)), out);
    }

    fn read<'a>(
        cells: impl Iterator<Item = &'a mut Self>,
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError> {
        read_numbers(cells, columns, |number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }
}

impl Cell for Endpoint {
    fn parts() -> Parts {
        vec![
            ("_port", Some(Kind::Dimension), Type::U16),
            ("_address", Some(Kind::Address), Type::Address),
        ]
    }

    fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
        write_numbers(cells.clone().map(|cell| u64::from(cell.port)), out);
        out.push(Values::Addresses(cells.map(|cell| cell.addr).collect()));
    }

    fn read<'a>(
        cells: impl Iterator<Item = &'a mut Self>,
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError> {
        let (Some(Values::Numbers(ports)), Some(Values::Addresses(addresses))) =
            (columns.next(), columns.next())
        else {
            return Err(missing());
        };
        for ((cell, port), addr) in cells.zip(ports).zip(addresses) {
            let port = u16::try_from(port).map_err(|_| missing())?;
            *cell = Self { addr, port };
        }
        Ok(())
    }
}

/// A type whose values are those of one variant of [`Values`].
macro_rules! values {
    ($type:ty, $name:expr, $variant:ident) => {
        impl Cell for $type {
            fn parts() -> Parts {
                vec![("", None, $name)]
            }

            fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>) {
                out.push(Values::$variant(cells.cloned().collect()));
            }

            fn read<'a>(
                cells: impl Iterator<Item = &'a mut Self>,
                columns: &mut dyn Iterator<Item = Values>,
            ) -> Result<(), DecodeError> {
                let Some(Values::$variant(values)) = columns.next() else {
                    return Err(missing());
                };
                for (cell, value) in cells.zip(values) {
                    *cell = value;
                }
                Ok(())
            }
        }
    };
}

values!(String, Type::Text, Texts);
values!([u8; 16], Type::Address, Addresses);
values!(Histogram, Type::Histogram, Histograms);
values!(Vec<(String, String)>, Type::Labels, Labels);
values!(Vec<(String, u64)>, Type::Counts, Counts);

/// Declares an enumeration that is a column: a number and its name for each value.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident;
        $( $(#[$about:meta])+ $variant:ident = $value:literal $text:literal, )+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $( $(#[$about])+ $variant = $value, )+
        }

        impl $crate::table::Cell for $name {
            fn parts() -> Vec<(&'static str, Option<$crate::schema::Kind>, $crate::schema::Type)> {
                let names = [$($text),+].map(str::to_owned).to_vec();
                vec![("", None, $crate::schema::Type::Enum(names))]
            }

            fn write<'a>(
                cells: impl Iterator<Item = &'a Self> + Clone,
                out: &mut Vec<$crate::table::Values>,
            ) {
                $crate::cell::write_numbers(cells.map(|cell| *cell as u64), out);
            }

            fn read<'a>(
                cells: impl Iterator<Item = &'a mut Self>,
                columns: &mut dyn Iterator<Item = $crate::table::Values>,
            ) -> Result<(), $crate::error::DecodeError> {
                $crate::cell::read_numbers(cells, columns, |number| match number {
                    $( $value => Some($name::$variant), )+
                    _ => None,
                })
            }
        }
    };
}
pub(crate) use choice;
