//! What a rule says, in two languages, with names and numbers in it.

use serde::{Deserialize, Serialize};

use super::unit::{self, Unit};

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// What a rule says in one language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Texts {
    /// A sentence with places for names and numbers.
    pub summary: String,
    /// What it means.
    pub meaning: String,
    /// What is likely, the likeliest first.
    pub causes: Vec<String>,
    /// What to look at next.
    pub next: String,
}

/// What stands in a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Filled {
    /// A name.
    Text(String),
    /// A number, which may not be known.
    Number(Option<f64>, Unit),
}

/// The places of a sentence: names with what is behind a colon.
///
/// # Errors
/// Where a brace has no other.
pub fn places(text: &str) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(['{', '}']) {
        if rest[begin..].starts_with('}') {
            return Err(String::from("a } without its {"));
        }
        let Some(length) = rest[begin..].find('}') else {
            return Err(String::from("a { without its }"));
        };
        let inner = &rest[begin + 1..begin + length];
        found.push(match inner.split_once(':') {
            Some((name, form)) => (name, Some(form)),
            None => (inner, None),
        });
        rest = &rest[begin + length + 1..];
    }
    Ok(found)
}

/// A sentence with names and numbers in its places.
pub fn fill(text: &str, language: Language, find: impl Fn(&str) -> Option<Filled>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, place)) = rest.split_once('{') {
        out.push_str(before);
        let Some((inner, behind)) = place.split_once('}') else {
            break;
        };
        let (name, form) = inner.split_once(':').unwrap_or((inner, ""));
        match find(name) {
            // Names come from hosts: no bound of ours has been asked of them together.
            Some(Filled::Text(text)) => out.push_str(&crate::escape::shorten(&text, 256)),
            Some(Filled::Number(Some(value), _)) if form == "%" => {
                out.push_str(&unit::digits(value * 100.0));
                out.push('%');
            }
            Some(Filled::Number(Some(value), unit)) => {
                out.push_str(&in_language(unit::shown(value, unit), unit, language));
                if let Some((one, many)) = form.split_once('|') {
                    out.push(' ');
                    // As it is written, not as it is: 1.0001 stands there as 1.
                    out.push_str(if unit::digits(value) == "1" {
                        one
                    } else {
                        many
                    });
                }
            }
            Some(Filled::Number(None, _)) | None => out.push_str(match language {
                Language::En => "not known",
                Language::Zh => "未知",
            }),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A time as that language writes its unit.
fn in_language(shown: String, unit: Unit, language: Language) -> String {
    if language == Language::En || unit != Unit::SECOND {
        return shown;
    }
    let Some((number, name)) = shown.split_once(' ') else {
        return shown;
    };
    let name = match name {
        "d" => "天",
        "h" => "小时",
        "min" => "分钟",
        "s" => "秒",
        "ms" => "毫秒",
        _ => "微秒",
    };
    format!("{number} {name}")
}

#[cfg(test)]
mod tests {
    use super::{Filled, Language, fill, places};
    use crate::alert::rule::unit::Unit;

    #[test]
    fn places_are_filled_and_names_are_not_read_again() {
        let find = |name: &str| match name {
            "client" => Some(Filled::Text(String::from("{value}"))),
            "value" => Some(Filled::Number(Some(0.0123), Unit::ONE)),
            "usual" => Some(Filled::Number(None, Unit::ONE)),
            _ => None,
        };
        let text = "{client}: {value:%}, usual {usual}.";
        assert_eq!(
            fill(text, Language::En, find),
            "{value}: 1.23%, usual not known."
        );
        assert_eq!(places(text).expect("places").len(), 3);
        let of = |value, unit, text, language| {
            fill(text, language, |_| Some(Filled::Number(Some(value), unit)))
        };
        let counted = |value| of(value, Unit::ONE, "{n:client|clients}.", Language::En);
        assert_eq!(counted(1.0), "1 client.");
        assert_eq!(
            (counted(0.0), counted(2.0)),
            ("0 clients.".into(), "2 clients.".into())
        );
        assert_eq!(of(300.0, Unit::SECOND, "{t}", Language::En), "5 min");
        assert_eq!(of(300.0, Unit::SECOND, "{t}内", Language::Zh), "5 分钟内");
        assert!(places("a {b").is_err() && places("a } b").is_err());
    }
}
