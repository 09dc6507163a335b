//! One part of a program, and the files that say under which terms it is given.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders of crates that are not compiled: copies of what the build machine has.
const NOT_COMPILED: [&str; 4] = ["elfutils", "tests", "benches", "target"];

/// One part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) version: String,
    /// SPDX expression.
    pub(super) licence: String,
    /// Where it is from, as a package URL; none for parts of this workspace.
    pub(super) purl: Option<String>,
    /// Files with its licences and notices.
    pub(super) notices: Vec<PathBuf>,
}

impl Component {
    /// Whether it is a crate of Rust, and no C code.
    pub(super) fn is_crate(&self) -> bool {
        let purl = self.purl.as_deref();
        purl.is_none_or(|purl| purl.starts_with("pkg:cargo/"))
    }
}

/// Files that say under which terms, below `folder`, sorted.
///
/// # Errors
/// When a folder cannot be listed.
pub(super) fn collect(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("list {}", folder.display()))?;
    let mut entries = entries
        .map(|one| Ok(one?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let upper = name.to_uppercase();
        let begins = [
            "LICENSE",
            "LICENCE",
            "COPYING",
            "NOTICE",
            "COPYRIGHT",
            "UNLICENSE",
        ];
        if path.is_file() {
            let source = [".RS", ".C", ".H", ".PY"]
                .iter()
                .any(|end| upper.ends_with(end));
            if !source && begins.iter().any(|begin| upper.starts_with(begin)) {
                into.push(path);
            }
        } else if depth > 1 && path.is_dir() && !NOT_COMPILED.contains(&&*name) {
            collect(&path, depth - 1, into)?;
        }
    }
    Ok(())
}
