//! Commands of `cargo xtask` that documents tell a reader to type.

use crate::{Finding, Tree};

/// A command that a document tells its reader to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The document.
    pub path: String,
    /// Line from 1.
    pub line: usize,
    /// The words after `cargo xtask`, up to the first that is an option or a placeholder.
    pub words: Vec<String>,
}

impl Named {
    /// A finding at the place where the command is named.
    #[must_use]
    pub fn finding(&self, message: &str) -> Finding {
        Finding {
            path: self.path.clone(),
            line: self.line,
            message: format!("`cargo xtask {}` {message}", self.words.join(" ")),
        }
    }
}

/// Every `cargo xtask ...` in the documents and in the thin scripts of `ci/` and `.ci/`.
#[must_use]
pub fn commands(tree: &Tree) -> Vec<Named> {
    let mut found = Vec::new();
    for file in &tree.files {
        if !file.path.ends_with(".md") && !file.is_within(&["ci/", ".ci/"]) {
            continue;
        }
        for (at, line) in file.lines() {
            for rest in line.split("cargo xtask ").skip(1) {
                // A code span ends the command; prose after it is not part of it.
                let command = rest.split(['`', '#', ';', '|', ')']).next().unwrap_or(rest);
                let words: Vec<String> = command
                    .split_whitespace()
                    .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                    .map(|word| word.trim_end_matches([',', '.', ':']).to_owned())
                    .collect();
                if !words.is_empty() {
                    found.push(Named {
                        path: file.path.clone(),
                        line: at,
                        words,
                    });
                }
            }
        }
    }
    found
}
