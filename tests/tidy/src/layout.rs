//! What stands at the top of the tree, and what licence a file says it has.

use std::collections::BTreeSet;

use crate::{Finding, Tree};

/// Files and folders at the top. A new one needs a decision in docs/decisions/.
const TOP: [&str; 24] = [
    ".cargo",
    ".ci",
    ".clang-format",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent",
    "bpf",
    "ci",
    "clippy.toml",
    "collector",
    "compat-matrix",
    "deny.toml",
    "docs",
    "packaging",
    "rootfs",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "wire",
    "xtask",
];

/// What BPF sources begin with: GPL for the kernel's helpers, BSD for everyone else.
const BPF_LICENCE: &str = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause";

/// Where the reason for that licence stands.
const BPF_LICENCE_NOTE: &str = "bpf/LICENSE-note.md";

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 10] = [
    "base",
    "common",
    "handler",
    "helper",
    "helpers",
    "manager",
    "misc",
    "processor",
    "util",
    "utils",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = top(tree);
    findings.extend(licences(tree));
    findings.extend(names(tree));
    findings
}

fn top(tree: &Tree) -> Vec<Finding> {
    let there: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .collect();
    let unknown = there.iter().filter(|name| !TOP.contains(name));
    let missing = TOP.iter().filter(|name| !there.contains(**name));
    unknown
        .map(|name| {
            (
                name,
                "is not part of the layout; a new entry needs a decision",
            )
        })
        .chain(missing.map(|name| (name, "is part of the layout and missing")))
        .map(|(name, message)| Finding {
            path: (*name).to_owned(),
            line: 0,
            message: message.to_owned(),
        })
        .collect()
}

fn licences(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let first = file.text.lines().next().unwrap_or_default();
        let is_c = file.path.ends_with(".c") || file.path.ends_with(".h");
        if is_c && file.path.starts_with("bpf/") && !first.contains(BPF_LICENCE) {
            findings.push(file.finding(1, format!("must say {BPF_LICENCE:?}")));
        }
        if file.path.ends_with(".bpf.c") && !file.text.contains("SEC(\"license\")") {
            findings.push(file.finding(0, "the kernel reads the licence from SEC(\"license\")"));
        }
        let is_member = file.path.ends_with("/Cargo.toml");
        if is_member && !file.text.contains("license.workspace = true") {
            findings.push(file.finding(0, "a crate has the licence of the workspace"));
        }
    }
    if tree.file(BPF_LICENCE_NOTE).is_none() {
        findings.push(Finding {
            path: BPF_LICENCE_NOTE.to_owned(),
            line: 0,
            message: "says why BPF sources have another licence, and is missing".to_owned(),
        });
    }
    findings
}

fn names(tree: &Tree) -> Vec<Finding> {
    let is_source = |path: &str| [".rs", ".c", ".h"].iter().any(|end| path.ends_with(end));
    tree.files
        .iter()
        .filter(|file| is_source(&file.path))
        .filter_map(|file| {
            let empty = file
                .path
                .split('/')
                .map(|part| part.split('.').next().unwrap_or(part))
                .find(|part| EMPTY_NAMES.contains(part))?;
            Some(file.finding(0, format!("{empty:?} does not say what is in it")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BPF_LICENCE, TOP, licences, names, top};
    use crate::tree;

    #[test]
    fn an_unknown_and_a_missing_top_level_entry_are_found() {
        let mut files: Vec<(&str, &str)> = TOP.iter().map(|name| (*name, "")).collect();
        assert_eq!(top(&tree(&files)), []);
        files.push(("scripts/x.sh", ""));
        files.retain(|(path, _)| *path != "LICENSE");
        let found = top(&tree(&files));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["scripts", "LICENSE"]);
    }

    #[test]
    fn a_bpf_source_without_its_licence_is_found() {
        let header = format!("// {BPF_LICENCE}\nchar l[] SEC(\"license\") = \"GPL\";\n");
        let found = licences(&tree(&[
            ("bpf/LICENSE-note.md", ""),
            ("bpf/families/good/good.bpf.c", &header),
            ("bpf/families/bad/bad.bpf.c", "int x;\n"),
            ("bpf/core/bad.h", "int x;\n"),
        ]));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "bpf/families/bad/bad.bpf.c",
                "bpf/families/bad/bad.bpf.c",
                "bpf/core/bad.h"
            ]
        );
    }

    #[test]
    fn a_crate_with_its_own_licence_and_a_missing_note_are_found() {
        let found = licences(&tree(&[("agent/Cargo.toml", "license = \"MIT\"\n")]));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["agent/Cargo.toml", "bpf/LICENSE-note.md"]);
    }

    #[test]
    fn a_name_that_says_nothing_is_found_in_files_and_folders() {
        let found = names(&tree(&[
            ("agent/src/utils.rs", ""),
            ("agent/src/common/x.rs", ""),
            ("agent/src/commonwealth.rs", ""),
            ("docs/util.md", ""),
        ]));
        assert_eq!(found.len(), 2);
    }
}
