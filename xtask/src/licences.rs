//! The licences and sources of all dependencies, against `deny.toml`; needs no network.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{child, stage, workspace};

/// Fails when a dependency has a licence that `deny.toml` does not allow, none, or comes from
/// anywhere but a registry or this workspace.
///
/// # Errors
/// As said, and when cargo or `deny.toml` cannot be read.
pub(crate) fn check() -> Result<()> {
    let path = workspace::root().join("deny.toml");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let policy = Policy::parse(&text).context("read deny.toml")?;
    let metadata = child::output(&mut child::cargo(&[
        "metadata",
        "--locked",
        "--format-version",
        "1",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let breaches: Vec<String> = packages.iter().filter_map(|p| policy.breach(p)).collect();
    for breach in &breaches {
        stage::say(breach)?;
    }
    if !breaches.is_empty() {
        bail!("{} dependencies break deny.toml", breaches.len());
    }
    stage::say(&format!("{} packages, all allowed", packages.len()))
}

/// What `[licenses]` of `deny.toml` says.
struct Policy {
    allow: BTreeSet<String>,
    /// Crate name and a licence that it alone may have.
    exceptions: BTreeSet<(String, String)>,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let file: toml::Table = toml::from_str(text)?;
        let licences = file.get("licenses").context("no [licenses]")?;
        let allow = strings(licences.get("allow")).context("licenses.allow")?;
        let mut exceptions = BTreeSet::new();
        let listed = licences.get("exceptions").and_then(toml::Value::as_array);
        for entry in listed.into_iter().flatten() {
            let name = entry
                .get("crate")
                .and_then(toml::Value::as_str)
                .context("licenses.exceptions: an entry without crate")?;
            for licence in strings(entry.get("allow")).context("licenses.exceptions.allow")? {
                exceptions.insert((name.to_owned(), licence));
            }
        }
        Ok(Self {
            allow: allow.into_iter().collect(),
            exceptions,
        })
    }

    /// What is wrong with one package of cargo's metadata.
    fn breach(&self, package: &Value) -> Option<String> {
        let name = package["name"].as_str().unwrap_or_default();
        let id = format!("{name} {}", package["version"].as_str().unwrap_or_default());
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            return Some(format!("{id}: comes from {source}, not from a registry"));
        }
        let Some(expression) = package["license"].as_str() else {
            return Some(format!("{id}: names no licence"));
        };
        let allowed = |licence: &str| {
            self.allow.contains(licence)
                || self
                    .exceptions
                    .contains(&(name.to_owned(), licence.to_owned()))
        };
        (!satisfied(expression, &allowed)).then(|| format!("{id}: {expression} is not allowed"))
    }
}

fn strings(value: Option<&toml::Value>) -> Option<Vec<String>> {
    value?
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Whether an SPDX expression can be met with allowed licences alone.
///
/// `/` is the older way to write `OR`. Anything malformed is not satisfied.
fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    words.peek().is_none() && met.unwrap_or(false)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `a OR b OR ...`; `None` when malformed.
fn any_of(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed)?;
    }
    Some(met)
}

/// `a AND b AND ...`, which binds more tightly than `OR`.
fn all_of(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Some(met)
}

/// One licence, with its exception if it has one, or an expression in parentheses.
fn one(words: &mut Words<'_>, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let met = any_of(words, allowed)?;
        return words.next_if_eq(&")").map(|_| met);
    }
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next()?;
        return Some(allowed(&format!("{word} WITH {exception}")));
    }
    Some(allowed(word))
}

#[cfg(test)]
mod tests {
    use super::{Policy, satisfied};
    use serde_json::json;

    fn mit_or_isc(licence: &str) -> bool {
        licence == "MIT" || licence == "ISC" || licence == "GPL-2.0 WITH Linux-syscall-note"
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(satisfied("GPL-3.0 OR MIT", &mit_or_isc));
        assert!(satisfied("MIT/Apache-2.0", &mit_or_isc));
        assert!(!satisfied("GPL-3.0 OR Apache-2.0", &mit_or_isc));
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        assert!(satisfied("(MIT OR GPL-3.0) AND ISC", &mit_or_isc));
        assert!(!satisfied("MIT AND GPL-3.0", &mit_or_isc));
        assert!(!satisfied("GPL-3.0 AND (MIT OR ISC)", &mit_or_isc));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert!(satisfied("GPL-2.0 WITH Linux-syscall-note", &mit_or_isc));
        assert!(!satisfied("MIT WITH Something", &mit_or_isc));
    }

    #[test]
    fn a_malformed_expression_is_refused() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "OR"] {
            assert!(!satisfied(expression, &mit_or_isc), "{expression}");
        }
    }

    #[test]
    fn an_exception_in_the_file_holds_for_its_crate_only() {
        let policy = Policy::parse(
            "[licenses]\nallow = [\"MIT\"]\nexceptions = [{ crate = \"a\", allow = [\"ODD\"] }]",
        )
        .expect("valid");
        let package = |name: &str| json!({"name": name, "version": "1", "license": "ODD"});
        assert_eq!(policy.breach(&package("a")), None);
        assert!(policy.breach(&package("b")).is_some());
    }

    #[test]
    fn a_package_without_licence_or_from_elsewhere_is_a_breach() {
        let policy = Policy::parse("[licenses]\nallow = [\"MIT\"]").expect("valid");
        assert!(
            policy
                .breach(&json!({"name": "a", "version": "1"}))
                .is_some()
        );
        let git = json!({"name": "a", "version": "1", "license": "MIT", "source": "git+x"});
        assert!(policy.breach(&git).is_some());
    }
}
