//! A folder that looks like a part of a host: filled, given its modes and times, listed.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::documents::gzip;
use super::release::Release;
use crate::workspace;

/// A folder that is being filled.
pub(super) struct Tree<'r> {
    pub(super) root: PathBuf,
    pub(super) release: &'r Release,
}

impl<'r> Tree<'r> {
    /// Makes `tree` below `folder`.
    ///
    /// # Errors
    /// When it is there already, or the file system refuses.
    pub(super) fn new(folder: &Path, release: &'r Release) -> Result<Self> {
        let root = folder.join("tree");
        ensure!(!root.exists(), "{} is in the way", root.display());
        fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
        set_mode(&root, 0o755)?;
        Ok(Self { root, release })
    }

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn directory(&self, path: &str, mode: u32) -> Result<()> {
        let mut way = self.root.clone();
        for part in Path::new(path) {
            way.push(part);
            if !way.exists() {
                fs::create_dir(&way)?;
                set_mode(&way, 0o755)?;
            }
        }
        set_mode(&way, mode)
    }

    fn above(&self, path: &str) -> Result<PathBuf> {
        if let Some((folder, _)) = path.rsplit_once('/')
            && !self.root.join(folder).exists()
        {
            self.directory(folder, 0o755)?;
        }
        Ok(self.root.join(path))
    }

    /// Writes a file, in folders that are made where they lack.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let to = self.above(path)?;
        fs::write(&to, content).with_context(|| format!("write {path}"))?;
        set_mode(&to, mode)
    }

    /// Copies a file of the workspace.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn copy(&self, from: &str, path: &str, mode: u32) -> Result<()> {
        self.write(path, workspace::read(from)?, mode)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<()> {
        symlink(target, self.above(path)?).with_context(|| format!("link {path}"))
    }

    /// Writes a compressed file.
    ///
    /// # Errors
    /// Those of the file system and of gzip.
    pub(super) fn packed(&self, path: &str, content: &[u8]) -> Result<()> {
        let packed = gzip(self.release, content, &self.root)?;
        self.write(path, packed, 0o644)
    }
}

/// Gives everything below `root` the time of the release; returns the paths, sorted.
///
/// # Errors
/// Those of the file system.
pub(super) fn clamp(root: &Path, release: &Release) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    list(root, root, &mut paths)?;
    paths.sort();
    let time = release.time();
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    for path in paths.iter().rev() {
        let path = root.join(path);
        // A link's own time is set by nothing safe; every packer here clamps it.
        if !path.is_symlink() {
            File::open(&path)?.set_times(times)?;
        }
    }
    File::open(root)?.set_times(times)?;
    Ok(paths)
}

/// Every path below `folder`, relative to `root`; a link is one path, wherever it leads.
///
/// # Errors
/// Those of the file system.
pub(super) fn list(root: &Path, folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let relative = path
            .strip_prefix(root)?
            .to_str()
            .context("a path in UTF-8")?;
        into.push(relative.to_owned());
        if path.is_dir() && !path.is_symlink() {
            list(root, &path, into)?;
        }
    }
    Ok(())
}

/// Sets permission bits, whatever the umask is.
///
/// # Errors
/// Those of the file system.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}
