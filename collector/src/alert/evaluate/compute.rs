//! The value of an expression. What is not known makes neither true nor false.

use super::row::Cell;
use crate::alert::finding::Usual;
use crate::alert::rule::expr::Expr;
use crate::alert::rule::parse::Op;

/// What an expression is computed from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Numbers of the group.
    pub numbers: &'a [Option<f64>],
    /// Those of the whole that it is a part of.
    pub whole: &'a [Option<f64>],
    /// How many parts that has.
    pub parts: usize,
    /// Limits of the rule.
    pub limits: &'a [f64],
    /// Length of the window, seconds.
    pub window: f64,
    /// What is usual.
    pub usuals: &'a [Option<Usual>],
}

impl Context<'_> {
    /// A number; `None` where something in it is not known, or is divided by zero.
    #[must_use]
    pub fn number(&self, expr: &Expr) -> Option<f64> {
        let found = match expr {
            Expr::Number(value) => *value,
            Expr::Limit(at) => *self.limits.get(*at)?,
            Expr::Aggregate(at) => (*self.numbers.get(*at)?)?,
            Expr::Window => self.window,
            Expr::Whole(inner) => {
                let whole = Self {
                    numbers: self.whole,
                    ..*self
                };
                whole.number(inner)?
            }
            #[expect(clippy::cast_precision_loss, reason = "groups are few")]
            Expr::Parts => self.parts as f64,
            Expr::Usual(at) => (*self.usuals.get(*at)?)?.median,
            Expr::Spread(at) => (*self.usuals.get(*at)?)?.spread,
            Expr::Either(op, both) => {
                let (a, b) = (self.number(&both.0)?, self.number(&both.1)?);
                if *op == Op::Less { a.min(b) } else { a.max(b) }
            }
            Expr::Unary(Op::Minus, inner) => -self.number(inner)?,
            Expr::Binary(op, both) => {
                let (a, b) = (self.number(&both.0)?, self.number(&both.1)?);
                match op {
                    Op::Plus => a + b,
                    Op::Minus => a - b,
                    Op::Times => a * b,
                    Op::Per => a / b,
                    _ => return None,
                }
            }
            _ => return None,
        };
        found.is_finite().then_some(found)
    }

    /// Whether something holds; `None` where it depends on what is not known.
    #[must_use]
    pub fn truth(&self, expr: &Expr) -> Option<bool> {
        truth(expr, &|expr| self.number(expr), &|_| None, &|_| None)
    }
}

/// Whether something holds of one row; `find` gives the cell of a column.
#[must_use]
pub(super) fn of_row<'r>(
    expr: &Expr,
    limits: &[f64],
    find: &impl Fn(&str) -> Option<&'r Cell>,
) -> Option<bool> {
    let cell = |expr: &Expr| match expr {
        Expr::Column(name, scale) => find(name).map(|cell| (cell, *scale)),
        _ => None,
    };
    let number = |expr: &Expr| number_of_row(expr, limits, find);
    let text = |expr: &Expr| match (expr, cell(expr)) {
        (Expr::Text(text), _) => Some(text.clone()),
        (_, Some((Cell::Text(text), _))) => Some(text.clone()),
        _ => None,
    };
    let flag = |expr: &Expr| match cell(expr) {
        Some((Cell::Flag(flag), _)) => Some(*flag),
        _ => None,
    };
    truth(expr, &number, &text, &flag)
}

fn number_of_row<'r>(
    expr: &Expr,
    limits: &[f64],
    find: &impl Fn(&str) -> Option<&'r Cell>,
) -> Option<f64> {
    let inner = |expr: &Expr| number_of_row(expr, limits, find);
    match expr {
        Expr::Number(value) => Some(*value),
        Expr::Limit(at) => limits.get(*at).copied(),
        Expr::Column(name, scale) => match find(name)? {
            Cell::Number(value) => Some(value * scale),
            _ => None,
        },
        Expr::Unary(Op::Minus, one) => inner(one).map(|value| -value),
        Expr::Binary(op, both) => {
            let (a, b) = (inner(&both.0)?, inner(&both.1)?);
            let found = match op {
                Op::Plus => a + b,
                Op::Minus => a - b,
                Op::Times => a * b,
                Op::Per => a / b,
                _ => return None,
            };
            found.is_finite().then_some(found)
        }
        _ => None,
    }
}

type Find<'f, T> = &'f dyn Fn(&Expr) -> Option<T>;

fn truth(
    expr: &Expr,
    number: Find<'_, f64>,
    text: Find<'_, String>,
    flag: Find<'_, bool>,
) -> Option<bool> {
    let inner = |expr: &Expr| truth(expr, number, text, flag);
    match expr {
        Expr::Column(..) => flag(expr),
        Expr::Absent(of) => {
            let is_known = number(of).is_some() || text(of).is_some() || inner(of).is_some();
            Some(!is_known)
        }
        Expr::Unary(Op::Not, one) => inner(one).map(|truth| !truth),
        Expr::Binary(Op::And, both) => match (inner(&both.0), inner(&both.1)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Expr::Binary(Op::Or, both) => match (inner(&both.0), inner(&both.1)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Expr::Binary(op, both) => {
            if let (Some(a), Some(b)) = (text(&both.0), text(&both.1)) {
                return match op {
                    Op::Same => Some(a == b),
                    Op::Other => Some(a != b),
                    _ => None,
                };
            }
            let (a, b) = (number(&both.0)?, number(&both.1)?);
            Some(match op {
                Op::Less => a < b,
                Op::AtMost => a <= b,
                Op::More => a > b,
                Op::AtLeast => a >= b,
                // Numbers are counts where somebody asks this.
                Op::Same => (a - b).abs() < f64::EPSILON,
                Op::Other => (a - b).abs() >= f64::EPSILON,
                _ => return None,
            })
        }
        _ => None,
    }
}
