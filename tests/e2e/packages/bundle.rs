//! The one file for sites without any network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tests::lab::Lab;

use super::root::{Root, changes};
use super::{archive, release, unpack};

/// `--check` changes nothing, then it installs with what the release has, and removes.
pub(super) fn installs(lab: &Lab, name: &str) -> Result<()> {
    let host = lab.host("host")?;
    let folder = unpack(lab, "first")?;
    let root = Root::open(lab, &host, &release(name)?)?;
    let before = root.files()?;
    let checked = install(&root, &folder, &["--check", "agent", "collector"])?;
    ensure!(
        checked.contains("waybill-agent: install as deb")
            && checked.contains("nothing was changed"),
        "{checked}"
    );
    ensure!(
        changes(&before, &root.files()?).is_empty(),
        "--check changed something"
    );

    install(&root, &folder, &["agent", "collector"])?;
    let version = root.run(&["waybill-agent", "version"])?;
    ensure!(version.starts_with("waybill-agent "), "{version}");
    let known = root.run(&["dpkg-query", "-W", "waybill-agent", "waybill-collector"])?;
    ensure!(known.contains("-1"), "{known}");
    let verified = root.run(&["dpkg", "--verify", "waybill-agent"])?;
    ensure!(verified.trim().is_empty(), "dpkg --verify: {verified}");
    let again = install(&root, &unpack(lab, "second")?, &["--check"])?;
    ensure!(again.contains("waybill-agent: upgrade as deb"), "{again}");

    install(&root, &folder, &["--purge", "agent", "collector"])?;
    let left = changes(&before, &root.files()?);
    ensure!(left.is_empty(), "left behind: {left:#?}");
    Ok(())
}

/// One flipped byte in each file in turn, and in the bundle itself.
pub(super) fn flipped(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let folder = unpack(lab, "first")?;
    let root = Root::open(lab, &host, &release("bookworm")?)?;
    let before = root.files()?;
    for file in files(&folder)? {
        let good = fs::read(&file)?;
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x01;
        fs::write(&file, &bad)?;
        let done = install(&root, &folder, &[]);
        ensure!(done.is_err(), "{} was changed: {done:?}", file.display());
        fs::write(&file, good)?;
    }
    nothing_installed(&root, &before)?;

    // The bundle as it is carried, before anyone unpacks it.
    let agent = folder.join("bin/waybill-agent").display().to_string();
    let key = folder.join("waybill.pub").display().to_string();
    let bundle = archive("first")?;
    let name = bundle.file_name().unwrap_or_default();
    let copy = lab.directory().join(name);
    fs::copy(&bundle, &copy)?;
    let signature = format!("{}.sig", copy.display());
    fs::copy(format!("{}.sig", bundle.display()), &signature)?;
    let shown = copy.display().to_string();
    let verify = [agent.as_str(), "verify", &shown, "--key", &key];
    root.run(&verify)?;
    let mut bytes = fs::read(&copy)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    fs::write(&copy, &bytes)?;
    ensure!(root.run(&verify).is_err(), "a changed bundle is verified");
    install(&root, &folder, &["--check"]).map(drop)
}

/// A bundle that somebody else signed, or that has a file too many.
pub(super) fn forged(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let folder = unpack(lab, "first")?;
    let root = Root::open(lab, &host, &release("bookworm")?)?;
    let before = root.files()?;
    let other = lab.directory().join("other.pub");
    fs::write(&other, "00".repeat(32))?;
    let other = other.display().to_string();
    let refused = install(&root, &folder, &["--key", &other]);
    ensure!(
        refused.is_err_and(|error| error.to_string().contains("nothing was changed")),
        "another key is taken"
    );
    fs::write(folder.join("packages/more.deb"), "")?;
    ensure!(
        install(&root, &folder, &[]).is_err(),
        "a file too many is taken"
    );
    nothing_installed(&root, &before)
}

fn nothing_installed(root: &Root<'_>, before: &super::root::Files) -> Result<()> {
    let changed = changes(before, &root.files()?);
    ensure!(changed.is_empty(), "a refused bundle changed {changed:#?}");
    Ok(())
}

fn install(root: &Root<'_>, folder: &Path, options: &[&str]) -> Result<String> {
    let script = folder.join("install.sh").display().to_string();
    root.run(&[&["sh", &script], options].concat())
}

/// Every file of the bundle.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
