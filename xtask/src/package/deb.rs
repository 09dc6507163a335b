//! A package for dpkg.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::release::Release;
use super::scripts;
use super::stage::Package;
use crate::child;

/// Who is named as its maintainer; there is no address yet.
const MAINTAINER: &str = "The Waybill authors <waybill@localhost>";

/// Makes `<name>_<version>_<architecture>.deb` in `out`.
///
/// # Errors
/// Those of dpkg-deb and of the file system.
pub(super) fn make(release: &Release, package: &Package, out: &Path) -> Result<PathBuf> {
    let architecture = release.debian_architecture()?;
    let version = release.full_version();
    let control = package.tree.join("DEBIAN");
    fs::create_dir(&control).context("make the folder of control files")?;
    fs::set_permissions(&control, Permissions::from_mode(0o755))?;
    let write = |name: &str, text: &str, mode: u32| -> Result<()> {
        let path = control.join(name);
        fs::write(&path, text).with_context(|| format!("write {name}"))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .with_context(|| format!("set the mode of {name}"))
    };
    let kib = size(package)?.div_ceil(1024);
    let text = format!(
        "Package: {}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: {MAINTAINER}\nInstalled-Size: {kib}\nSection: net\nPriority: optional\n\
         Description: {}\n {}\n",
        package.name,
        package.summary,
        package.description.replace('\n', "\n ")
    );
    write("control", &text, 0o644)?;
    write("conffiles", &format!("/{}\n", package.config), 0o644)?;
    write("md5sums", &sums(release, package)?, 0o644)?;
    for step in ["postinst", "prerm", "postrm"] {
        write(step, &scripts::file(package, "deb", step)?, 0o755)?;
    }
    let file = out.join(format!("{}_{version}_{architecture}.deb", package.name));
    let mut build = release.tool("dpkg-deb");
    // xz: what dpkg reads since 2011; newer ones do not exist on old hosts.
    build.args(["--root-owner-group", "-Zxz"]);
    build.arg(if release.haste { "-z0" } else { "-z6" });
    build.arg("--build").arg(&package.tree).arg(&file);
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

/// What `dpkg --verify` compares with; it does so with conffiles by their own list.
fn sums(release: &Release, package: &Package) -> Result<String> {
    let mut md5sum = release.tool("md5sum");
    md5sum.arg("--").current_dir(&package.tree);
    for path in &package.paths {
        if package.kind(path)?.is_file() && *path != package.config {
            md5sum.arg(path);
        }
    }
    child::output(&mut md5sum)
}
