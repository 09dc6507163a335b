//! From the text of a file to rules, with every mistake in it.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::change::Changed;
use super::check::Checker;
use super::definition::{By, Limit, Rule, Shown};
use super::expr::{Aggregate, Expr, Type};
use super::parse::{self, Mistake};
use super::raw::{self, Change};
use super::source::Source;
use super::unit::Unit;
use super::words::Texts;
use crate::alert::finding::{RuleName, Terms};

/// Most bytes of a file of rules.
pub const MAX_BYTES: usize = 1 << 20;
/// Most rules of a file.
const MAX_RULES: usize = 500;
/// Longest window.
const MOST_WINDOW_MS: i64 = 3_600_000;
/// Window where none is given.
const WINDOW_MS: i64 = 300_000;

/// Everything that is wrong in a file: one line each, with file, line and column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A file of rules.
#[derive(Debug, Default)]
pub struct Read {
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What it changes of other rules.
    pub changes: Vec<Changed>,
}

/// Reads a file; `file` is its name for messages.
///
/// # Errors
/// All mistakes.
pub fn read(file: &str, text: &str) -> Result<Read, Mistakes> {
    let mut reading = Reading {
        file,
        text,
        said: Vec::new(),
    };
    let found = reading.file();
    match reading.said.is_empty() {
        true => Ok(found),
        false => Err(Mistakes(reading.said)),
    }
}

/// Expressions of a rule.
struct Computed {
    rows: Option<Expr>,
    numbers: Vec<(String, Expr, Unit)>,
    value: Expr,
    unit: (Unit, String),
    only_where: Option<Expr>,
    warning: Option<Expr>,
    critical: Option<Expr>,
    aggregates: Vec<Aggregate>,
    usuals: Vec<Expr>,
}

/// A rule for people.
fn shown(raw: &raw::Rule, source: &Source, by: &By) -> Shown {
    let text = |text: &Option<Spanned<String>>| {
        let text = text.as_ref();
        text.map_or_else(String::new, |text| text.get_ref().clone())
    };
    let family = match &raw.family {
        Some(family) => family.get_ref().clone(),
        None => String::from(source.family()),
    };
    Shown {
        family,
        of: String::from(source.name()),
        by: by.shown(),
        rows: text(&raw.rows),
        only_where: text(&raw.only_where),
        value: raw.value.get_ref().clone(),
        warning: text(&raw.warning),
        critical: text(&raw.critical),
    }
}

pub(super) struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    said: Vec<String>,
}

impl Reading<'_> {
    pub(super) fn say(&mut self, at: usize, why: &str) {
        let line = format!("{}: {}", self.place(at), why.trim().replace('\n', ", "));
        if !self.said.contains(&line) {
            self.said.push(line);
        }
    }

    /// File, line and column.
    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before
            .rsplit('\n')
            .next()
            .map_or(0, |text| text.chars().count());
        format!("{}:{line}:{column}", self.file)
    }

    fn file(&mut self) -> Read {
        let mut found = Read::default();
        if self.text.len() > MAX_BYTES {
            self.say(0, &format!("more than {MAX_BYTES} bytes"));
            return found;
        }
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.say(error.span().map_or(0, |span| span.start), error.message());
        }
        if !errors.is_empty() {
            return found;
        }
        for (key, value) in document.into_inner() {
            let at = key.span().start;
            match (key.get_ref().as_ref(), value.into_inner()) {
                ("rule", DeValue::Array(rules)) => {
                    for (n, rule) in rules.into_iter().enumerate() {
                        let at = rule.span().start;
                        match rule.into_inner() {
                            _ if n >= MAX_RULES => {
                                self.say(at, &format!("more than {MAX_RULES} rules in a file"));
                                break;
                            }
                            DeValue::Table(rule) => found.rules.extend(self.rule(rule, at)),
                            _ => self.say(at, "a rule is a table: [[rule]]"),
                        }
                    }
                }
                ("change", DeValue::Table(changes)) => {
                    for (name, change) in changes {
                        let at = name.span().start;
                        let name = name.into_inner().into_owned();
                        match change.into_inner() {
                            DeValue::Table(change) => {
                                found.changes.extend(self.change(&name, change, at));
                            }
                            _ => self.say(at, "a change is a table: [change.NAME]"),
                        }
                    }
                }
                (other, _) => {
                    let why = format!("no {other:?} here; there are [[rule]] and [change.NAME]");
                    self.say(at, &why);
                }
            }
        }
        self.twice(&found.rules);
        found
    }

    fn twice(&mut self, rules: &[Rule]) {
        for (at, rule) in rules.iter().enumerate() {
            if rules[..at].iter().any(|other| other.name == rule.name) {
                self.say(0, &format!("rule {} comes twice", rule.name));
            }
        }
    }

    /// A table as what it should be; each key that cannot be read is told and taken out.
    fn table<T: for<'de> Deserialize<'de>>(
        &mut self,
        mut table: DeTable<'_>,
        at: usize,
    ) -> Option<T> {
        let mut gone: Vec<String> = Vec::new();
        loop {
            let document = toml::Deserializer::from(Spanned::new(0..0, table.clone()));
            let error = match T::deserialize(document) {
                // What was taken out has been told, and so will be what else is wrong.
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().filter(|span| *span != (0..0));
            let place = span.as_ref().map_or(at, |span| span.start);
            let follows = gone
                .iter()
                .any(|key| error.message().contains(&format!("`{key}`")));
            if !follows {
                self.say(place, error.message());
            }
            let taken = span.and_then(|span| program::problems::take_out(&mut table, span.start));
            match taken {
                Some(key) => gone.push(key.rsplit('.').next().unwrap_or(&key).to_owned()),
                None => return None,
            }
        }
    }

    fn rule(&mut self, table: DeTable<'_>, at: usize) -> Option<Rule> {
        let raw: raw::Rule = self.table(table, at)?;
        let before = self.said.len();
        let name = self.name(&raw.name);
        let source = match Source::of(raw.of.get_ref()) {
            Ok(source) => source,
            Err(why) => {
                self.say(raw.of.span().start, &why);
                return None;
            }
        };
        let limits = self.limits(&raw.limits);
        let named = |(limit, of): &(Limit, Type)| (limit.name.clone(), *of);
        let types: Vec<(String, Type)> = limits.iter().map(named).collect();
        let by = self.by(&source, raw.by.as_ref());
        let within = self.within(&source, raw.within.as_ref());
        let checker = Checker::new(&source, &types, !within.is_empty());
        let computed = self.computed(&raw, checker, at);
        let window_ms = self.window(raw.window.as_ref(), at);
        let terms = Terms {
            for_ms: self.duration(raw.hold.as_ref(), 0),
            keep_for_ms: self.duration(raw.keep_for.as_ref(), WINDOW_MS),
        };
        let missing_is_zero = self.missing(raw.missing.as_ref());
        let days = self.days(raw.days.as_ref());
        let text = shown(&raw, &source, &by);
        let words = self.words(&raw, &types);
        let enabled = raw.enable.unwrap_or(true);
        let cases = self.cases(&source, raw.test);
        let computed = computed.filter(|_| self.said.len() == before)?;
        Some(Rule {
            name: name?,
            source,
            by,
            rows: computed.rows,
            within,
            window_ms,
            terms,
            aggregates: computed.aggregates,
            usual: computed
                .usuals
                .iter()
                .position(|expr| *expr == computed.value),
            usuals: computed.usuals,
            days,
            missing_is_zero,
            limits: limits.into_iter().map(|(limit, _)| limit).collect(),
            only_where: computed.only_where,
            value: computed.value,
            unit: computed.unit,
            warning: computed.warning,
            critical: computed.critical,
            numbers: computed.numbers,
            words,
            cases,
            shipped: false,
            enabled,
            text,
        })
    }

    /// Its expressions.
    fn computed(
        &mut self,
        raw: &raw::Rule,
        mut checker: Checker<'_>,
        at: usize,
    ) -> Option<Computed> {
        let rows = raw.rows.as_ref();
        let rows = rows.and_then(|text| self.expr(text, |node| checker.row(node)));
        let mut numbers = Vec::new();
        for (key, text) in &raw.numbers {
            let found = self.expr(text, |node| checker.number(node));
            numbers.push((key.clone(), found));
        }
        // What cannot be read has been told, and stands for whatever fits where it is named.
        let fits = |found: &Option<(Expr, Unit)>| match found {
            Some((expr, unit)) => (expr.clone(), Type::Number(*unit)),
            None => (Expr::Number(0.0), Type::Zero),
        };
        for (key, found) in &numbers {
            let (expr, of) = fits(found);
            checker.define(key, expr, of);
        }
        let value = self.expr(&raw.value, |node| checker.number(node));
        let (expr, of) = fits(&value);
        checker.define("value", expr, of);
        let mut condition = |text: &Option<Spanned<String>>| {
            let text = text.as_ref()?;
            self.expr(text, |node| checker.truth(node))
        };
        let only_where = condition(&raw.only_where);
        let (warning, critical) = (condition(&raw.warning), condition(&raw.critical));
        if raw.warning.is_none() && raw.critical.is_none() {
            let why = "a rule says when it warns, when it is critical, or both";
            self.say(at, why);
        }
        let (value, dims) = value?;
        let known = |(key, found): (String, Option<(Expr, Unit)>)| {
            let (expr, unit) = found?;
            Some((key, expr, unit))
        };
        Some(Computed {
            rows,
            numbers: numbers.into_iter().filter_map(known).collect(),
            value,
            unit: self.unit(raw.unit.as_ref(), dims),
            only_where,
            warning,
            critical,
            aggregates: checker.aggregates,
            usuals: checker.usuals,
        })
    }

    fn window(&mut self, text: Option<&Spanned<String>>, at: usize) -> i64 {
        let window_ms = self.duration(text, WINDOW_MS);
        if !(60_000..=MOST_WINDOW_MS).contains(&window_ms) || window_ms % 60_000 != 0 {
            let at = text.map_or(at, |text| text.span().start);
            self.say(at, "a window is whole minutes, from \"1m\" to \"1h\"");
        }
        window_ms
    }

    /// What it says, in both languages.
    fn words(&mut self, raw: &raw::Rule, limits: &[(String, Type)]) -> [Texts; 2] {
        let names: Vec<&str> = raw.numbers.keys().map(String::as_str).collect();
        if raw.en.causes.len() != raw.zh.causes.len() {
            let why = "as many causes are expected as in English, in the same order";
            self.say(raw.zh.summary.span().start, why);
        }
        [&raw.en, &raw.zh].map(|texts| self.texts(texts, &names, limits))
    }

    fn name(&mut self, name: &Spanned<String>) -> Option<RuleName> {
        let found = RuleName::new(name.get_ref());
        found.map_err(|why| self.say(name.span().start, &why)).ok()
    }

    /// An expression, with mistakes where they stand in the file.
    fn expr<T>(
        &mut self,
        text: &Spanned<String>,
        check: impl FnOnce(&parse::Node) -> Result<T, Mistake>,
    ) -> Option<T> {
        let found = parse::parse(text.get_ref()).and_then(|node| check(&node));
        found
            .map_err(|Mistake { at, why }| {
                let place = self.inside(text, &at);
                self.say(place, &why);
            })
            .ok()
    }

    /// Where bytes of a string stand in the file: behind its quotes, where nothing in it is escaped.
    fn inside(&self, text: &Spanned<String>, at: &Range<usize>) -> usize {
        let span = text.span();
        let written = self.text.get(span.clone()).unwrap_or("");
        match written.find(text.get_ref().as_str()) {
            Some(begin) => span.start + begin + at.start,
            None => span.start,
        }
    }

    fn change(&mut self, name: &str, table: DeTable<'_>, at: usize) -> Option<Changed> {
        let raw: Change = self.table(table, at)?;
        let name = RuleName::new(name).map_err(|why| self.say(at, &why)).ok()?;
        let for_ms = raw.hold.as_ref().map(|text| self.duration(Some(text), 0));
        let keep = raw.keep_for.as_ref();
        let keep_for_ms = keep.map(|text| self.duration(Some(text), 0));
        Some(Changed {
            name,
            enable: raw.enable,
            for_ms,
            keep_for_ms,
            limits: self.limits(&raw.limits),
            place: self.place(at),
        })
    }
}
