//! A package for dpkg.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::documents::Contact;
use super::release::Release;
use super::scripts;
use super::stage::{JAIL, Package, WRITTEN};
use crate::child;

/// Makes `<name>_<version>_<architecture>.deb` in `out`.
///
/// # Errors
/// Those of dpkg-deb and of the file system.
pub(super) fn make(
    release: &Release,
    contact: &Contact,
    package: &Package,
    out: &Path,
) -> Result<PathBuf> {
    let program = package.program;
    let kib = size(package)?.div_ceil(1024);
    // The account of the collector is made by it.
    let depends = if program.functions == "collector.sh" {
        "Depends: passwd\n"
    } else {
        ""
    };
    let fields = format!(
        "Package: {}\n{depends}Suggests: logrotate\nInstalled-Size: {kib}\nSection: net\n\
         Priority: optional\nHomepage: {}\nDescription: {}\n {}\n",
        program.name,
        contact.url,
        program.summary,
        program.description.replace('\n', "\n ")
    );
    let config: String = package
        .config
        .iter()
        .map(|path| format!("/{path}\n"))
        .collect();
    let mut members = vec![
        ("conffiles", config, 0o644),
        ("md5sums", sums(release, package)?, 0o644),
    ];
    for step in ["preinst", "postinst", "prerm", "postrm"] {
        members.push((step, scripts::file(program, "deb", step)?, 0o755));
    }
    pack(release, contact, &package.tree, &fields, &members, out)
}

/// Packs a tree with the fields of its control file, and further control files: name, text, mode.
///
/// # Errors
/// Those of dpkg-deb and of the file system.
pub(super) fn pack(
    release: &Release,
    contact: &Contact,
    tree: &Path,
    fields: &str,
    members: &[(&str, String, u32)],
    out: &Path,
) -> Result<PathBuf> {
    let architecture = release.debian_architecture()?;
    let version = release.full_version();
    let control = tree.join("DEBIAN");
    fs::create_dir(&control).context("make the folder of control files")?;
    fs::set_permissions(&control, Permissions::from_mode(0o755))?;
    let (name, rest) = fields
        .split_once('\n')
        .context("fields begin with the name")?;
    let name = name.trim_start_matches("Package: ");
    let text = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {}\n{rest}",
        contact.maintainer
    );
    let text = ("control", text, 0o644);
    for (name, text, mode) in std::iter::once(&text).chain(members) {
        let path = control.join(name);
        fs::write(&path, text).with_context(|| format!("write {name}"))?;
        fs::set_permissions(&path, Permissions::from_mode(*mode))
            .with_context(|| format!("set the mode of {name}"))?;
    }
    let file = out.join(format!("{name}_{version}_{architecture}.deb"));
    let mut build = release.tool("dpkg-deb");
    // xz: what dpkg reads since 2011; newer ones do not exist on old hosts.
    build.args(["--root-owner-group", "-Zxz"]);
    build.arg(if release.haste { "-z0" } else { "-z6" });
    build.arg("--build").arg(tree).arg(&file);
    child::output(&mut build)?;
    fs::remove_dir_all(&control).context("remove the folder of control files")?;
    Ok(file)
}

/// Bytes of all files.
fn size(package: &Package) -> Result<u64> {
    let mut bytes = 0;
    for path in &package.paths {
        if package.kind(path)?.is_file() {
            bytes += package.tree.join(path).metadata()?.len();
        }
    }
    Ok(bytes)
}

/// What `dpkg --verify` compares with; it does so with conffiles by their own list, and not with
/// what the agent writes.
fn sums(release: &Release, package: &Package) -> Result<String> {
    let mut md5sum = release.tool("md5sum");
    md5sum.arg("--").current_dir(&package.tree);
    for path in &package.paths {
        let written = WRITTEN.iter().any(|name| *path == format!("{JAIL}/{name}"));
        if package.kind(path)?.is_file() && !package.is_config(path) && !written {
            md5sum.arg(path);
        }
    }
    child::output(&mut md5sum)
}
