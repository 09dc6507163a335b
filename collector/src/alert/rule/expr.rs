//! Expressions with types: what is computed of groups of rows.

use super::parse::Op;
use super::unit::Unit;

/// What a function makes of a column of all rows of a group.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Made {
    /// What the window added to a counter.
    Increase,
    /// The value of the newest row.
    Last,
    /// The least.
    Least,
    /// The largest.
    Most,
    /// The sum of the newest values of all rows.
    Sum,
    /// Their mean.
    Mean,
    /// A percentile of times, in hundredths.
    Percentile(u8),
    /// How many times were measured.
    Values,
    /// The part of rows in which it is true.
    Share,
    /// How many different values there are.
    Distinct,
    /// How many rows there are; the column is any.
    Rows,
}

/// One of the numbers that a group collects.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What.
    pub made: Made,
    /// Of which column of the source; of rows there is none.
    pub column: String,
    /// What one of the column's numbers is in seconds, bytes or pieces.
    pub scale: f64,
}

/// An expression whose types are checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// One of the rule's limits, by its place.
    Limit(usize),
    /// A column of one row, and what one of its numbers is in seconds, bytes or pieces.
    Column(String, f64),
    /// A number of the group, by its place.
    Aggregate(usize),
    /// The length of the window, seconds.
    Window,
    /// The same expression over all groups of the whole that this one belongs to.
    Whole(Box<Expr>),
    /// How many groups the whole has.
    Parts,
    /// What is usual of an expression, by its place.
    Usual(usize),
    /// How far it usually is from that.
    Spread(usize),
    /// Whether something is not known.
    Absent(Box<Expr>),
    /// The lesser or the greater of two.
    Either(Op, Box<(Expr, Expr)>),
    /// `-` or `not`.
    Unary(Op, Box<Expr>),
    /// Two with something between them.
    Binary(Op, Box<(Expr, Expr)>),
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number of this unit.
    Number(Unit),
    /// Zero, which has every unit.
    Zero,
    /// Text.
    Text,
    /// True, false or not known.
    Truth,
}

impl Expr {
    /// Whether it needs what is usual.
    #[must_use]
    pub fn needs_usual(&self) -> bool {
        match self {
            Self::Usual(_) | Self::Spread(_) => true,
            Self::Whole(inner) | Self::Absent(inner) | Self::Unary(_, inner) => inner.needs_usual(),
            Self::Either(_, both) | Self::Binary(_, both) => {
                both.0.needs_usual() || both.1.needs_usual()
            }
            _ => false,
        }
    }
}
