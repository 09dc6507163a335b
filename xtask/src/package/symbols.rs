//! What debuggers read, as packages of its own: found by the build id that is in the program.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::documents::Documents;
use super::release::Release;
use super::stage::Program;
use super::tree::{clamp, set_mode};
use super::{deb, rpm};
use crate::{child, workspace};

/// Makes `<name>-dbgsym_*.deb` and `<name>-debuginfo-*.rpm` in `out`.
///
/// # Errors
/// When the program has no build id, or a tool fails.
pub(super) fn make(
    release: &Release,
    documents: &Documents,
    program: &Program,
    work: &Path,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let built = release.programs.join(program.name);
    let id = build_id(release, &built)?;
    let (first, rest) = id.split_at(2);
    let folder = format!("usr/lib/debug/.build-id/{first}");
    let path = format!("{folder}/{rest}.debug");
    let place = work.join(format!("{}-symbols", program.name));
    let tree = place.join("tree");
    fs::create_dir_all(tree.join(&folder)).with_context(|| format!("make {folder}"))?;
    let symbols = tree.join(&path);
    let mut take = release.tool("objcopy");
    take.args(["--only-keep-debug", "--compress-debug-sections"]);
    child::run(take.arg(&built).arg(&symbols))?;
    ensure!(
        build_id(release, &symbols)? == id,
        "{path}: another build id"
    );
    let mut above = PathBuf::new();
    for part in Path::new(&folder) {
        above.push(part);
        set_mode(&tree.join(&above), 0o755)?;
    }
    set_mode(&tree, 0o755)?;
    set_mode(&symbols, 0o644)?;
    let made = vec![
        debian(release, documents, program, &tree, &path, &id, out)?,
        red_hat(release, documents, program, &place, &path, out)?,
    ];
    fs::remove_dir_all(&place)?;
    Ok(made)
}

/// The package for dpkg; `path` is the file with symbols below `tree`.
fn debian(
    release: &Release,
    documents: &Documents,
    program: &Program,
    tree: &Path,
    path: &str,
    id: &str,
    out: &Path,
) -> Result<PathBuf> {
    let name = format!("{}-dbgsym", program.name);
    fs::create_dir_all(tree.join("usr/share/doc"))?;
    for part in ["usr", "usr/share", "usr/share/doc"] {
        set_mode(&tree.join(part), 0o755)?;
    }
    // Its documents are those of the program.
    symlink(program.name, tree.join("usr/share/doc").join(&name))?;
    clamp(tree, release)?;
    let fields = format!(
        "Package: {name}\nSource: {}\nAuto-Built-Package: debug-symbols\n\
         Depends: {} (= {})\nInstalled-Size: {}\nSection: debug\n\
         Priority: optional\nHomepage: {}\nDescription: debug symbols for {}\nBuild-Ids: {id}\n",
        program.name,
        program.name,
        release.full_version(),
        tree.join(path).metadata()?.len().div_ceil(1024),
        documents.contact.url,
        program.name,
    );
    let mut sums = release.tool("md5sum");
    sums.current_dir(tree).arg("--").arg(path);
    let sums = ("md5sums", child::output(&mut sums)?, 0o644);
    let made = deb::pack(release, &documents.contact, tree, &fields, &[sums], out)?;
    fs::remove_dir_all(tree.join("usr/share"))?;
    clamp(tree, release)?;
    Ok(made)
}

/// The package for rpm.
fn red_hat(
    release: &Release,
    documents: &Documents,
    program: &Program,
    place: &Path,
    path: &str,
    out: &Path,
) -> Result<PathBuf> {
    let tree = place.join("tree");
    let (folder, _) = path.rsplit_once('/').context("a file in a folder")?;
    let name = format!("{}-debuginfo", program.name);
    let specification = rpm::filled(
        workspace::read("packaging/rpm/symbols.spec")?,
        &[
            ("NAME", &name),
            ("PROGRAM", program.name),
            ("VERSION", release.version),
            ("REVISION", &release.revision.to_string()),
            ("VENDOR", &documents.contact.vendor),
            ("PACKAGER", &documents.contact.maintainer),
            ("URL", &documents.contact.url),
            ("STAGE", &tree.display().to_string()),
            ("FOLDER", folder),
            ("FILE", path),
            ("CHANGELOG", &documents.rpm_changelog(release)?),
        ],
    );
    rpm::pack(release, &name, &specification, &place.join("rpm"), out)
}

/// The build id that the linker left, in hexadecimal digits.
fn build_id(release: &Release, program: &Path) -> Result<String> {
    let mut read = release.tool("readelf");
    let notes = child::output(read.arg("--notes").arg(program))?;
    let line = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    let id = line.with_context(|| format!("{} has no build id", program.display()))?;
    ensure!(id.len() > 2, "{}: build id {id}", program.display());
    Ok(id.to_owned())
}
