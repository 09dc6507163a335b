//! What an operator does with packages and bundle, in the file systems of several releases.
//!
//! `cargo xtask test --only packages` makes packages and file systems, and runs these trials.

mod bundle;
mod interrupted;
mod life;
mod root;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tests::lab::Lab;
use tests::lab::needs::{Need, Skip};

use crate::case::Case;
use interrupted::{AGENT, COLLECTOR};
use life::Way;

/// Directory with the results of `cargo xtask bundle` of two revisions: `first` and `second`.
const GIVEN: &str = "WAYBILL_PACKAGES";
/// Directory with a root directory for each release.
const ROOTS: &str = "WAYBILL_PACKAGE_ROOTS";

const NEEDS: &[Need] = &[
    Need::Program("unshare"),
    Need::Program("bpftool"),
    Need::Program("tc"),
];
const RPM: &[Need] = &[
    Need::Program("unshare"),
    Need::Program("bpftool"),
    Need::Program("tc"),
    Need::Program("rpmbuild"),
];

/// A trial of one way in one release.
macro_rules! case {
    ($name:literal, $needs:expr, $run:expr) => {
        Case {
            name: concat!("packages::", $name),
            needs: $needs,
            alone: false,
            run: $run,
        }
    };
}

pub(crate) const CASES: &[Case] = &[
    case!("deb_lives_and_leaves_nothing_on_bullseye", NEEDS, |lab| {
        life::run(lab, "bullseye", Way::Deb)
    }),
    case!("deb_lives_and_leaves_nothing_on_bookworm", NEEDS, |lab| {
        life::run(lab, "bookworm", Way::Deb)
    }),
    case!("deb_lives_and_leaves_nothing_on_trixie", NEEDS, |lab| {
        life::run(lab, "trixie", Way::Deb)
    }),
    case!("rpm_lives_and_leaves_nothing_on_bullseye", RPM, |lab| {
        life::run(lab, "bullseye", Way::Rpm)
    }),
    case!("rpm_lives_and_leaves_nothing_on_bookworm", RPM, |lab| {
        life::run(lab, "bookworm", Way::Rpm)
    }),
    case!("rpm_lives_and_leaves_nothing_on_trixie", RPM, |lab| {
        life::run(lab, "trixie", Way::Rpm)
    }),
    case!(
        "archive_lives_and_leaves_nothing_on_bullseye",
        NEEDS,
        |lab| { life::run(lab, "bullseye", Way::Archive) }
    ),
    case!("archive_lives_and_leaves_nothing_on_trixie", NEEDS, |lab| {
        life::run(lab, "trixie", Way::Archive)
    }),
    case!(
        "bundle_installs_checked_and_whole_on_bullseye",
        NEEDS,
        |lab| { bundle::installs(lab, "bullseye") }
    ),
    case!(
        "bundle_installs_checked_and_whole_on_bookworm",
        NEEDS,
        |lab| { bundle::installs(lab, "bookworm") }
    ),
    case!(
        "bundle_installs_checked_and_whole_on_trixie",
        NEEDS,
        |lab| { bundle::installs(lab, "trixie") }
    ),
    case!(
        "bundle_with_one_flipped_byte_installs_nothing",
        NEEDS,
        bundle::flipped
    ),
    case!(
        "bundle_signed_by_another_key_installs_nothing",
        NEEDS,
        bundle::forged
    ),
    case!("deb_comes_and_goes_interrupted_on_bullseye", NEEDS, |lab| {
        interrupted::comes_and_goes(lab, "bullseye", Way::Deb, &[AGENT])
    }),
    case!("deb_comes_and_goes_interrupted_on_trixie", NEEDS, |lab| {
        interrupted::comes_and_goes(lab, "trixie", Way::Deb, &[COLLECTOR])
    }),
    case!("rpm_comes_and_goes_interrupted", RPM, |lab| {
        interrupted::comes_and_goes(lab, "bookworm", Way::Rpm, &[AGENT, COLLECTOR])
    }),
    case!("archive_comes_and_goes_interrupted", NEEDS, |lab| {
        interrupted::comes_and_goes(lab, "bookworm", Way::Archive, &[AGENT])
    }),
    case!("deb_is_upgraded_interrupted_on_bookworm", NEEDS, |lab| {
        interrupted::upgrades(lab, "bookworm", Way::Deb)
    }),
    case!("rpm_is_upgraded_interrupted", RPM, |lab| {
        interrupted::upgrades(lab, "trixie", Way::Rpm)
    }),
    case!("archive_is_upgraded_interrupted", NEEDS, |lab| {
        interrupted::upgrades(lab, "bullseye", Way::Archive)
    }),
    case!(
        "bundle_is_checked_before_any_of_its_lines_runs",
        NEEDS,
        bundle::checked_first
    ),
    case!(
        "bundle_says_what_is_wrong_with_its_place",
        NEEDS,
        bundle::told_apart
    ),
];

/// Whether these trials were asked for.
pub(crate) fn wanted() -> bool {
    std::env::var_os(GIVEN).is_some_and(|given| given != OsStr::new(""))
}

/// The root directory of a release.
fn release(name: &str) -> Result<PathBuf> {
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
fn unpack(lab: &Lab, revision: &str) -> Result<PathBuf> {
    let to = lab.directory().join(revision);
    fs::create_dir(&to)?;
    let mut tar = std::process::Command::new("tar");
    tar.arg("-xzf").arg(archive(revision)?).arg("-C").arg(&to);
    tests::lab::command::run(&mut tar)?;
    only(&to, "waybill-")
}

/// The bundle of a revision.
fn archive(revision: &str) -> Result<PathBuf> {
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
