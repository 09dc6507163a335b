//! From what was written to expressions with types, against the columns of a source.

use std::collections::BTreeMap;

use super::expr::{Aggregate, Expr, Made, Type};
use super::parse::{Mistake, Node, Op, What};
use super::source::{Column, Source, Values};
use super::unit::Unit;

/// Most numbers that a rule collects of its groups.
const MAX_AGGREGATES: usize = 32;
/// Most expressions of a rule of which it asks what is usual.
const MAX_USUALS: usize = 4;
/// How large expressions may grow when names in them are replaced by what they stand for.
const MAX_SIZE: usize = 1000;

/// Functions, for messages.
const FUNCTIONS: &str = "d, r, last, min, max, sum, avg, p50, p95, p99, values, distinct, share, rows, \
                         whole, parts, usual, spread, absent, lesser, greater";

/// What expressions of one rule share.
pub(super) struct Checker<'a> {
    source: &'a Source,
    /// Names and types of limits.
    limits: &'a [(String, Type)],
    /// What names stand for.
    names: BTreeMap<String, (Expr, Type)>,
    /// What groups collect.
    pub(super) aggregates: Vec<Aggregate>,
    /// Of what it is asked what is usual.
    pub(super) usuals: Vec<Expr>,
    /// Whether the rule says of what its groups are parts.
    has_whole: bool,
    /// Expressions about one row, and not about a group.
    in_row: bool,
    /// Nodes so far.
    size: usize,
}

type Checked = Result<(Expr, Type), Mistake>;

impl<'a> Checker<'a> {
    pub(super) fn new(source: &'a Source, limits: &'a [(String, Type)], has_whole: bool) -> Self {
        Self {
            source,
            limits,
            names: BTreeMap::new(),
            aggregates: Vec::new(),
            usuals: Vec::new(),
            has_whole,
            in_row: false,
            size: 0,
        }
    }

    /// Lets later expressions use a name.
    pub(super) fn define(&mut self, name: &str, expr: Expr, of: Type) {
        self.names.insert(String::from(name), (expr, of));
    }

    /// A number, and its unit.
    pub(super) fn number(&mut self, node: &Node) -> Result<(Expr, Unit), Mistake> {
        let (expr, of) = self.group(node)?;
        match of {
            Type::Number(unit) => Ok((expr, unit)),
            Type::Zero => Ok((expr, Unit::ONE)),
            Type::Text | Type::Truth => Err(Mistake::new(&node.at, "a number is expected here")),
        }
    }

    /// Something that is true or false.
    pub(super) fn truth(&mut self, node: &Node) -> Result<Expr, Mistake> {
        match self.group(node)? {
            (expr, Type::Truth) => Ok(expr),
            _ => Err(Mistake::new(
                &node.at,
                "something true or false is expected here, as a comparison is",
            )),
        }
    }

    /// The same about one row.
    pub(super) fn row(&mut self, node: &Node) -> Result<Expr, Mistake> {
        self.in_row = true;
        let found = self.truth(node);
        self.in_row = false;
        found
    }

    fn group(&mut self, node: &Node) -> Checked {
        self.size = 0;
        self.any(node)
    }

    fn any(&mut self, node: &Node) -> Checked {
        self.size += 1;
        if self.size > MAX_SIZE {
            return Err(Mistake::new(&node.at, "this grows too large"));
        }
        match &node.what {
            What::Number(value, _) if *value == 0.0 => Ok((Expr::Number(0.0), Type::Zero)),
            What::Number(value, unit) => Ok((Expr::Number(*value), Type::Number(*unit))),
            What::Text(text) => Ok((Expr::Text(text.clone()), Type::Text)),
            What::Name(name) => self.name(name, node),
            What::Call(name, given) => self.call(name, given, node),
            What::Unary(op, inner) => self.unary(*op, inner),
            What::Binary(op, both) => self.binary(*op, both, node),
        }
    }

    fn name(&mut self, name: &str, node: &Node) -> Checked {
        if let Some(limit) = name.strip_prefix("limit.") {
            let found = self.limits.iter().position(|(known, _)| known == limit);
            return match found {
                Some(at) => Ok((Expr::Limit(at), self.limits[at].1)),
                None => {
                    let names: Vec<&str> = self.limits.iter().map(|(n, _)| n.as_str()).collect();
                    let why = match names.is_empty() {
                        true => String::from("the rule has no limits"),
                        false => format!("no limit {limit:?}; there are {}", names.join(", ")),
                    };
                    Err(Mistake::new(&node.at, why))
                }
            };
        }
        if name == "window" {
            return Ok((Expr::Window, Type::Number(Unit::SECOND)));
        }
        if let Some((expr, of)) = self.names.get(name) {
            self.size += size(expr);
            return Ok((expr.clone(), *of));
        }
        let column = self.column(name, node)?;
        if !self.in_row {
            let example = match column.values {
                Values::Counter => {
                    format!("d({name}) is what the window added, r({name}) per second")
                }
                Values::Histogram => format!("p99({name}) is a percentile"),
                Values::Gauge => {
                    format!("last({name}) is the newest, max({name}) the largest value")
                }
                Values::Text | Values::Flag => {
                    format!("distinct({name}) counts; conditions on rows belong into rows")
                }
            };
            let why = format!("{name} has a value in each row, and a group has several: {example}");
            return Err(Mistake::new(&node.at, why));
        }
        let of = match column.values {
            Values::Counter | Values::Gauge => Type::Number(column.unit),
            Values::Text => Type::Text,
            Values::Flag => Type::Truth,
            Values::Histogram => {
                let why = format!("{name} holds many values; compare percentiles of groups");
                return Err(Mistake::new(&node.at, why));
            }
        };
        Ok((Expr::Column(column.name, column.scale), of))
    }

    fn column(&self, name: &str, node: &Node) -> Result<Column, Mistake> {
        let unknown = || Mistake::new(&node.at, self.source.unknown(name));
        self.source.column(name).ok_or_else(unknown)
    }

    fn call(&mut self, name: &str, given: &[Node], node: &Node) -> Checked {
        if self.in_row && name != "absent" {
            let why = "about one row there are no functions but absent";
            return Err(Mistake::new(&node.at, why));
        }
        let number = |n: usize| match given.len() == n {
            true => Ok(()),
            false => {
                let why = format!(
                    "{name} takes {n} in its parentheses, and got {}",
                    given.len()
                );
                Err(Mistake::new(&node.at, why))
            }
        };
        match name {
            "rows" => number(0)?,
            "parts" => number(0)?,
            "lesser" | "greater" => number(2)?,
            _ => number(1)?,
        }
        let made = match name {
            "d" | "r" => Made::Increase,
            "last" => Made::Last,
            "min" => Made::Least,
            "max" => Made::Most,
            "sum" => Made::Sum,
            "avg" => Made::Mean,
            "p50" => Made::Percentile(50),
            "p95" => Made::Percentile(95),
            "p99" => Made::Percentile(99),
            "values" => Made::Values,
            "share" => Made::Share,
            "distinct" => Made::Distinct,
            "rows" => {
                let expr = self.aggregate(Made::Rows, "", 1.0, node)?;
                return Ok((expr, Type::Number(Unit::ONE)));
            }
            _ => return self.special(name, given, node),
        };
        let What::Name(of) = &given[0].what else {
            let why = format!("{name} takes the name of a column");
            return Err(Mistake::new(&given[0].at, why));
        };
        let column = self.column(of, &given[0])?;
        if !fits(&made, column.values) {
            let why = format!(
                "{name} is not for {of}, which is {}",
                of_values(column.values)
            );
            return Err(Mistake::new(&node.at, why));
        }
        let unit = match made {
            Made::Values | Made::Distinct | Made::Share => Unit::ONE,
            _ => column.unit,
        };
        let expr = self.aggregate(made, of, column.scale, node)?;
        if name != "r" {
            return Ok((expr, Type::Number(unit)));
        }
        let per = Expr::Binary(Op::Per, Box::new((expr, Expr::Window)));
        Ok((per, Type::Number(unit.per(Unit::SECOND))))
    }

    fn aggregate(
        &mut self,
        made: Made,
        column: &str,
        scale: f64,
        node: &Node,
    ) -> Result<Expr, Mistake> {
        let wanted = Aggregate {
            made,
            column: String::from(column),
            scale,
        };
        if let Some(at) = self.aggregates.iter().position(|known| *known == wanted) {
            return Ok(Expr::Aggregate(at));
        }
        if self.aggregates.len() >= MAX_AGGREGATES {
            let why = format!("a rule collects at most {MAX_AGGREGATES} numbers");
            return Err(Mistake::new(&node.at, why));
        }
        self.aggregates.push(wanted);
        Ok(Expr::Aggregate(self.aggregates.len() - 1))
    }

    fn special(&mut self, name: &str, given: &[Node], node: &Node) -> Checked {
        match name {
            "whole" | "parts" if !self.has_whole => {
                let why = format!("{name} needs within, which says of what groups are parts");
                Err(Mistake::new(&node.at, why))
            }
            "parts" => Ok((Expr::Parts, Type::Number(Unit::ONE))),
            "whole" => {
                let (expr, of) = self.any(&given[0])?;
                Ok((Expr::Whole(Box::new(expr)), of))
            }
            "usual" | "spread" => {
                let (expr, of) = self.any(&given[0])?;
                if expr.needs_usual() || !matches!(of, Type::Number(_)) {
                    let why = format!("{name} takes a number that does not itself ask for it");
                    return Err(Mistake::new(&node.at, why));
                }
                let at = self.usuals.iter().position(|known| *known == expr);
                let at = at.unwrap_or(self.usuals.len());
                if at == self.usuals.len() {
                    if at >= MAX_USUALS {
                        let why =
                            format!("a rule asks at most {MAX_USUALS} times for what is usual");
                        return Err(Mistake::new(&node.at, why));
                    }
                    self.usuals.push(expr);
                }
                let expr = match name {
                    "usual" => Expr::Usual(at),
                    _ => Expr::Spread(at),
                };
                Ok((expr, of))
            }
            "absent" => {
                let (expr, _) = self.any(&given[0])?;
                Ok((Expr::Absent(Box::new(expr)), Type::Truth))
            }
            "lesser" | "greater" => {
                let op = if name == "lesser" { Op::Less } else { Op::More };
                let (one, of) = self.any(&given[0])?;
                let (other, with) = self.any(&given[1])?;
                let of = same(of, with, node)?;
                Ok((Expr::Either(op, Box::new((one, other))), of))
            }
            _ => {
                let why = format!("no function {name:?}; there are {FUNCTIONS}");
                Err(Mistake::new(&node.at, why))
            }
        }
    }

    fn unary(&mut self, op: Op, inner: &Node) -> Checked {
        let (expr, of) = self.any(inner)?;
        match (op, of) {
            (Op::Not, Type::Truth) | (Op::Minus, Type::Number(_) | Type::Zero) => {
                Ok((Expr::Unary(op, Box::new(expr)), of))
            }
            (Op::Not, _) => Err(Mistake::new(&inner.at, "not takes something true or false")),
            _ => Err(Mistake::new(&inner.at, "- takes a number")),
        }
    }

    fn binary(&mut self, op: Op, both: &(Node, Node), node: &Node) -> Checked {
        let (left, a) = self.any(&both.0)?;
        let (right, b) = self.any(&both.1)?;
        let of = match op {
            Op::Or | Op::And => match (a, b) {
                (Type::Truth, Type::Truth) => Type::Truth,
                _ => return Err(Mistake::new(&node.at, "and, or take what is true or false")),
            },
            Op::Same | Op::Other if a == Type::Text && b == Type::Text => Type::Truth,
            Op::Plus | Op::Minus => same(a, b, node)?,
            Op::Times | Op::Per => {
                let unit = |of: Type| match of {
                    Type::Number(unit) => Ok(unit),
                    Type::Zero => Ok(Unit::ONE),
                    _ => Err(Mistake::new(
                        &node.at,
                        "only numbers are multiplied and divided",
                    )),
                };
                let (a, b) = (unit(a)?, unit(b)?);
                Type::Number(if op == Op::Times {
                    a.times(b)
                } else {
                    a.per(b)
                })
            }
            _ => {
                same(a, b, node)?;
                Type::Truth
            }
        };
        Ok((Expr::Binary(op, Box::new((left, right))), of))
    }
}

/// The type of two numbers that may be added or compared.
fn same(a: Type, b: Type, node: &Node) -> Result<Type, Mistake> {
    match (a, b) {
        (Type::Zero, Type::Number(unit)) | (Type::Number(unit), Type::Zero) => {
            Ok(Type::Number(unit))
        }
        (Type::Zero, Type::Zero) => Ok(Type::Zero),
        (Type::Number(a), Type::Number(b)) if a == b => Ok(Type::Number(a)),
        (Type::Number(a), Type::Number(b)) => {
            let why = format!("{a} and {b} can be neither compared nor added");
            Err(Mistake::new(&node.at, why))
        }
        _ => Err(Mistake::new(
            &node.at,
            "two numbers of one unit are expected, or two texts",
        )),
    }
}

fn fits(made: &Made, values: Values) -> bool {
    match made {
        Made::Increase => values == Values::Counter,
        Made::Last | Made::Least | Made::Most | Made::Sum | Made::Mean => values == Values::Gauge,
        Made::Percentile(_) | Made::Values => values == Values::Histogram,
        Made::Share => values == Values::Flag,
        Made::Distinct => values != Values::Histogram,
        Made::Rows => true,
    }
}

fn of_values(values: Values) -> &'static str {
    match values {
        Values::Counter => "a counter: it has d and r",
        Values::Gauge => "a gauge: it has last, min, max, sum, avg",
        Values::Histogram => "a histogram: it has p50, p95, p99, values",
        Values::Text => "a text: it has distinct",
        Values::Flag => "true or false: it has share and distinct",
    }
}

fn size(expr: &Expr) -> usize {
    1 + match expr {
        Expr::Whole(inner) | Expr::Absent(inner) | Expr::Unary(_, inner) => size(inner),
        Expr::Either(_, both) | Expr::Binary(_, both) => size(&both.0) + size(&both.1),
        _ => 0,
    }
}
