//! A family has one name in every layer, so that one search shows all of it.
//!
//! Probe families are made by a BPF program and end in trials.

use std::collections::BTreeSet;

use crate::rust::product_lines;
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

/// Where the agent's families are, and what lists them.
const ROOMS: &str = "agent/src/family/*/";
const LISTS: [&str; 2] = ["agent/src/family/mod.rs", "agent/src/family/registry.rs"];

/// Who may take what from a family beside itself: path, family.
const TAKERS: [(&str, &str); 5] = [
    // Whoever measures something asks who is behind it.
    ("agent/src/family/", "process"),
    // What all families share, and where it is made.
    ("agent/src/family/contract.rs", "host"),
    ("agent/src/startup.rs", "host"),
    ("agent/src/startup.rs", "process"),
    // Tests of all decisions together.
    ("agent/src/family/tests", ""),
];

/// Names every file that a new family consists of, and the family that it was written from.
const GUIDE: &str = "docs/ADDING-A-PROBE.md";
const MODEL: &str = "listener";
/// Stands in it for a family's name.
const PLACE: &str = "FAMILY";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = probes(tree);
    findings.extend(strangers(tree));
    findings.extend(includes(tree));
    findings.extend(guide(tree));
    findings
}

/// The guide names the files of the family that it was written from, all of them and no others, and
/// lists that are there.
fn guide(tree: &Tree) -> Vec<Finding> {
    let Some(guide) = tree.file(GUIDE) else {
        return Vec::new();
    };
    // The first cell of a table's line, where it is a path.
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    let named: Vec<(usize, String)> = guide
        .lines()
        .filter_map(|(at, line)| Some((at, cell(line)?.replace(PLACE, MODEL))))
        .collect();
    let missing = named.iter().filter(|(_, path)| !tree.has(path));
    let mut findings: Vec<_> = missing
        .map(|(at, path)| guide.finding(*at, format!("{path} is not there")))
        .collect();
    let is_of_model = |path: &str| {
        let mut parts = path.split('/');
        parts.any(|part| part == MODEL || part.strip_suffix(".rs") == Some(MODEL))
    };
    for file in tree.files.iter().filter(|file| is_of_model(&file.path)) {
        if !named.iter().any(|(_, path)| *path == file.path) {
            findings.push(file.finding(0, format!("{GUIDE} does not name it")));
        }
    }
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

/// Nothing outside of a family's folder takes anything from it, but who is listed.
fn strangers(tree: &Tree) -> Vec<Finding> {
    let rooms = tree.files.iter();
    let rooms = rooms.filter_map(|file| folder(&file.path, ROOMS));
    let families: BTreeSet<&str> = rooms.filter(|name| *name != "tests").collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        if !file.path.starts_with("agent/src/") || LISTS.contains(&file.path.as_str()) {
            continue;
        }
        let own = folder(&file.path, ROOMS);
        for (at, line) in product_lines(file) {
            for (begin, path) in line.match_indices("family::") {
                let rest = &line[begin + path.len()..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                let may = |(path, family): &(&str, &str)| {
                    file.path.starts_with(path) && (family.is_empty() || *family == name)
                };
                if families.contains(name) && own != Some(name) && !TAKERS.iter().any(may) {
                    findings
                        .push(file.finding(at, format!("family {name} is of no concern to it")));
                }
            }
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
    fn what_takes_something_from_a_family_that_is_not_its_own_is_found() {
        let found = check(&tree(&[
            ("agent/src/family/a/mod.rs", "use crate::family::a::x;\n"),
            (
                "agent/src/family/b/mod.rs",
                "use crate::family::totals::x;\nuse crate::family::a::x;\n",
            ),
            ("agent/src/family/process/mod.rs", ""),
            (
                "agent/src/family/registry.rs",
                "use crate::family::a::open;\n",
            ),
            (
                "agent/src/family/b/fold.rs",
                "use crate::family::process::x;\n",
            ),
            (
                "agent/src/doctor.rs",
                "fn f() {\n    crate::family::b::x();\n}\n",
            ),
        ]));
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(
            places,
            [("agent/src/family/b/mod.rs", 2), ("agent/src/doctor.rs", 2)]
        );
    }

    #[test]
    fn a_guide_that_does_not_name_what_a_family_consists_of_is_found() {
        let guide = "| file | what |\n| `a/FAMILY/x.rs` | code |\n| `a/FAMILY/y.rs` | code |\n\
                     | `a/list.rs` | a line |\n";
        let found = check(&tree(&[
            ("docs/ADDING-A-PROBE.md", guide),
            ("a/listener/x.rs", ""),
            ("b/listener.rs", ""),
            ("a/listening.rs", ""),
            ("a/list.rs", ""),
        ]));
        let said: Vec<_> = found
            .iter()
            .map(|finding| (finding.path.as_str(), finding.line))
            .collect();
        assert_eq!(said, [("docs/ADDING-A-PROBE.md", 3), ("b/listener.rs", 0)]);
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
