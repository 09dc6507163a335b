//! A plain archive, for hosts with neither dpkg nor rpm; `install.sh` unpacks it at the root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::release::Release;
use super::scripts;
use super::stage::Package;

/// Makes `<name>-<version>.<machine>.tar.gz` in `out`; the package's tree is changed for it, so
/// this comes last.
///
/// # Errors
/// Those of tar and of the file system.
pub(super) fn make(release: &Release, package: &Package, out: &Path) -> Result<PathBuf> {
    let tree = &package.tree;
    let share = "usr/share/waybill";
    // Unpacking must not overwrite what an operator changed: defaults are put there by the script.
    let file_name = package.config.rsplit('/').next().unwrap_or(package.config);
    let defaults = format!("{share}/{}.default", package.name);
    let default = format!("{defaults}/{file_name}");
    for folder in [share, &defaults] {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    }
    fs::rename(tree.join(package.config), tree.join(&default)).context("move the default")?;
    let setup = format!("{share}/{}.setup", package.name);
    let text = scripts::file(package, "bundle", "setup")?;
    write(&tree.join(&setup), &text, 0o755)?;
    let listing = format!("{share}/{}.files", package.name);

    // Only what belongs to the package: a tar may replace links to folders by folders.
    let mut paths = Vec::new();
    for path in &package.paths {
        let keep = *path != package.config && *path != "etc/waybill";
        if keep && (!package.kind(path)?.is_dir() || package.owns(path)) {
            paths.push(path.clone());
        }
    }
    for path in [share.to_owned(), defaults, default, setup, listing.clone()] {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    write(&tree.join(&listing), &(paths.join("\n") + "\n"), 0o644)?;
    let file = out.join(format!(
        "{}-{}.{}.tar.gz",
        package.name,
        release.full_version(),
        release.machine
    ));
    release.archive(tree, &paths, &file)?;
    Ok(file)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}
