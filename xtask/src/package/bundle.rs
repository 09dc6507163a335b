//! `cargo xtask bundle`: one file for a site without any network.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::documents::Documents;
use super::make::{Work, names, packages, place, twice};
use super::release::{Options, Release};
use super::sign::{self, Key};
use super::stage::program;
use super::tree::list;
use super::{content, lint};
use crate::stage::stage as step;
use crate::{deps, workspace};

/// Options of `bundle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// BTF packs to put in, as `cargo xtask btf --out` left them
    #[arg(long, value_name = "DIR")]
    btf: Option<PathBuf>,
}

/// Makes the bundle and its signature.
///
/// # Errors
/// Without a key, and as of `package`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let key = Key::find(args.options.key.as_deref())?;
    let key = key.context("a bundle is signed: --key names a key")?;
    step("tools of this machine", deps::run)?;
    let release = step("programs", || Release::build(&args.options))?;
    signed(&release, &args.options, args.btf.as_deref(), &key)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the bundle of a release with its signature.
///
/// # Errors
/// As of [`run`].
pub(super) fn signed(
    release: &Release,
    options: &Options,
    packs: Option<&Path>,
    key: &Key,
) -> Result<()> {
    let out = place(options)?;
    let made = twice(release, options, &out, |out| {
        make(release, options.verify, packs, key, out).map(|file| vec![file])
    })?;
    for (file, name) in made.iter().zip(names(&made)?) {
        let line = sign::sums(&out, &[name])?;
        let signature = format!("{}.sig", file.display());
        fs::write(signature, key.sign(&line)).context("write the signature")?;
    }
    fs::write(out.join("waybill.pub"), key.public()).context("write the public key")
}

fn make(
    release: &Release,
    check: bool,
    packs: Option<&Path>,
    key: &Key,
    out: &Path,
) -> Result<PathBuf> {
    let work = Work::make(out)?;
    let name = format!("waybill-{}.{}", release.full_version(), release.machine);
    let folder = work.0.join(&name);
    for part in ["packages", "bin", "btf", "docs", "sbom"] {
        fs::create_dir_all(folder.join(part)).with_context(|| format!("make {part}"))?;
    }
    let documents = Documents::make(release, &work.0.join("documents"))?;
    let inside = packages(release, &documents, &folder.join("packages"))?;
    if check {
        content::check_all(release, &inside)?;
        lint::check(release, &inside)?;
    }
    // As it is in the packages: what verifies is what will run.
    program(release, "waybill-agent", &folder.join("bin/waybill-agent"))?;
    if let Some(packs) = packs {
        copy_all(packs, &folder.join("btf"))?;
    }
    let root = workspace::root();
    for document in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "packaging/config/agent.toml.example",
        "packaging/config/collector.toml.example",
    ] {
        copy(&root.join(document), &folder.join("docs"))?;
    }
    copy_all(&root.join("docs"), &folder.join("docs"))?;
    for program in ["waybill-agent", "waybill-collector"] {
        for (made, to) in [
            ("cdx.json", format!("sbom/{program}.cdx.json")),
            ("notices", format!("docs/NOTICES.{program}")),
        ] {
            let document = documents.get(&format!("{program}.{made}"))?;
            fs::write(folder.join(&to), document).with_context(|| format!("write {to}"))?;
        }
    }
    copy(&root.join("packaging/bundle/install.sh"), &folder)?;
    fs::write(folder.join("waybill.pub"), key.public()).context("write the public key")?;

    let mut files = Vec::new();
    list(&folder, &folder, &mut files)?;
    files.retain(|path| folder.join(path).is_file());
    sign::write(&folder, &files, Some(key))?;
    let mut paths = vec![name.clone()];
    list(&work.0, &folder, &mut paths)?;
    paths.sort();
    for path in &paths {
        let path = work.0.join(path);
        let program = path.ends_with("install.sh") || path.ends_with("bin/waybill-agent");
        let mode = if program || path.is_dir() {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .with_context(|| format!("set the mode of {}", path.display()))?;
    }
    let file = out.join(format!("{name}.tar.gz"));
    release.archive(&work.0, &paths, &file)?;
    Ok(file)
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    fs::copy(file, folder.join(name)).with_context(|| format!("copy {}", file.display()))?;
    Ok(())
}

/// Copies files and folders of `from` into `to`.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    let entries = from
        .read_dir()
        .with_context(|| format!("list {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            copy(&entry.path(), to)?;
        }
    }
    Ok(())
}
