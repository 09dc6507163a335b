//! The one file for sites without any network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tests::lab::Lab;

use super::given::{archive, release, unpack};
use super::root::{Root, changes};

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

/// With an agent on the host nothing of a bundle runs before that agent has checked it.
pub(super) fn checked_first(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let root = Root::open(lab, &host, &release("trixie")?)?;
    install(&root, &unpack(lab, "first")?, &[])?;
    let second = archive("second")?;
    let bundle = |options: &[&str]| root.run(&[&["waybill-bundle"], options].concat());
    let good = carried(lab, "good", &second)?;

    // The key is the operator's, from elsewhere.
    let said = bundle(&[&good]).map_err(|error| error.to_string());
    ensure!(
        said.is_err_and(|why| why.contains("no key")),
        "no key is asked for"
    );
    let key = lab.directory().join("second").join("waybill.pub");
    let unpacked = unpack(lab, "second")?;
    fs::copy(unpacked.join("waybill.pub"), &key)?;
    fs::copy(&key, root.path("etc/waybill/release.pub"))?;
    let before = root.files()?;

    // A forger's: whole, signed with another key, and its first line leaves a mark.
    let mark = root.path("mark");
    let script = unpacked.join("install.sh");
    let honest = fs::read_to_string(&script)?;
    fs::write(
        &script,
        honest.replacen("set -eu\n", "set -eu\n: >/mark\n", 1),
    )?;
    let forged = lab.directory().join("forged");
    fs::create_dir(&forged)?;
    let forged = forged.join(second.file_name().unwrap_or_default());
    let mut pack = std::process::Command::new("tar");
    pack.arg("-czf").arg(&forged);
    pack.arg("-C").arg(lab.directory().join("second"));
    pack.arg(unpacked.file_name().unwrap_or_default());
    tests::lab::command::run(&mut pack)?;
    fs::copy(format!("{good}.sig"), format!("{}.sig", forged.display()))?;
    for bad in [forged.display().to_string(), unpacked.display().to_string()] {
        let said = bundle(&[&bad]).map_err(|error| error.to_string());
        let refused = said.is_err_and(|why| why.contains("no line of"));
        ensure!(refused && !mark.exists(), "{bad}: a line of it ran");
    }
    nothing_installed(&root, &before)?;

    // What a killed one left goes with the next.
    fs::create_dir_all(root.path("var/lib/waybill-bundle/999999999/bundle"))?;
    let said = bundle(&[&good, "--check"])?;
    ensure!(said.contains("waybill-agent: upgrade as deb"), "{said}");
    nothing_installed(&root, &before)?;
    fs::write(&script, honest)?;
    for good in [good, unpacked.display().to_string()] {
        bundle(&[&good, "agent"])?;
        let known = root.run(&["dpkg-query", "-W", "waybill-agent"])?;
        ensure!(known.contains("-2"), "{known}");
    }
    ensure!(
        !root.path("var/lib/waybill-bundle").exists(),
        "a copy is left"
    );
    Ok(())
}

/// A bundle as it is carried, with its signature, in a folder of the lab.
fn carried(lab: &Lab, name: &str, bundle: &Path) -> Result<String> {
    let folder = lab.directory().join(name);
    fs::create_dir(&folder)?;
    let copy = folder.join(bundle.file_name().unwrap_or_default());
    fs::copy(bundle, &copy)?;
    let copy = copy.display().to_string();
    fs::copy(format!("{}.sig", bundle.display()), format!("{copy}.sig"))?;
    Ok(copy)
}

/// What is not the bundle's fault is not called damage.
pub(super) fn told_apart(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let folder = unpack(lab, "first")?;
    let root = Root::open(lab, &host, &release("bookworm")?)?;
    let place = folder.display().to_string();
    let check = |script: &str| root.attempt(true, &["sh", "-c", script, "sh", &place]);
    // An exported CDPATH makes cd talk.
    let (success, said) = check("export CDPATH=/:$1/..; cd $1; sh install.sh --check")?;
    ensure!(success, "with CDPATH: {said}");
    let (success, said) = check("ln -s $1/install.sh /tmp/linked; sh /tmp/linked --check")?;
    ensure!(success, "by a link: {said}");
    let (success, said) = check("cd /; sh -s -- --check <$1/install.sh")?;
    ensure!(
        !success && said.contains("not the folder of a bundle"),
        "from a pipe: {said}"
    );
    let (success, said) = check("echo 00 >/tmp/k; sh $1/install.sh --check --key /tmp/k")?;
    ensure!(
        !success && said.contains("cannot be used"),
        "a key that is none: {said}"
    );
    let noexec =
        "mount --bind $1 $1 && mount -o remount,bind,noexec $1 && sh $1/install.sh --check";
    let (success, said) = check(noexec)?;
    let told = said.contains("noexec") && !said.contains("damaged or forged");
    ensure!(!success && told, "mounted noexec: {said}");
    Ok(())
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
