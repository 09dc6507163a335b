//! How long a file may be.
//!
//! Functions have a budget too, kept by clippy; here only that the budget is not loosened.

use crate::{Finding, Tree};

/// Lines that a source file may have. A file passes it when it has two subjects.
const FILE_LINES: usize = 400;

/// Lines that no file may have, whatever is said for it.
const MOST_LINES: usize = 600;

/// Files that are longer, and why they are not better in two. To become fewer.
const LONG: [(&str, &str); 14] = [
    (
        "agent/src/family/connection/aggregate.rs",
        "one fold: what each record does to the same maps",
    ),
    (
        "agent/src/family/connection/aggregate/tests.rs",
        "one scene, and what each record does to it",
    ),
    (
        "agent/src/family/connection/kernel/load.rs",
        "steps of one load, each the input of the next",
    ),
    (
        "agent/src/family/connection/observe/table.rs",
        "one table: what a packet and what a list make of it",
    ),
    (
        "agent/src/family/connection/observe/table_tests.rs",
        "one scene, and what packets and lists make of it",
    ),
    (
        "agent/src/family/process/owners.rs",
        "one search: a socket, who has it and who accepts on it",
    ),
    (
        "agent/src/family/process/owners/tests.rs",
        "one scene of sockets and processes for all of them",
    ),
    (
        "agent/src/family/tests.rs",
        "one plan per kind of host, for all families",
    ),
    (
        "bpf/families/connection/option_clone.bpf.h",
        "what one verifier walks: a copy from announcement to sending",
    ),
    (
        "bpf/families/connection/option_sockops.bpf.h",
        "callbacks of one program, in the order of a handshake",
    ),
    (
        "collector/src/join/tests/evidence.rs",
        "one small fleet, and each kind of evidence in it",
    ),
    (
        "collector/src/store/tests.rs",
        "one store, and what becomes of each kind of row",
    ),
    (
        "wire/src/orders.rs",
        "one text: how it is read, checked and written",
    ),
    (
        "xtask/fleet/src/rows.rs",
        "one function for each table, over one fleet",
    ),
];

/// The budget of functions, as clippy reads it.
const FUNCTION_BUDGET: &str = "too-many-lines-threshold = 80";

/// The lint of that budget.
const FUNCTION_LINT: &str = "clippy::too_many_lines";

/// Extensions of what counts as source.
const SOURCES: [&str; 8] = [".rs", ".c", ".h", ".py", ".sh", ".ts", ".tsx", ".css"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    with(tree, &LONG)
}

fn with(tree: &Tree, long: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let is_source = SOURCES.iter().any(|end| file.path.ends_with(end));
        if !is_source && !file.text.starts_with("#!") {
            continue;
        }
        let lines = file.text.lines().count();
        let is_listed = long.iter().any(|(path, _)| *path == file.path);
        let most = if is_listed { MOST_LINES } else { FILE_LINES };
        if lines > most {
            findings.push(file.finding(0, format!("{lines} lines; at most {most}")));
        }
        for (at, line) in file.lines() {
            if line.contains(FUNCTION_LINT) && !file.is_within(&["tests/tidy/"]) {
                findings.push(file.finding(at, "the budget of functions has no exceptions"));
            }
        }
    }
    for (path, _) in long {
        let lines = tree.file(path).map_or(0, |file| file.text.lines().count());
        if lines <= FILE_LINES {
            let message = format!("{lines} lines: it needs no exception any more");
            findings.push(Finding {
                path: (*path).to_owned(),
                line: 0,
                message,
            });
        }
    }
    if let Some(clippy) = tree.file("clippy.toml")
        && !clippy
            .text
            .lines()
            .any(|line| line.trim() == FUNCTION_BUDGET)
    {
        findings.push(clippy.finding(0, format!("must hold {FUNCTION_BUDGET:?}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES, MOST_LINES, with};
    use crate::tree;

    #[test]
    fn a_file_over_the_budget_is_found_and_one_at_the_budget_is_not() {
        let long = "x\n".repeat(FILE_LINES + 1);
        let script = format!("#!/bin/sh\n{long}");
        let fits = "x\n".repeat(FILE_LINES);
        let tree = tree(&[
            ("a.rs", &long),
            ("b.rs", &fits),
            ("c.md", &long),
            ("d", &script),
        ]);
        let found = with(&tree, &[]);
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["a.rs", "d"]);
    }

    #[test]
    fn a_file_that_is_listed_may_be_longer_and_not_endless() {
        let text = |lines: usize| "x\n".repeat(lines);
        let found = |lines: usize| with(&tree(&[("a.rs", &text(lines))]), &[("a.rs", "why")]);
        assert_eq!(found(FILE_LINES + 1), []);
        assert_eq!(found(MOST_LINES), []);
        assert_eq!(found(MOST_LINES + 1).len(), 1);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_found() {
        let fits = "x\n".repeat(FILE_LINES);
        let found = with(
            &tree(&[("a.rs", &fits)]),
            &[("a.rs", "why"), ("gone.rs", "")],
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_exception_from_the_function_budget_is_found() {
        let source = "#[expect(clippy::too_many_lines, reason = \"x\")]\nfn f() {}\n";
        assert_eq!(with(&tree(&[("a.rs", source)]), &[]).len(), 1);
    }

    #[test]
    fn a_loosened_function_budget_is_found() {
        let loose = "too-many-lines-threshold = 800\n";
        assert_eq!(with(&tree(&[("clippy.toml", loose)]), &[]).len(), 1);
        let right = "too-many-lines-threshold = 80\n";
        assert!(with(&tree(&[("clippy.toml", right)]), &[]).is_empty());
    }
}
