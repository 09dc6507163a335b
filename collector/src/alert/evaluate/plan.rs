//! What all rules together read, and which of them share their groups.

use std::sync::Arc;

use crate::alert::rule::expr::{Aggregate, Expr};
use crate::alert::rule::source::{DECLARED, Source};
use crate::alert::rule::{By, Rule, Rules};

/// Rows of a source and a window, with the columns that rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Of what.
    pub source: Source,
    /// How much time, milliseconds.
    pub window_ms: i64,
    /// Names of columns, in the order of the cells of rows.
    pub columns: Vec<String>,
    /// Whether a rule asks what is usual of it.
    pub usual: bool,
    /// Whether its rules ask what edges are by the declared matrix.
    pub declared: bool,
}

/// Groups that several rules share.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) input: usize,
    pub(super) by: By,
    /// Of which rows, with the limits that it was made with.
    pub(super) rows: Option<(Expr, Vec<f64>)>,
    /// Cells that make the whole.
    pub(super) within: Vec<usize>,
    /// Cells of the columns by which it groups.
    pub(super) labels: Vec<(String, usize)>,
    /// Numbers, and the cells that they are made of.
    pub(super) aggregates: Vec<(Aggregate, usize)>,
}

/// A rule among others.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) rule: Arc<Rule>,
    pub(super) fold: usize,
    /// The places of its numbers among those of the groups.
    pub(super) numbers: Vec<usize>,
    pub(super) limits: Vec<f64>,
    /// Whether it is about what is declared.
    pub(super) declared: bool,
}

/// What all rules together read.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) inputs: Vec<Input>,
    pub(super) folds: Vec<Fold>,
    pub(super) rules: Vec<Judged>,
}

impl Plan {
    /// Of those rules that are on.
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        let mut plan = Self::default();
        for rule in rules.iter().filter(|rule| rule.enabled) {
            plan.add(rule);
        }
        plan
    }

    /// What is to be read.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Rules that are judged.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    fn add(&mut self, rule: &Arc<Rule>) {
        let input = self.input(rule);
        let limits: Vec<f64> = rule.limits.iter().map(|limit| limit.value).collect();
        let labels: Vec<(String, usize)> = labels(rule)
            .into_iter()
            .map(|name| (name.clone(), self.column(input, &name)))
            .collect();
        let within = rule
            .within
            .iter()
            .map(|name| self.column(input, name))
            .collect();
        let mut used = Vec::new();
        if let Some(rows) = &rule.rows {
            columns(rows, &mut used);
        }
        for name in used {
            self.column(input, name);
        }
        let rows = rule.rows.clone().map(|rows| (rows, limits.clone()));
        let wanted = Fold {
            input,
            by: rule.by.clone(),
            rows,
            within,
            labels,
            aggregates: Vec::new(),
        };
        let is_same = |known: &&Fold| {
            (known.input, &known.by, &known.rows, &known.within)
                == (wanted.input, &wanted.by, &wanted.rows, &wanted.within)
        };
        let fold = self.folds.iter().position(|known| is_same(&known));
        let fold = fold.unwrap_or(self.folds.len());
        if fold == self.folds.len() {
            self.folds.push(wanted);
        }
        let numbers = rule.aggregates.iter().map(|one| {
            let cell = match one.column.is_empty() {
                true => 0,
                false => self.column(input, &one.column),
            };
            let known = &mut self.folds[fold].aggregates;
            let at = known.iter().position(|(other, _)| other == one);
            at.unwrap_or_else(|| {
                known.push((one.clone(), cell));
                known.len() - 1
            })
        });
        let numbers = numbers.collect();
        self.rules.push(Judged {
            rule: Arc::clone(rule),
            fold,
            numbers,
            limits,
            declared: self.inputs[input].declared,
        });
    }

    fn input(&mut self, rule: &Rule) -> usize {
        let declared = asks_declared(rule);
        let wanted = (&rule.source, rule.window_ms, declared);
        let is_it = |input: &Input| (&input.source, input.window_ms, input.declared) == wanted;
        let at = self
            .inputs
            .iter()
            .position(is_it)
            .unwrap_or(self.inputs.len());
        if at == self.inputs.len() {
            self.inputs.push(Input {
                source: rule.source.clone(),
                window_ms: rule.window_ms,
                columns: Vec::new(),
                usual: false,
                declared,
            });
        }
        self.inputs[at].usual |= !rule.usuals.is_empty();
        at
    }

    /// The cell of a column.
    fn column(&mut self, input: usize, name: &str) -> usize {
        let known = &mut self.inputs[input].columns;
        let at = known.iter().position(|column| column == name);
        at.unwrap_or_else(|| {
            known.push(String::from(name));
            known.len() - 1
        })
    }
}

/// Whether a rule asks what edges are by the declared matrix.
fn asks_declared(rule: &Rule) -> bool {
    let mut used: Vec<&str> = rule.within.iter().map(String::as_str).collect();
    if let Some(rows) = &rule.rows {
        columns(rows, &mut used);
    }
    used.extend(rule.aggregates.iter().map(|one| one.column.as_str()));
    rule.source == Source::Edge
        && (rule.by == By::Subject("flow") || used.iter().any(|name| DECLARED.contains(name)))
}

/// The columns by which a rule groups, beside those that every row has.
fn labels(rule: &Rule) -> Vec<String> {
    match (&rule.by, &rule.source) {
        (By::Columns(names), _) => names.clone(),
        (By::Subject("row"), Source::Table(table)) => {
            let table = wire::tables()
                .into_iter()
                .find(|known| known.name == *table);
            let columns = table.into_iter().flat_map(|table| &table.columns);
            // Numbers of processes and namespaces mean nothing to people; the service does.
            let means = |name: &str| !matches!(name, "total" | "absent" | "process_id" | "netns");
            let key = |column: &&wire::schema::Column| {
                use wire::schema::Kind;
                matches!(column.kind, Kind::Dimension | Kind::Address) && means(&column.name)
            };
            columns
                .filter(key)
                .map(|column| column.name.clone())
                .collect()
        }
        _ => Vec::new(),
    }
}

fn columns<'e>(expr: &'e Expr, found: &mut Vec<&'e str>) {
    match expr {
        Expr::Column(name, _) => found.push(name),
        Expr::Whole(inner) | Expr::Absent(inner) | Expr::Unary(_, inner) => columns(inner, found),
        Expr::Either(_, both) | Expr::Binary(_, both) => {
            columns(&both.0, found);
            columns(&both.1, found);
        }
        _ => {}
    }
}
