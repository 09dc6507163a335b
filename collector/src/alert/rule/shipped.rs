//! The rules that come with the program.

use super::{Rule, read};

/// Their files.
pub(super) const FILES: [(&str, &str); 1] =
    [("edge.toml", include_str!("../../../rules/edge.toml"))];

/// The rules that come with the program.
///
/// # Panics
/// Where one of them cannot be read, which a test would have found.
#[must_use]
pub fn shipped() -> Vec<Rule> {
    let mut all = Vec::new();
    for (file, text) in FILES {
        let read = read::read(file, text).expect("a test reads them all");
        all.extend(read.rules.into_iter().map(|rule| Rule {
            shipped: true,
            ..rule
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FILES, shipped};
    use crate::alert::rule::{Rules, cases, read};

    #[test]
    fn every_file_can_be_read() {
        for (file, text) in FILES {
            if let Err(mistakes) = read::read(file, text) {
                panic!("{mistakes}");
            }
        }
    }

    #[test]
    fn each_fires_once_where_it_should_and_not_where_it_should_not() {
        let rules = shipped();
        let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names.len(), rules.len(), "a name comes twice");
        for rule in &rules {
            let name = &rule.name;
            assert!(
                rule.cases.iter().any(|case| case.fires.is_some()),
                "{name}: no test fires"
            );
            assert!(
                rule.cases.iter().any(|case| case.fires.is_none()),
                "{name}: each test fires"
            );
            let of = |severity| rule.cases.iter().any(|case| case.fires == Some(severity));
            if rule.critical.is_some() {
                assert!(
                    of(crate::alert::Severity::Critical),
                    "{name}: no test is critical"
                );
            }
            if rule.warning.is_some() {
                assert!(of(crate::alert::Severity::Warning), "{name}: no test warns");
            }
        }
        let rules = Rules::of(rules);
        if let Err(wrong) = cases::run(rules.iter()) {
            panic!("{}", wrong.join("\n"));
        }
    }
}
