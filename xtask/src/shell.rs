//! The few shell scripts, looked at by shellcheck.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{child, workspace};

/// Folders of `packaging/` that hold nothing but shell, and scripts elsewhere.
const FOLDERS: [&str; 3] = ["packaging/scripts", "packaging/deb", "packaging/sysvinit"];
const SCRIPTS: [&str; 8] = [
    "ci/deps",
    "packaging/bundle/install.sh",
    "packaging/bundle/setup",
    "packaging/bundle/waybill-bundle",
    "packaging/rpm/post",
    "packaging/rpm/postun",
    "packaging/rpm/pre",
    "packaging/rpm/preun",
];

/// Fails when shellcheck finds anything.
///
/// # Errors
/// As said, and when it is not there.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let mut scripts: Vec<PathBuf> = SCRIPTS.iter().map(|script| root.join(script)).collect();
    for folder in FOLDERS {
        scripts.extend(files(&root.join(folder))?);
    }
    // POSIX: what an old or a small system has as its shell.
    child::run(Command::new("shellcheck").arg("--shell=sh").args(scripts))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("list {}", folder.display()))?;
    entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
}
