//! How long a file may be.
//!
//! Functions have a budget too, kept by clippy; here only that the budget is not loosened.

use crate::{Finding, Tree};

/// Lines that a source file may have. A file nears it when it has two subjects.
const FILE_LINES: usize = 600;

/// The budget of functions, as clippy reads it.
const FUNCTION_BUDGET: &str = "too-many-lines-threshold = 80";

/// The lint of that budget.
const FUNCTION_LINT: &str = "clippy::too_many_lines";

/// Extensions of what counts as source.
const SOURCES: [&str; 5] = [".rs", ".c", ".h", ".py", ".sh"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if !SOURCES.iter().any(|end| file.path.ends_with(end)) {
            continue;
        }
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            findings.push(file.finding(0, format!("{lines} lines; at most {FILE_LINES}")));
        }
        for (at, line) in file.lines() {
            if line.contains(FUNCTION_LINT) && !file.is_within(&["tests/tidy/"]) {
                findings.push(file.finding(at, "the budget of functions has no exceptions"));
            }
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
    use super::{FILE_LINES, check};
    use crate::tree;

    #[test]
    fn a_file_over_the_budget_is_found_and_one_at_the_budget_is_not() {
        let long = "x\n".repeat(FILE_LINES + 1);
        let fits = "x\n".repeat(FILE_LINES);
        let found = check(&tree(&[("a.rs", &long), ("b.rs", &fits), ("c.md", &long)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a.rs");
    }

    #[test]
    fn an_exception_from_the_function_budget_is_found() {
        let source = "#[expect(clippy::too_many_lines, reason = \"x\")]\nfn f() {}\n";
        assert_eq!(check(&tree(&[("a.rs", source)])).len(), 1);
    }

    #[test]
    fn a_loosened_function_budget_is_found() {
        let loose = "too-many-lines-threshold = 800\n";
        assert_eq!(check(&tree(&[("clippy.toml", loose)])).len(), 1);
        let right = "too-many-lines-threshold = 80\n";
        assert!(check(&tree(&[("clippy.toml", right)])).is_empty());
    }
}
