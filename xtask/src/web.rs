//! `cargo xtask web`: the collector's web page, built where the collector embeds it from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stage::say;
use crate::{child, workspace};

/// Its sources, below the root of a checkout.
const SOURCES: &str = "collector/web";
/// What npm says of what it has installed, below [`SOURCES`].
const INSTALLED: &str = "node_modules/.package-lock.json";
/// Bytes that all files of the page may have, as they are built.
const MOST: u64 = 700 << 10;

/// Builds the page, with what npm installs for it.
///
/// # Errors
/// When npm is missing or fails, or the page is too large.
pub(crate) fn run() -> Result<()> {
    if !has_npm() {
        bail!("npm is missing: ci/deps names its package");
    }
    build(&workspace::root())
}

/// The same where npm is there; elsewhere says that the collector has no page then.
///
/// # Errors
/// When npm fails, or the page is too large.
pub(crate) fn run_where_npm_is(root: &Path) -> Result<()> {
    if has_npm() {
        return build(root);
    }
    say("npm is missing: the collector is built without the web page, and says so")
}

/// Types, lints and unit tests of the page, where npm is there.
///
/// # Errors
/// When one of them fails.
pub(crate) fn check() -> Result<()> {
    if !has_npm() {
        return say("npm is missing: the web page is not checked");
    }
    let root = workspace::root();
    install(&root)?;
    child::run(npm(&root).args(["run", "--silent", "check"]))?;
    child::run(npm(&root).args(["run", "--silent", "unit"]))
}

fn has_npm() -> bool {
    let mut npm = Command::new("npm");
    npm.arg("--version").stdout(Stdio::null());
    npm.status().is_ok_and(|status| status.success())
}

fn npm(root: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(root.join(SOURCES));
    npm
}

/// Installs exactly what the lock file names, where that is not there already.
fn install(root: &Path) -> Result<()> {
    let web = root.join(SOURCES);
    let changed = |name: &str| fs::metadata(web.join(name)).and_then(|of| of.modified());
    let installed = changed(INSTALLED);
    let is_current = ["package.json", "package-lock.json"].iter().all(|name| {
        let pair = (&installed, changed(name));
        matches!(pair, (Ok(installed), Ok(changed)) if *installed >= changed)
    });
    if is_current {
        return Ok(());
    }
    child::run(npm(root).arg("ci"))
}

fn build(root: &Path) -> Result<()> {
    install(root)?;
    let made = root.join("target/web");
    child::run(
        npm(root)
            .args(["run", "--silent", "build"])
            .env("WAYBILL_WEB_OUT", &made),
    )?;
    let files = files(&made)?;
    let mut bytes = 0;
    for name in &files {
        let path = made.join(name);
        let of = fs::metadata(&path).with_context(|| format!("read {}", path.display()))?;
        bytes += of.len();
    }
    if bytes > MOST {
        bail!("the page has {bytes} bytes, more than {MOST}");
    }
    place(&made, &root.join(SOURCES).join("dist/page"), &files)?;
    say(&format!("{} files of the page, {bytes} bytes", files.len()))
}

/// Puts files where the collector embeds them from; those that are the same stay untouched, so that
/// it is not built anew for them.
fn place(made: &Path, page: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    fs::create_dir_all(page).with_context(|| format!("make {}", page.display()))?;
    for old in self::files(page)?.difference(files) {
        let path = page.join(old);
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    for name in files {
        let (from, to) = (made.join(name), page.join(name));
        let new = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        let folder = to.parent().context("a file has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        fs::write(&to, new).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let at = folder.join(&below);
        for entry in fs::read_dir(&at).with_context(|| format!("read {}", at.display()))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                left.push(name);
            } else {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{files, place};

    #[test]
    fn what_is_the_same_stays_and_what_is_gone_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (made, page) = (folder.path().join("made"), folder.path().join("page"));
        fs::create_dir_all(made.join("assets")).unwrap();
        fs::create_dir_all(&page).unwrap();
        fs::write(made.join("index.html"), "new").unwrap();
        fs::write(made.join("assets/a.js"), "a").unwrap();
        fs::write(page.join("gone.js"), "gone").unwrap();
        place(&made, &page, &files(&made).unwrap()).unwrap();
        assert_eq!(files(&page).unwrap(), files(&made).unwrap());
        let written = || {
            fs::metadata(page.join("index.html"))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before = written();
        place(&made, &page, &files(&made).unwrap()).unwrap();
        assert_eq!(written(), before);
    }
}
