//! A package for rpm.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::documents::Documents;
use super::release::Release;
use super::scripts;
use super::stage::{GIVEN, JAIL, Package, STORE, WRITTEN};
use crate::{child, workspace};

/// Makes `<name>-<version>.<machine>.rpm` in `out`; `work` is for rpmbuild.
///
/// # Errors
/// Those of rpmbuild and of the file system.
pub(super) fn make(
    release: &Release,
    documents: &Documents,
    package: &Package,
    work: &Path,
    out: &Path,
) -> Result<PathBuf> {
    let spec = specification(release, documents, package)?;
    pack(release, package.program.name, &spec, work, out)
}

/// Builds `<name>-<version>.<machine>.rpm` from a spec file's text.
///
/// # Errors
/// Those of rpmbuild and of the file system.
pub(super) fn pack(
    release: &Release,
    name: &str,
    specification: &str,
    work: &Path,
    out: &Path,
) -> Result<PathBuf> {
    fs::create_dir_all(work).with_context(|| format!("make {}", work.display()))?;
    let spec = work.join("package.spec");
    fs::write(&spec, specification).context("write the spec file")?;
    let mut build = release.tool("rpmbuild");
    build.args(["-bb", "--quiet", "--target"]);
    build.arg(format!("{}-linux", release.machine));
    for (name, value) in settings(release, work) {
        build.arg("--define").arg(format!("{name} {value}"));
    }
    child::run(build.arg(&spec))?;
    let name = format!(
        "{}-{}.{}.rpm",
        name,
        release.full_version(),
        release.machine
    );
    let file = out.join(&name);
    let made = work.join("RPMS").join(&name);
    fs::rename(&made, &file).with_context(|| format!("take {}", made.display()))?;
    Ok(file)
}

/// What rpmbuild would otherwise take from this machine, or do to finished files.
fn settings(release: &Release, work: &Path) -> Vec<(&'static str, String)> {
    let payload = if release.haste {
        "w0.xzdio"
    } else {
        "w6.xzdio"
    };
    vec![
        ("_topdir", work.display().to_string()),
        ("_rpmdir", work.join("RPMS").display().to_string()),
        (
            "_rpmfilename",
            "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".into(),
        ),
        // xz and SHA-256 of files: what rpm 4.11 (CentOS 7) reads; zstd came with 4.14.
        ("_binary_payload", payload.into()),
        ("_binary_filedigest_algorithm", "8".into()),
        ("_rpmformat", "4".into()),
        ("_buildhost", "waybill".into()),
        ("use_source_date_epoch_as_buildtime", "1".into()),
        ("clamp_mtime_to_source_date_epoch", "1".into()),
        ("source_date_epoch_from_changelog", "0".into()),
        ("_build_id_links", "none".into()),
        ("debug_package", "%{nil}".into()),
        ("__os_install_post", "%{nil}".into()),
        ("_enable_debug_packages", "0".into()),
    ]
}

fn specification(release: &Release, documents: &Documents, package: &Package) -> Result<String> {
    let program = package.program;
    let mut files = String::new();
    for path in &package.paths {
        let mode = package.mode(path)?;
        let kind = package.kind(path)?;
        let given = *path == STORE || GIVEN.iter().any(|name| *path == format!("{JAIL}/{name}"));
        let written = WRITTEN.iter().any(|name| *path == format!("{JAIL}/{name}"));
        let words = if kind.is_dir() {
            // The system's folders are not ours to own: they may be links there.
            if !package.owns(path) {
                continue;
            }
            let verify = if given {
                "%verify(not user group mode mtime) "
            } else {
                ""
            };
            format!("{verify}%dir %attr({mode:04o},root,root)")
        } else if package.is_config(path) {
            format!("%config(noreplace) %attr({mode:04o},root,root)")
        } else if written {
            format!("%verify(not md5 size mtime mode) %attr({mode:04o},root,root)")
        } else if kind.is_symlink() {
            "%attr(-,root,root)".into()
        } else {
            let license = ["/NOTICES", "/copyright"]
                .iter()
                .any(|end| path.ends_with(end));
            let document = path.starts_with("usr/share/doc/") || path.starts_with("usr/share/man/");
            let word = match (license, document) {
                (true, _) => "%license ",
                (_, true) => "%doc ",
                _ => "",
            };
            format!("{word}%attr({mode:04o},root,root)")
        };
        writeln!(files, "{words} /{path}").ok();
    }
    let mut text = workspace::read("packaging/rpm/package.spec")?;
    for step in ["pre", "post", "preun", "postun"] {
        // rpm would expand what looks like one of its macros.
        let script = scripts::script(program, "rpm", step)?.replace('%', "%%");
        text = text.replace(&format!("@{}@", step.to_uppercase()), &script);
    }
    let stage = package.tree.display().to_string();
    Ok(filled(
        text,
        &[
            ("NAME", program.name),
            ("VERSION", release.version),
            ("REVISION", &release.revision.to_string()),
            // rpm's own style: a capital, and no full stop.
            ("SUMMARY", &capital(program.summary)),
            ("VENDOR", &documents.contact.vendor),
            ("PACKAGER", &documents.contact.maintainer),
            ("URL", &documents.contact.url),
            ("DESCRIPTION", program.description),
            ("STAGE", &stage),
            ("FILES", &files),
            ("CHANGELOG", &documents.rpm_changelog(release)?),
        ],
    ))
}

/// A text with values in the places `@NAME@`.
pub(super) fn filled(mut text: String, values: &[(&str, &str)]) -> String {
    for (word, value) in values {
        text = text.replace(&format!("@{word}@"), value);
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
