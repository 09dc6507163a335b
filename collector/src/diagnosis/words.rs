//! What a diagnosis says, in the languages that the page has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::judge::Found;
use super::scene::Scene;
use super::statement::{Cause, Number, Statement, Verdict};

/// A language of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Of its code; English for others.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "zh" => Self::Chinese,
            _ => Self::English,
        }
    }

    const fn of(self, [english, chinese]: [&'static str; 2]) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// A sentence in each language, with names in braces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    en: String,
    zh: String,
}

/// Sentences by cause, and by what they say of it.
type Words = BTreeMap<Cause, BTreeMap<String, Said>>;

static WORDS: LazyLock<Words> =
    LazyLock::new(|| toml::from_str(include_str!("words.toml")).expect("a test reads them"));

pub(super) fn statement(scene: &Scene, found: Found, language: Language) -> Statement {
    let text = sentence(scene, &found, language);
    let shows = found.verdict < Verdict::Unknown;
    let next = said(&found, "next", language).filter(|_| shows);
    Statement {
        cause: found.cause,
        verdict: found.verdict,
        text,
        next: next.map(|next| fill(scene, &found, next)),
        numbers: found.numbers,
    }
}

pub(super) fn headline(scene: &Scene, found: &[Found], language: Language) -> String {
    match found.first() {
        Some(first) if first.verdict == Verdict::Likely => sentence(scene, first, language),
        Some(first) if first.verdict == Verdict::Possible => language
            .of([
                "Nothing that was measured is clearly wrong; see what is possible.",
                "已测量的指标没有明显异常；请查看可能的原因。",
            ])
            .to_owned(),
        _ if found.iter().any(|one| one.verdict == Verdict::Unknown) => language
            .of([
                "Nothing that was measured is wrong; some causes nobody can judge.",
                "已测量的指标均正常；部分原因无法判断。",
            ])
            .to_owned(),
        _ => language.of(["Nothing is wrong.", "一切正常。"]).to_owned(),
    }
}

fn sentence(scene: &Scene, found: &Found, language: Language) -> String {
    let what = match found.verdict {
        Verdict::Likely | Verdict::Possible => "shown",
        Verdict::RuledOut => "ruled_out",
        Verdict::Unknown => "unknown",
    };
    let template = said(found, what, language);
    fill(scene, found, template.expect("tests ask for each sentence"))
}

/// What is said of a cause, in the form that its finding has.
fn said(found: &Found, what: &str, language: Language) -> Option<&'static str> {
    let of = WORDS.get(&found.cause)?;
    let said = of.get(&format!("{what}_{}", found.form));
    let said = said.or_else(|| of.get(what))?;
    Some(match language {
        Language::English => &said.en,
        Language::Chinese => &said.zh,
    })
}

/// A template with its names in place. What a name holds is not looked at again.
fn fill(scene: &Scene, found: &Found, template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(&value(scene, found, name));
        rest = behind;
    }
    text.push_str(rest);
    text
}

fn value(scene: &Scene, found: &Found, name: &str) -> String {
    match name {
        "client" => return scene.ends[0].name.clone(),
        "server" => return scene.ends[1].name.clone(),
        "endpoint" => return scene.edge.server_endpoint.clone(),
        _ => {}
    }
    if let Some((_, value)) = found.names.iter().find(|(known, _)| *known == name) {
        return value.clone();
    }
    let number = found.numbers.iter().find(|number| number.name == name);
    number.map_or_else(|| "?".to_owned(), with_unit)
}

/// Bytes.
const MIB: f64 = 1024.0 * 1024.0;

fn with_unit(number: &Number) -> String {
    let shown = |value: f64| match number.unit.as_str() {
        "us" if value >= 1e6 => format!("{:.1} s", value / 1e6),
        "us" if value >= 1e3 => format!("{:.1} ms", value / 1e3),
        "us" => format!("{value:.0} us"),
        "%" => format!("{value:.2}%"),
        "By" if value >= MIB => format!("{:.1} MiB", value / MIB),
        "By" => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{value:.0}"),
    };
    match (number.value, number.usual) {
        (Some(value), Some(usual)) => format!("{} (before: {})", shown(value), shown(usual)),
        (Some(value), None) => shown(value),
        (None, _) => "?".to_owned(),
    }
}
