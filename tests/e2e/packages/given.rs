//! What `cargo xtask test --only packages` gives these trials: bundles, and file systems.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tests::lab::Lab;
use tests::lab::needs::Skip;

/// Directory with the results of `cargo xtask bundle` of two revisions: `first` and `second`.
const GIVEN: &str = "WAYBILL_PACKAGES";
/// Directory with a root directory for each release.
const ROOTS: &str = "WAYBILL_PACKAGE_ROOTS";

/// Whether these trials were asked for.
pub(crate) fn wanted() -> bool {
    std::env::var_os(GIVEN).is_some_and(|given| given != OsStr::new(""))
}

/// The root directory of a release.
pub(super) fn release(name: &str) -> Result<PathBuf> {
    let roots = std::env::var_os(ROOTS).map(PathBuf::from);
    let root = roots.map(|roots| roots.join(name));
    root.filter(|root| root.is_dir()).ok_or_else(|| {
        Skip(format!(
            "no file system of {name}: `cargo xtask userland` makes it"
        ))
        .into()
    })
}

/// Unpacks the bundle of a revision (`first`, `second`) into the lab; returns its folder.
pub(super) fn unpack(lab: &Lab, revision: &str) -> Result<PathBuf> {
    let to = lab.directory().join(revision);
    fs::create_dir(&to)?;
    let mut tar = std::process::Command::new("tar");
    tar.arg("-xzf").arg(archive(revision)?).arg("-C").arg(&to);
    tests::lab::command::run(&mut tar)?;
    only(&to, "waybill-")
}

/// The bundle of a revision.
pub(super) fn archive(revision: &str) -> Result<PathBuf> {
    let given = std::env::var_os(GIVEN).context("no packages were given")?;
    let folder = Path::new(&given).join(revision);
    let entries = folder.read_dir()?.flatten().map(|entry| entry.path());
    let mut bundles = entries.filter(|path| path.to_string_lossy().ends_with(".tar.gz"));
    bundles
        .next()
        .with_context(|| format!("no bundle in {}", folder.display()))
}

/// The one entry of a folder that begins so.
fn only(folder: &Path, begin: &str) -> Result<PathBuf> {
    let entries = folder.read_dir()?.flatten();
    let mut found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
    let first = found.next();
    first
        .map(|entry| entry.path())
        .with_context(|| format!("no {begin}* in {}", folder.display()))
}
