//! Rows as columns, and the declaration from which a family's struct and description are made.

use std::borrow::Cow;

use crate::error::DecodeError;
use crate::schema::{Column, Kind, Table, Type};
use crate::value::Histogram;

/// The values of one column, one for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Of each type that is a number.
    Numbers(Vec<u64>),
    /// [`Type::Text`].
    Texts(Vec<String>),
    /// [`Type::Address`].
    Addresses(Vec<[u8; 16]>),
    /// [`Type::Histogram`].
    Histograms(Vec<Histogram>),
    /// [`Type::Labels`].
    Labels(Vec<Vec<(String, String)>>),
    /// [`Type::Counts`].
    Counts(Vec<Vec<(String, u64)>>),
}

impl Values {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Addresses(values) => values.len(),
            Self::Histograms(values) => values.len(),
            Self::Labels(values) => values.len(),
            Self::Counts(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many values of a type that are zero or empty.
    #[must_use]
    pub fn nothing(values: &Type, rows: usize) -> Self {
        match values {
            Type::Text => Self::Texts(vec![String::new(); rows]),
            Type::Address => Self::Addresses(vec![[0; 16]; rows]),
            Type::Histogram => Self::Histograms(vec![Histogram::default(); rows]),
            Type::Labels => Self::Labels(vec![Vec::new(); rows]),
            Type::Counts => Self::Counts(vec![Vec::new(); rows]),
            Type::Bool
            | Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::Enum(_)
            | Type::Columns => Self::Numbers(vec![0; rows]),
        }
    }
}

/// A table with its description, for whoever has no struct for its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicTable {
    /// What it is.
    pub table: Cow<'static, Table>,
    /// Number of rows.
    pub rows: usize,
    /// As many as the description has, in its order, each with a value for each row.
    pub columns: Vec<Values>,
}

impl DynamicTable {
    /// The rows as a table.
    #[must_use]
    pub fn of<R: Row>(rows: &[R]) -> Self {
        let mut rows: Vec<&R> = rows.iter().collect();
        R::sort(&mut rows);
        Self {
            table: Cow::Borrowed(R::table()),
            rows: rows.len(),
            columns: R::columns(&rows),
        }
    }

    /// The table as rows.
    ///
    /// # Errors
    /// Where a column is not what the struct has, or a number is out of its range.
    pub fn into_rows<R: Row>(self) -> Result<Vec<R>, DecodeError> {
        let mut rows = vec![R::default(); self.rows];
        R::fill(&mut rows, &mut self.columns.into_iter())?;
        Ok(rows)
    }
}

/// A row of a table that has a struct; made by `table!`.
pub trait Row: Clone + Default {
    /// The table's description.
    fn table() -> &'static Table;

    /// Puts rows side by side that have most in common.
    fn sort(rows: &mut [&Self]);

    /// One list for each column of the description, in its order.
    fn columns(rows: &[&Self]) -> Vec<Values>;

    /// The reverse of [`Self::columns`].
    ///
    /// # Errors
    /// Where a column has another type, or a number is out of its range.
    fn fill(
        rows: &mut [Self],
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError>;
}

/// A field of a row: one column or several.
pub trait Cell {
    /// The columns: what is added to the field's name, the kind where it is not that of the field,
    /// and the type.
    fn parts() -> Vec<(&'static str, Option<Kind>, Type)>;

    /// Appends one list for each of [`Self::parts`].
    fn write<'a>(cells: impl Iterator<Item = &'a Self> + Clone, out: &mut Vec<Values>)
    where
        Self: 'a;

    /// Takes one list for each of [`Self::parts`].
    ///
    /// # Errors
    /// Where a list has another type, or a number is out of its range.
    fn read<'a>(
        cells: impl Iterator<Item = &'a mut Self>,
        columns: &mut dyn Iterator<Item = Values>,
    ) -> Result<(), DecodeError>
    where
        Self: 'a;
}

/// What a declaration says of one field.
pub(crate) struct Declared<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: &'static str,
    pub(crate) docs: &'a [&'static str],
    pub(crate) since: Option<u16>,
    pub(crate) absent: Option<u8>,
}

/// The columns of one field.
pub(crate) fn declare<C: Cell>(field: &Declared<'_>, columns: &mut Vec<Column>) {
    for (suffix, kind, values) in C::parts() {
        columns.push(Column {
            name: format!("{}{suffix}", field.name),
            kind: kind.unwrap_or(field.kind),
            values,
            unit: field.unit.to_owned(),
            help: crate::schema::first_sentence(field.docs),
            since: field.since.unwrap_or(1),
            absent: field.absent,
        });
    }
}

/// Declares a table once: the struct of its rows, and with [`Row`] its description and columns.
///
/// A field is `NAME: TYPE = KIND "UNIT"`, then where it applies `since VERSION` and `absent BIT`;
/// the first sentence of its documentation is its help. `sorted by` is the order of rows in a
/// batch.
macro_rules! table {
    (
        $(#[doc = $help:literal])+
        $row:ident is $shape:ident $name:literal of $family:literal version $version:literal,
        sorted by |$each:ident| $order:expr;
        $(
            $(#[doc = $docs:literal])+
            $field:ident: $type:ty = $kind:ident $unit:literal
                $(since $since:literal)? $(absent $absent:literal)?,
        )+
    ) => {
        $(#[doc = $help])+
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $row {
            $( $(#[doc = $docs])+ pub $field: $type, )+
        }

        impl $crate::table::Row for $row {
            fn table() -> &'static $crate::schema::Table {
                static TABLE: std::sync::LazyLock<$crate::schema::Table> =
                    std::sync::LazyLock::new(|| {
                        let mut columns = Vec::new();
                        $(
                            $crate::table::declare::<$type>(
                                &$crate::table::Declared {
                                    name: stringify!($field),
                                    kind: $crate::schema::Kind::$kind,
                                    unit: $unit,
                                    docs: &[$($docs),+],
                                    since: None $(.or(Some($since)))?,
                                    absent: None $(.or(Some($absent)))?,
                                },
                                &mut columns,
                            );
                        )+
                        $crate::schema::Table {
                            name: $name.to_owned(),
                            family: $family.to_owned(),
                            version: $version,
                            shape: $crate::schema::Shape::$shape,
                            help: $crate::schema::first_sentence(&[$($help),+]),
                            columns,
                        }
                    });
                &TABLE
            }

            fn sort(rows: &mut [&Self]) {
                rows.sort_by_cached_key(|$each| $order);
            }

            fn columns(rows: &[&Self]) -> Vec<$crate::table::Values> {
                let mut out = Vec::new();
                $(
                    let cells = rows.iter().map(|row| &row.$field);
                    <$type as $crate::table::Cell>::write(cells, &mut out);
                )+
                out
            }

            fn fill(
                rows: &mut [Self],
                columns: &mut dyn Iterator<Item = $crate::table::Values>,
            ) -> Result<(), $crate::error::DecodeError> {
                $(
                    let cells = rows.iter_mut().map(|row| &mut row.$field);
                    <$type as $crate::table::Cell>::read(cells, columns)?;
                )+
                Ok(())
            }
        }
    };
}
pub(crate) use table;
