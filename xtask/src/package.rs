//! `cargo xtask package`: what an operator installs, the same each time.

mod build_machine;
mod bundle;
mod component;
mod components;
mod content;
mod deb;
mod documents;
mod lint;
mod make;
mod notices;
mod page;
mod release;
mod rpm;
mod sbom;
mod scripts;
mod sign;
mod stage;
mod symbols;
mod tarball;
mod tree;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::deps;
use crate::stage::{say, stage as step};
use documents::Documents;
use make::{Work, names, packages, place, twice};
use release::{Options, Release};
use sign::Key;
use stage::PROGRAMS;

pub(crate) use bundle::{Args as BundleArgs, run as bundle};
pub(crate) use trial::make as trial;

/// Options of `package`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// Makes deb, rpm and tar.gz of agent and collector, with sums and, given a key, a signature.
///
/// # Errors
/// When a tool is missing or fails; with `--verify` also when two builds differ, or a package holds
/// anything but what the manifest says.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    step("tools of this machine", deps::run)?;
    let key = Key::find(args.options.key.as_deref())?;
    let release = step("programs", || Release::build(&args.options))?;
    let out = place(&args.options)?;
    let made = twice(&release, &args.options, &out, |out| {
        all_packages(&release, out)
    })?;
    sign::write(&out, &names(&made)?, key.as_ref())?;
    if key.is_none() {
        say("not signed: --key names a key")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All packages, and those with what debuggers read.
fn all_packages(release: &Release, out: &Path) -> Result<Vec<PathBuf>> {
    let work = Work::make_named(out, "documents")?;
    let documents = Documents::make(release, &work.0)?;
    let mut made = packages(release, &documents, out)?;
    for program in &PROGRAMS {
        made.extend(symbols::make(release, &documents, program, &work.0, out)?);
    }
    Ok(made)
}
