//! `cargo xtask package`: what an operator installs, the same each time.

mod bundle;
mod components;
mod content;
mod deb;
mod documents;
mod lint;
mod notices;
mod release;
mod rpm;
mod sbom;
mod scripts;
mod sign;
mod stage;
mod symbols;
mod tarball;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::stage::{say, stage as step};
use crate::{deps, workspace};
use documents::Documents;
use release::{Options, Release};
use sign::Key;
use stage::{Kind, PROGRAMS, Package};

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

/// The folder for results.
fn place(options: &Options) -> Result<PathBuf> {
    let default = || workspace::root().join("target/package");
    let out = options.out.clone().unwrap_or_else(default);
    fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    out.canonicalize()
        .with_context(|| format!("find {}", out.display()))
}

/// Makes things into `out` and shows them; with `--verify` makes them a second time elsewhere, and
/// compares.
fn twice(
    release: &Release,
    options: &Options,
    out: &Path,
    make: impl Fn(&Path) -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    let made = step("packages", || make(out))?;
    for file in &made {
        let bytes = file.metadata()?.len();
        say(&format!(
            "{}  {bytes:>9}  {}",
            sign::sum(file)?,
            file.display()
        ))?;
    }
    if options.verify {
        step("the same again", || {
            let again = out.join(format!(".again-{}", std::process::id()));
            fs::create_dir_all(&again)?;
            let result = make(&again).and_then(|second| compare(&made, &second));
            fs::remove_dir_all(&again)?;
            result
        })?;
        step("content", || content::check_all(release, &made))?;
        step("lintian and rpmlint", || lint::check(release, &made))?;
    }
    Ok(made)
}

fn compare(first: &[PathBuf], second: &[PathBuf]) -> Result<()> {
    let mut differing = Vec::new();
    for (one, other) in first.iter().zip(second) {
        if sign::sum(one)? != sign::sum(other)? {
            differing.push(one.display().to_string());
        }
    }
    if first.len() != second.len() || !differing.is_empty() {
        bail!("not the same when made again: {}", differing.join(", "));
    }
    say(&format!("{} files, byte for byte the same", first.len()))
}

/// Makes the six packages into `out`, from the documents in `documents`.
fn packages(release: &Release, documents: &Documents, out: &Path) -> Result<Vec<PathBuf>> {
    let work = Work::make(out)?;
    let mut made = Vec::new();
    for program in &PROGRAMS {
        for kind in [Kind::Deb, Kind::Rpm, Kind::Archive] {
            let folder = work.0.join(format!("{}-{kind:?}", program.name));
            let package = Package::stage(release, documents, program, kind, &folder)
                .with_context(|| format!("stage {}", program.name))?;
            made.push(match kind {
                Kind::Deb => deb::make(release, &documents.contact, &package, out)?,
                Kind::Rpm => rpm::make(release, documents, &package, &folder.join("rpm"), out)?,
                Kind::Archive => tarball::make(release, &package, out)?,
            });
            fs::remove_dir_all(&folder)?;
        }
    }
    Ok(made)
}

/// The same, and packages with what debuggers read.
fn all_packages(release: &Release, out: &Path) -> Result<Vec<PathBuf>> {
    let work = Work::make_named(out, "documents")?;
    let documents = Documents::make(release, &work.0)?;
    let mut made = packages(release, &documents, out)?;
    for program in &PROGRAMS {
        made.extend(symbols::make(release, &documents, program, &work.0, out)?);
    }
    Ok(made)
}

/// A folder for what is only needed on the way; gone when it is dropped.
struct Work(PathBuf);

impl Work {
    fn make(beside: &Path) -> Result<Self> {
        Self::make_named(beside, "work")
    }

    fn make_named(beside: &Path, name: &str) -> Result<Self> {
        let folder = beside.join(format!(".{name}-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// File names alone.
fn names(files: &[PathBuf]) -> Result<Vec<String>> {
    files
        .iter()
        .map(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).context("a file has a name")
        })
        .collect()
}
