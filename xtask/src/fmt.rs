//! `cargo xtask fmt`: Rust by rustfmt, BPF C by clang-format.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{child, workspace};

/// Formats everything in place.
///
/// # Errors
/// When a formatter is missing or refuses a file.
pub(crate) fn run() -> Result<()> {
    child::run(&mut child::cargo(&["fmt", "--all"]))?;
    clang_format(&["-i"])
}

/// Fails when a formatter would change something.
///
/// # Errors
/// When a file is not formatted, or a formatter is missing.
pub(crate) fn check() -> Result<()> {
    child::run(&mut child::cargo(&["fmt", "--all", "--", "--check"]))?;
    clang_format(&["--dry-run", "-Werror"])
}

/// Runs clang-format with `mode` on each C file of `bpf/`.
fn clang_format(mode: &[&str]) -> Result<()> {
    let mut files = Vec::new();
    c_files(&workspace::root().join("bpf"), &mut files)?;
    if files.is_empty() {
        return Ok(());
    }
    files.sort();
    // Versions format differently; the name pins the one that ci/deps installs.
    let program = std::env::var_os("CLANG_FORMAT").unwrap_or_else(|| "clang-format-19".into());
    child::run(Command::new(program).args(mode).args(files))
}

/// Collects the `.c` and `.h` files below `dir`.
fn c_files(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = dir
        .read_dir()
        .with_context(|| format!("list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            c_files(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "c" || e == "h") {
            into.push(path);
        }
    }
    Ok(())
}
