//! The fields of a rule that are no expressions.

use std::collections::BTreeMap;

use toml::Spanned;

use super::cases::Case;
use super::definition::{By, Limit};
use super::expr::Type;
use super::parse::{self, What};
use super::raw;
use super::read::Reading;
use super::source::Source;
use super::unit::{self, Unit};
use super::words::{Texts, places};

/// Names that every summary may have.
const NAMES: [&str; 13] = [
    "value", "usual", "spread", "window", "subject", "client", "server", "endpoint", "host",
    "service", "address", "through", "severity",
];

impl Reading<'_> {
    pub(super) fn limits(
        &mut self,
        limits: &BTreeMap<String, Spanned<toml::Value>>,
    ) -> Vec<(Limit, Type)> {
        let mut found = Vec::new();
        for (name, value) in limits {
            let text = match value.get_ref() {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                _ => String::new(),
            };
            let number = match parse::parse(&text).map(|node| node.what) {
                Ok(What::Number(value, unit)) => Some((value, unit)),
                _ => None,
            };
            let Some((number, unit)) = number else {
                let why =
                    "a limit is a number, or a text such as \"5 %\", \"200 ms\", \"10 MiB/s\"";
                self.say(value.span().start, why);
                continue;
            };
            let of = match number == 0.0 {
                true => Type::Zero,
                false => Type::Number(unit),
            };
            let limit = Limit {
                name: name.clone(),
                value: number,
                text,
            };
            found.push((limit, of));
        }
        found
    }

    pub(super) fn by(&mut self, source: &Source, by: Option<&Spanned<raw::OneOrMore>>) -> By {
        let subjects = source.subjects();
        let Some(by) = by else {
            return By::Subject(subjects[0]);
        };
        let list = by.get_ref().list();
        if let [one] = &list[..]
            && let Some(subject) = subjects.iter().find(|subject| *subject == one)
        {
            return By::Subject(subject);
        }
        if !matches!(source, Source::Table(_)) {
            let why = format!(
                "{} is grouped by one of {}",
                source.name(),
                subjects.join(", ")
            );
            self.say(by.span().start, &why);
        }
        for name in &list {
            if source.column(name).is_none() {
                self.say(by.span().start, &source.unknown(name));
            }
        }
        By::Columns(list)
    }

    pub(super) fn within(
        &mut self,
        source: &Source,
        within: Option<&Spanned<raw::OneOrMore>>,
    ) -> Vec<String> {
        let Some(within) = within else {
            return Vec::new();
        };
        let list = within.get_ref().list();
        for name in &list {
            if source.column(name).is_none() {
                self.say(within.span().start, &source.unknown(name));
            }
        }
        list
    }

    pub(super) fn duration(&mut self, text: Option<&Spanned<String>>, or_ms: i64) -> i64 {
        let Some(text) = text else { return or_ms };
        match notation::parse_duration(text.get_ref()) {
            Some(found) => crate::time::whole_ms(found),
            None => {
                self.say(
                    text.span().start,
                    &format!("expected {}", notation::A_DURATION),
                );
                or_ms
            }
        }
    }

    pub(super) fn unit(&mut self, written: Option<&Spanned<String>>, of: Unit) -> (Unit, String) {
        let Some(written) = written else {
            return (of, String::new());
        };
        match unit::parse(written.get_ref()) {
            Some((unit, _)) if unit == of => {}
            Some((unit, _)) => {
                let why = format!("the value is {of}, and its unit is that of {unit}");
                self.say(written.span().start, &why);
            }
            None => self.say(written.span().start, "no unit that is known"),
        }
        (of, written.get_ref().clone())
    }

    pub(super) fn texts(
        &mut self,
        raw: &raw::Texts,
        numbers: &[&str],
        limits: &[(String, Type)],
    ) -> Texts {
        let at = raw.summary.span().start;
        match places(raw.summary.get_ref()) {
            Err(why) => self.say(at, &why),
            Ok(found) => {
                for (name, form) in found {
                    let limit = name.strip_prefix("limit.");
                    let is_known = NAMES.contains(&name)
                        || numbers.contains(&name)
                        || name.starts_with("label.")
                        || limit
                            .is_some_and(|limit| limits.iter().any(|(known, _)| known == limit));
                    if !is_known {
                        let why = format!(
                            "{{{name}}} is not known here; there are {}, label.COLUMN, limit.NAME and \
                             the rule's numbers",
                            NAMES.join(", ")
                        );
                        self.say(at, &why);
                    }
                    if form.is_some_and(|form| form != "%" && !form.contains('|')) {
                        let why = "behind the colon stands %, or a word for one and one for many, \
                                   as in client|clients";
                        self.say(at, why);
                    }
                }
            }
        }
        if raw.meaning.is_empty() || raw.next.is_empty() || raw.causes.is_empty() {
            self.say(at, "meaning, causes and next may not be empty");
        }
        Texts {
            summary: raw.summary.get_ref().clone(),
            meaning: raw.meaning.clone(),
            causes: raw.causes.clone(),
            next: raw.next.clone(),
        }
    }

    pub(super) fn missing(&mut self, text: Option<&Spanned<String>>) -> bool {
        match text {
            None => false,
            Some(text) if text.get_ref() == "zero" => true,
            Some(text) => {
                self.say(text.span().start, "missing is \"zero\", or is left out");
                false
            }
        }
    }

    pub(super) fn days(&mut self, days: Option<&Spanned<i64>>) -> u32 {
        let Some(days) = days else { return 3 };
        match u32::try_from(*days.get_ref()) {
            Ok(days) if (1..=7).contains(&days) => days,
            _ => {
                self.say(days.span().start, "expected 1 to 7 days");
                3
            }
        }
    }

    pub(super) fn cases(&mut self, source: &Source, raw: Vec<Spanned<raw::Case>>) -> Vec<Case> {
        let mut cases = Vec::new();
        for case in raw {
            let at = case.span().start;
            match Case::of(source, case.into_inner()) {
                Ok(case) => cases.push(case),
                Err(why) => self.say(at, &why),
            }
        }
        cases
    }
}
