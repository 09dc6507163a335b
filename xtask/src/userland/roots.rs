//! A file system of each release of Debian that is tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stage::stage;
use crate::{child, workspace};

/// Releases that are tried, oldest first.
const RELEASES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// The folder with a file system of each release; makes those that are not there yet.
///
/// # Errors
/// When no mirror has a release.
pub(crate) fn all() -> Result<PathBuf> {
    let all = workspace::root().join("target/userland");
    fs::create_dir_all(&all).with_context(|| format!("make {}", all.display()))?;
    for release in RELEASES {
        let root = all.join(release);
        if !root.is_dir() {
            stage(&format!("file system of {release}"), || {
                make(release, &root)
            })?;
        }
    }
    Ok(all)
}

/// Makes one; it is there whole or not at all.
fn make(release: &str, root: &Path) -> Result<()> {
    let part = root.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("remove {}", part.display()))?;
    }
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", release]);
    child::run(debootstrap.arg(&part).arg(mirror()?))?;
    fs::rename(&part, root).with_context(|| format!("make {}", root.display()))
}

/// The Debian mirror that this machine's apt is configured with.
fn mirror() -> Result<String> {
    let format = "$(CODENAME) $(COMPONENT) $(REPO_URI)";
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let targets = child::output(&mut ask)?;
    for line in targets.lines() {
        let mut words = line.split_whitespace();
        let (Some(release), Some("main"), Some(uri)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // Not the archives of security fixes and updates, which are no whole release.
        if !release.contains('-') {
            return Ok(uri.to_owned());
        }
    }
    bail!("apt knows no Debian release on this machine")
}
