//! `cargo xtask userland`: the agent in the file systems of several releases of Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::stage::stage;
use crate::{child, deps, test, workspace};

/// Releases that are tried, oldest first.
const RELEASES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// Makes the file systems (about 210 MB each, once), then runs the trials in them.
///
/// # Errors
/// When a tool is missing, or no mirror has a release.
pub(crate) fn run() -> Result<ExitCode> {
    stage("tools of this machine", deps::run)?;
    let all = roots()?;
    test::run_with(&test::Args::userland(), &[("WAYBILL_USERLANDS", &all)])
}

/// The folder with a file system of each release; makes those that are not there yet.
///
/// # Errors
/// When no mirror has a release.
pub(crate) fn roots() -> Result<PathBuf> {
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
