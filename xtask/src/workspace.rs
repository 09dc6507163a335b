//! Where things are: the workspace's root and the binaries that cargo built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace that this program was started from.
pub(crate) fn root() -> PathBuf {
    // cargo sets the variable for what it runs; without cargo the place of the build is right.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or(manifest.clone(), Path::to_path_buf)
}

/// The folder of binaries built in `profile` (a cargo profile's folder: `debug`, `release`).
///
/// # Errors
/// When the place of this program is unknown.
pub(crate) fn binaries(profile: &str) -> Result<PathBuf> {
    // cargo puts every binary of one target and profile beside this one.
    let own = std::env::current_exe().context("find the folder of built binaries")?;
    let target = own
        .parent()
        .and_then(Path::parent)
        .context("find the folder of built binaries")?;
    Ok(target.join(profile))
}

/// A file of the workspace, whose path is relative to its root.
///
/// # Errors
/// When it cannot be read, or is no UTF-8.
pub(crate) fn read(path: &str) -> Result<String> {
    let path = root().join(path);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}
