//! A family has one name in every layer, so that one search shows all of it.

use crate::{Finding, Tree};

/// Where the files of a probe family are, with its name for `*`.
const PROBE_FAMILY: [&str; 3] = [
    "bpf/src/*.bpf.c",
    "agent/src/aggregate/*.rs",
    "tests/e2e/*.rs",
];

/// The layer that makes a name a family.
const FIRST: &str = PROBE_FAMILY[0];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(family) = stem(&file.path, FIRST) else {
            continue;
        };
        for place in &PROBE_FAMILY[1..] {
            let wanted = place.replace('*', family);
            let folder = wanted.trim_end_matches(".rs");
            if tree.file(&wanted).is_none() && tree.file(&format!("{folder}/mod.rs")).is_none() {
                findings.push(file.finding(0, format!("family {family} lacks {wanted}")));
            }
        }
    }
    findings
}

/// What stands for `*` in `path`, when it fits `pattern`.
fn stem<'a>(path: &'a str, pattern: &str) -> Option<&'a str> {
    let (before, after) = pattern.split_once('*')?;
    let stem = path.strip_prefix(before)?.strip_suffix(after)?;
    (!stem.contains('/')).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tree;

    #[test]
    fn a_family_that_lacks_a_layer_is_found() {
        let found = check(&tree(&[
            ("agent/src/aggregate/connection.rs", ""),
            ("bpf/src/connection.bpf.c", ""),
            ("bpf/src/process.bpf.c", ""),
            ("tests/e2e/connection.rs", ""),
        ]));
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|f| f.message.contains("family process lacks"))
        );
    }
}
