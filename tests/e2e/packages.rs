//! What an operator does with packages and bundle, in the file systems of several releases.
//!
//! `cargo xtask test --only packages` makes packages and file systems, and runs these trials.

mod bundle;
mod given;
mod installed;
mod interrupted;
mod life;
mod root;

use tests::lab::needs::Need;

use crate::case::{Case, case};
pub(crate) use given::wanted;
use installed::Way;
use interrupted::{AGENT, COLLECTOR};

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
        case(concat!("packages::", $name), $run).needing($needs)
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
