//! What every crate promises in its root, and which part of a file is product.

use crate::{File, Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if !file.path.ends_with(".rs") || file.path.starts_with("bpf/") {
            continue;
        }
        if is_crate_root(&file.path) && !file.text.contains("#![forbid(unsafe_code)]") {
            findings.push(file.finding(0, "a crate root outside bpf/ forbids unsafe_code"));
        }
        for at in examples(file) {
            findings.push(file.finding(at, "an example that nobody runs: mark it as text"));
        }
        for (at, line) in file.lines() {
            let code = without_comment(line);
            if ["{", "fn ", "impl ", "trait "]
                .iter()
                .any(|what| code.contains(&format!("unsafe {what}")))
                && !file.is_within(&["tests/tidy/"])
            {
                findings.push(file.finding(at, "unsafe belongs to generated code in bpf/"));
            }
        }
    }
    findings
}

/// Lines of documentation that begin an example which rustdoc would take for a test.
fn examples(file: &File) -> Vec<usize> {
    let mut open = false;
    let mut found = Vec::new();
    for (at, line) in file.lines() {
        let line = line.trim_start();
        let text = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        let Some(fence) = text.and_then(|text| text.trim().strip_prefix("```")) else {
            continue;
        };
        open = !open;
        if open && (fence.is_empty() || fence.starts_with("rust") || fence == "no_run") {
            found.push(at);
        }
    }
    found
}

/// True for a file that rustc is started with.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] | [.., "src", "bin", _] => true,
        ["tests", _, "main.rs"] => true,
        // Integration tests and fuzz targets stand beside a src/, modules with tests below it.
        [before @ .., "tests" | "fuzz_targets", file] => {
            !before.contains(&"src") && file.ends_with(".rs")
        }
        _ => false,
    }
}

/// The lines of a file that are product code: without comments and without tests.
pub(crate) fn product_lines(file: &File) -> Vec<(usize, &str)> {
    if is_test(&file.path) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut attribute = false;
    for (at, line) in file.lines() {
        // By custom the tests are the last thing in a file.
        if attribute && line.starts_with("mod ") && line.ends_with('{') {
            break;
        }
        attribute = line.trim() == "#[cfg(test)]";
        lines.push((at, without_comment(line)));
    }
    lines
}

/// True for files that are compiled for tests only.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/fuzz_targets/")
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
}

/// A line up to its `//`, unless that stands in a string (as in a URL).
fn without_comment(line: &str) -> &str {
    match line.find("//") {
        Some(at) if line[..at].matches('"').count().is_multiple_of(2) => &line[..at],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{check, product_lines};
    use crate::tree;

    #[test]
    fn a_crate_root_without_the_promise_is_found() {
        let found = check(&tree(&[
            ("agent/src/lib.rs", "//! Agent.\n"),
            ("agent/src/other.rs", "\n"),
            ("bpf/src/lib.rs", "//! Generated.\n"),
            ("tests/src/bin/demo.rs", "fn main() {}\n"),
            ("wire/tests/golden.rs", "#![forbid(unsafe_code)]\n"),
            ("wire/tests/other.rs", "\n"),
            ("agent/src/spool/tests/bounds.rs", "\n"),
        ]));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "agent/src/lib.rs",
                "tests/src/bin/demo.rs",
                "wire/tests/other.rs"
            ]
        );
    }

    #[test]
    fn an_example_that_would_be_a_test_is_found_and_a_drawing_is_not() {
        let source = "/// ```text\n/// a -> b\n/// ```\n/// ```\n/// f();\n/// ```\nfn f() {}\n";
        let found = check(&tree(&[("wire/src/a.rs", source)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 4);
    }

    #[test]
    fn unsafe_code_is_found_and_the_word_in_a_comment_is_not() {
        // In two parts, so that a search for the word does not find this file.
        let word = ["un", "safe"].concat();
        let source = format!("// {word} {{ in a comment }}\nfn f() {{ {word} {{ g() }} }}\n");
        let found = check(&tree(&[("agent/src/a.rs", &source)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn product_code_ends_where_the_tests_begin() {
        let source = "use a;\n#[cfg(test)]\nuse b;\nmod c;\n#[cfg(test)]\nmod tests {\nuse d;\n}\n";
        let tree = tree(&[
            ("agent/src/a.rs", source),
            ("agent/src/a/tests.rs", "use e;\n"),
        ]);
        let lines: Vec<_> = tree.files.iter().flat_map(product_lines).collect();
        assert!(lines.contains(&(3, "use b;")));
        assert!(
            lines
                .iter()
                .all(|(_, line)| !line.contains("use d") && !line.contains("use e"))
        );
    }

    #[test]
    fn a_comment_ends_the_line_but_a_url_does_not() {
        let tree = tree(&[("a/src/a.rs", "f(\"http://x\"); // y\n")]);
        let lines = product_lines(&tree.files[0]);
        assert_eq!(lines, [(1, "f(\"http://x\"); // y")]);
    }
}
