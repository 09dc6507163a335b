//! A family has one name in every layer, so that one search shows all of it.
//!
//! Probe families are made by a BPF program and end in trials.

use crate::{Finding, Tree};

/// The layer that makes a name a probe family: a folder with an object of its own name.
const PROGRAMS: &str = "bpf/families/*/";

/// What the programs of all families share, and where families are listed.
const CORE: &str = "bpf/core/";
const REGISTRY: &str = "bpf/families/registry.h";

/// Where its records are folded.
const AGGREGATE: &str = "agent/src/family/*/aggregate.rs";

/// Where its numbers are compared with what other programs counted.
const TRIALS: &str = "tests/e2e/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = probes(tree);
    findings.extend(includes(tree));
    findings
}

fn probes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(family) = folder(&file.path, PROGRAMS) else {
            continue;
        };
        let object = format!("bpf/families/{family}/{family}.bpf.c");
        if file.path != object {
            if !tree.has(&object) {
                findings.push(file.finding(0, format!("family {family} lacks {object}")));
            }
            continue;
        }
        let listed = format!("F({})", family.to_ascii_uppercase());
        if !tree
            .file(REGISTRY)
            .is_some_and(|file| file.text.contains(&listed))
        {
            findings.push(file.finding(0, format!("{REGISTRY} does not list family {family}")));
        }
        let aggregate = AGGREGATE.replace('*', family);
        if !tree.has(&aggregate) && !tree.has(aggregate.trim_end_matches(".rs")) {
            findings.push(file.finding(0, format!("family {family} lacks {aggregate}")));
        }
        // Trials are about one promise each, so a family names itself in the header of some.
        let header = format!("//! Family `{family}`");
        let tried = |other: &crate::File| {
            other.path.starts_with(TRIALS) && other.text.lines().any(|l| l.starts_with(&header))
        };
        if !tree.files.iter().any(tried) {
            let message =
                format!("no file in {TRIALS} says {header:?}: family {family} is untried");
            findings.push(file.finding(0, message));
        }
    }
    findings
}

/// What all share knows no family, and no family knows another one; only the list knows all.
fn includes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let own = folder(&file.path, PROGRAMS);
        if own.is_none() && !file.path.starts_with(CORE) {
            continue;
        }
        for (at, line) in file.lines() {
            let included = line.strip_prefix("#include \"families/");
            let Some((other, _)) = included.and_then(|path| path.split_once('/')) else {
                continue;
            };
            if own != Some(other) {
                findings.push(file.finding(at, format!("family {other} is of no concern to it")));
            }
        }
    }
    findings
}

/// The folder that stands for `*` in `path`, when that is in it.
fn folder<'a>(path: &'a str, pattern: &str) -> Option<&'a str> {
    let (before, after) = pattern.split_once('*')?;
    let rest = path.strip_prefix(before)?;
    Some(&rest[..rest.find(after)?])
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tree;

    #[test]
    fn a_probe_family_that_lacks_a_layer_is_found() {
        let found = check(&tree(&[
            ("agent/src/family/connection/aggregate.rs", ""),
            ("bpf/families/connection/connection.bpf.c", ""),
            ("bpf/families/connection/path.bpf.h", ""),
            ("bpf/families/process/process.bpf.c", ""),
            ("bpf/families/other/other.bpf.h", ""),
            (
                "bpf/families/registry.h",
                "#include \"families/connection/counters.h\"\n\
                 #define WB_FAMILIES(F) F(CONNECTION)\n",
            ),
            (
                "tests/e2e/numbers.rs",
                "//! Numbers.\n//! Family `connection`: counters.\n",
            ),
        ]));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        let process = "bpf/families/process/process.bpf.c";
        assert_eq!(
            paths,
            [process, process, process, "bpf/families/other/other.bpf.h"]
        );
    }

    #[test]
    fn what_all_share_that_knows_a_family_is_found_and_a_family_that_knows_another() {
        let found = check(&tree(&[
            (
                "bpf/core/emit.bpf.h",
                "#include \"abi.h\"\n#include \"families/a/abi.h\"\n",
            ),
            ("bpf/core/abi.h", "#include \"families/registry.h\"\n"),
            (
                "bpf/families/a/a.bpf.c",
                "#include \"families/a/abi.h\"\n#include \"families/b/abi.h\"\n",
            ),
        ]));
        let places: Vec<_> = found
            .iter()
            .filter(|finding| finding.message.contains("of no concern"))
            .map(|finding| (finding.path.as_str(), finding.line))
            .collect();
        assert_eq!(
            places,
            [("bpf/core/emit.bpf.h", 2), ("bpf/families/a/a.bpf.c", 2)]
        );
    }
}
