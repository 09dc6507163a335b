//! How packages are made: where, of what, and a second time where they are verified.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::documents::Documents;
use super::release::{Options, Release};
use super::stage::{Kind, PROGRAMS, Package};
use super::{content, deb, lint, rpm, sign, tarball};
use crate::stage::{say, stage as step};
use crate::workspace;

/// The folder for results.
///
/// # Errors
/// When it cannot be made.
pub(super) fn place(options: &Options) -> Result<PathBuf> {
    let default = || workspace::root().join("target/package");
    let out = options.out.clone().unwrap_or_else(default);
    fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    out.canonicalize()
        .with_context(|| format!("find {}", out.display()))
}

/// Makes things into `out` and shows them; with `--verify` makes them a second time elsewhere, and
/// compares, and looks at what is in them.
///
/// # Errors
/// When they cannot be made, differ, or hold what they must not.
pub(super) fn twice(
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
///
/// # Errors
/// When a file is missing or a tool fails.
pub(super) fn packages(
    release: &Release,
    documents: &Documents,
    out: &Path,
) -> Result<Vec<PathBuf>> {
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

/// A folder for what is only needed on the way; gone when it is dropped.
pub(super) struct Work(pub(super) PathBuf);

impl Work {
    /// Makes it in the folder `beside`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn make(beside: &Path) -> Result<Self> {
        Self::make_named(beside, "work")
    }

    /// The same by a name of its own, where there are two.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn make_named(beside: &Path, name: &str) -> Result<Self> {
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
///
/// # Errors
/// When one has none, or is no UTF-8.
pub(super) fn names(files: &[PathBuf]) -> Result<Vec<String>> {
    files
        .iter()
        .map(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).context("a file has a name")
        })
        .collect()
}
