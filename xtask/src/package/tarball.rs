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
    let name = package.program.name;
    let share = "usr/share/waybill";
    // Unpacking must not overwrite what an operator changed: defaults are put there by the script.
    let defaults = format!("{share}/{name}.default");
    let mut more = vec![share.to_owned(), defaults.clone()];
    for config in &package.config {
        let mut folder = defaults.clone();
        let (above, _) = config.rsplit_once('/').unwrap_or_default();
        for part in above.split('/') {
            folder = format!("{folder}/{part}");
            more.push(folder.clone());
        }
        fs::create_dir_all(tree.join(&folder)).with_context(|| format!("make {folder}"))?;
        let default = format!("{defaults}/{config}");
        fs::rename(tree.join(config), tree.join(&default)).context("move the default")?;
        more.push(default);
    }
    let setup = format!("{share}/{name}.setup");
    let text = scripts::file(package.program, "bundle", "setup")?;
    write(&tree.join(&setup), &text, 0o755)?;
    let listing = format!("{share}/{name}.files");
    more.extend([setup, listing.clone()]);

    // Only what belongs to the package: a tar may replace links to folders by folders.
    let mut paths = Vec::new();
    for path in &package.paths {
        let keep = !package.is_config(path) && path != "etc/waybill";
        if keep && (!package.kind(path)?.is_dir() || package.owns(path)) {
            paths.push(path.clone());
        }
    }
    paths.extend(more);
    paths.sort();
    paths.dedup();
    write(&tree.join(&listing), "", 0o644)?;
    let mut lines = String::new();
    for path in &paths {
        let kind = package.kind(path)?;
        if kind.is_dir() && path.starts_with(share) {
            fs::set_permissions(tree.join(path), Permissions::from_mode(0o755))?;
        }
        let mode = package.mode(path)?;
        lines += &match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => format!("d{mode:04o} {path}\n"),
            (_, true) => format!("link {path}\n"),
            _ => format!("{mode:04o} {path}\n"),
        };
    }
    write(&tree.join(&listing), &lines, 0o644)?;
    let file = out.join(format!(
        "{}-{}.{}.tar.gz",
        name,
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
