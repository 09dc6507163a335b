//! The parameters of a request, checked against those of its operation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::failure::Problem;
use super::parameter::{Kind, Need, Parameter, names};
use crate::query::Asked;
use crate::{escape, time};

/// Longest query of a request, bytes.
const MAX_QUERY: usize = 16 << 10;
/// Characters of a refused text that are shown.
const SHOWN: usize = 60;

/// Parameters that fit their operation, and what came with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, String>,
    body: Arc<[u8]>,
}

/// Name and value of each part of a query, decoded.
///
/// # Errors
/// A query that is too long, or text that is no UTF-8.
pub fn parts(query: &str) -> Result<Vec<(String, String)>, Problem> {
    if query.len() > MAX_QUERY {
        let why = format!(
            "the query has {} bytes; at most {MAX_QUERY} are read",
            query.len()
        );
        return Err(Problem::query(why));
    }
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded = percent_decode_str(&text).decode_utf8();
        decoded.map(String::from).map_err(|_| {
            let shown = escape::shorten(&text, SHOWN);
            Problem::query(format!(
                "{shown}: a parameter that is no UTF-8; encode it as UTF-8"
            ))
        })
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

impl Given {
    /// Checks names and values.
    ///
    /// # Errors
    /// What is unknown, given twice, missing, or cannot be what it is to be.
    pub fn of<N: AsRef<str>>(
        parameters: &'static [&'static [Parameter]],
        given: impl IntoIterator<Item = (N, String)>,
        now_ms: i64,
    ) -> Result<Self, Problem> {
        let all = || parameters.iter().copied().flatten();
        let mut values = BTreeMap::new();
        for (name, value) in given {
            let name = name.as_ref();
            let known = all().find(|known| known.name == name);
            let Some(parameter) = known else {
                let shown = escape::shorten(name, SHOWN);
                let known = names(parameters);
                let why = format!("no parameter {shown:?} here; there are: {known}");
                return Err(Problem::query(why));
            };
            let value = parameter
                .kind
                .check(value, now_ms)
                .map_err(|(value, why)| {
                    let shown = escape::shorten(&value, SHOWN);
                    Problem::query(format!("{name}={shown}: {why}"))
                })?;
            if values.insert(parameter.name, value).is_some() {
                return Err(Problem::query(format!(
                    "{name} is given twice; give it once"
                )));
            }
        }
        let needed = |p: &&Parameter| matches!(p.need, Need::Required | Need::Path);
        for parameter in all().filter(needed) {
            if !values.contains_key(parameter.name) {
                let Parameter { name, help, .. } = parameter;
                return Err(Problem::query(format!("{name} is missing. {help}")));
            }
        }
        for parameter in all() {
            if let Some(default) = parameter.default {
                let value = || String::from(default);
                values.entry(parameter.name).or_insert_with(value);
            }
        }
        let body = Arc::default();
        Ok(Self { values, body })
    }

    /// With the body of the request.
    #[must_use]
    pub fn with_body(self, body: Vec<u8>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The body of the request; empty where there was none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of a parameter.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// That of a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// That of a number that has a default, as a number of things.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let number = self.number(name).unwrap_or(0);
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A duration in milliseconds.
    #[must_use]
    pub fn duration_ms(&self, name: &str) -> Option<i64> {
        notation::parse_duration(self.text(name)?).map(time::whole_ms)
    }

    /// The window that is asked for.
    ///
    /// # Errors
    /// Where it ends before it begins.
    pub fn asked(&self, now_ms: i64) -> Result<Asked, Problem> {
        let number = |name| self.text(name).and_then(|text| text.parse().ok());
        let point = |name, old| number(name).or_else(|| number(old));
        let asked = Asked {
            from_ms: point("from", "from_ms"),
            to_ms: point("to", "to_ms"),
        };
        asked.check_order(now_ms).map_err(Problem::query)?;
        Ok(asked)
    }
}

impl Kind {
    /// The value as [`Given`] keeps it: times as Unix milliseconds.
    ///
    /// # Errors
    /// The value, and what was expected.
    fn check(self, value: String, now_ms: i64) -> Result<String, (String, String)> {
        let checked = match self {
            Self::Time => point(&value, now_ms).map(|ms| ms.to_string()),
            Self::Milliseconds => milliseconds(&value),
            Self::Duration => match notation::parse_duration(&value) {
                Some(duration) if duration >= Duration::from_secs(1) => Ok(value.clone()),
                _ => Err(String::from(
                    "expected a duration of a second or more, such as 30s or 5m",
                )),
            },
            Self::Text(most) if value.len() > most => {
                Err(format!("{} bytes; at most {most} are taken", value.len()))
            }
            Self::Text(_) if value.trim().is_empty() => Err(String::from("expected some text")),
            Self::Text(_) => Ok(value.clone()),
            Self::Number(least, most) => match value.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("expected a whole number from {least} to {most}")),
            },
            Self::Choice(words) if words.contains(&value.as_str()) => Ok(value.clone()),
            Self::Choice(words) => Err(format!("expected one of {}", words.join(", "))),
            Self::Flag if matches!(value.as_str(), "true" | "false") => Ok(value.clone()),
            Self::Flag => Err(String::from("expected true or false")),
        };
        checked.map_err(|why| (value, why))
    }
}

/// A point in time. A plus sign that was not encoded has arrived as a space.
fn point(text: &str, now_ms: i64) -> Result<i64, String> {
    let text = match text.rsplit_once(' ') {
        Some((time, zone)) if time.contains(['T', 't']) => format!("{time}+{zone}"),
        _ => String::from(text),
    };
    time::parse_point(&text, now_ms)
}

fn milliseconds(text: &str) -> Result<String, String> {
    let expected = "expected from_ms and to_ms in Unix milliseconds";
    let ms: i64 = text.parse().map_err(|_| String::from(expected))?;
    time::check_ms(ms)?;
    Ok(ms.to_string())
}
