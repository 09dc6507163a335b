//! What a program is made of: every crate that is compiled in, the C code in those, and what the
//! linker takes from the build machine. The list of components and the notices come from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::release::Release;
use crate::{child, workspace};

/// One part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) version: String,
    /// SPDX expression.
    pub(super) licence: String,
    /// Where it is from, as a package URL; none for parts of this workspace.
    pub(super) purl: Option<String>,
    /// Files with its licences and notices.
    pub(super) notices: Vec<PathBuf>,
}

impl Component {
    /// Whether it is a crate of Rust, and no C code.
    pub(super) fn is_crate(&self) -> bool {
        let purl = self.purl.as_deref();
        purl.is_none_or(|purl| purl.starts_with("pkg:cargo/"))
    }
}

/// C code that comes in a crate: the crate, its folder there, name and licence.
const VENDORED: [(&str, &str, &str, &str); 3] = [
    (
        "libbpf-sys",
        "libbpf",
        "libbpf",
        "LGPL-2.1-only OR BSD-2-Clause",
    ),
    ("libsqlite3-sys", "sqlite3", "SQLite", "blessing"),
    ("zstd-sys", "zstd", "zstd", "BSD-3-Clause OR GPL-2.0-only"),
];
/// Folders of crates that are not compiled: copies of what the build machine has.
const NOT_COMPILED: [&str; 4] = ["elfutils", "tests", "benches", "target"];

/// A C library of the build machine: its name as pkg-config knows it (or for people), licence, and
/// packages of Debian and of Fedora whose notices are its own.
struct Linked {
    name: &'static str,
    licence: &'static str,
    packages: &'static [&'static str],
}

const GLIBC: Linked = Linked {
    name: "glibc",
    licence: "LGPL-2.1-or-later",
    packages: &["libc6-dev", "libc6", "glibc-devel", "glibc"],
};
const LIBGCC: Linked = Linked {
    name: "libgcc",
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
    packages: &["gcc-*-base", "libgcc"],
};
/// What the agent has beyond these; the last one only where libelf was built with it.
const AGENT: [Linked; 3] = [
    Linked {
        name: "libelf",
        licence: "GPL-2.0-or-later OR LGPL-3.0-or-later",
        packages: &["libelf-dev", "elfutils-libelf-devel", "elfutils-libelf"],
    },
    Linked {
        name: "zlib",
        licence: "Zlib",
        packages: &["zlib1g-dev", "zlib-devel", "zlib"],
    },
    Linked {
        name: "libzstd",
        licence: "BSD-3-Clause OR GPL-2.0-only",
        packages: &["libzstd-dev", "libzstd-devel", "libzstd"],
    },
];

/// Everything in the program that package `package` of the workspace builds, crates first.
///
/// # Errors
/// When cargo's metadata cannot be read, or a part has no licence or no notice.
pub(super) fn of(release: &Release, package: &str) -> Result<Vec<Component>> {
    let target = format!("{}-unknown-linux-gnu", release.machine);
    let metadata = child::output(&mut child::cargo(&[
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        &target,
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let mut found = Vec::new();
    for one in linked(&metadata, package)? {
        let crate_ = component(one)?;
        found.extend(vendored(one, &crate_)?);
        found.push(crate_);
    }
    found.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    found.push(rust_library()?);
    found.push(system(&GLIBC, &libc_version()?)?);
    found.push(system(&LIBGCC, &compiler_version()?)?);
    if package == "agent" {
        let ask = ["--print-requires-private", "libelf"];
        let private = child::output(Command::new("pkg-config").args(ask))?;
        for library in &AGENT {
            if library.name != "libzstd" || private.contains("libzstd") {
                let ask = ["--modversion", library.name];
                let version = child::output(Command::new("pkg-config").args(ask))?;
                found.push(system(library, version.trim())?);
            }
        }
    }
    for one in &found {
        ensure!(!one.licence.is_empty(), "{} has no licence", one.name);
        ensure!(!one.notices.is_empty(), "{} has no notice", one.name);
    }
    Ok(found)
}

/// Every crate that is compiled into `package`, the package itself left out.
fn linked<'m>(metadata: &'m Value, package: &str) -> Result<Vec<&'m Value>> {
    let packages: BTreeMap<&str, &Value> = array(&metadata["packages"])
        .filter_map(|one| Some((one["id"].as_str()?, one)))
        .collect();
    let nodes: BTreeMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .filter_map(|one| Some((one["id"].as_str()?, one)))
        .collect();
    let root = packages
        .iter()
        .find(|(_, one)| one["name"] == package && one["source"].is_null())
        .map(|(id, _)| *id)
        .with_context(|| format!("no package {package} in cargo's metadata"))?;
    let mut left = vec![root];
    let mut seen = BTreeSet::from([root]);
    while let Some(id) = left.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in array(&node["deps"]) {
            // What builds or tests a crate is not in the program.
            let linked = array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            if let Some(id) = dependency["pkg"].as_str()
                && linked
                && seen.insert(id)
            {
                left.push(id);
            }
        }
    }
    let others = seen.iter().filter(|id| **id != root);
    Ok(others.filter_map(|id| packages.get(id).copied()).collect())
}

fn component(package: &Value) -> Result<Component> {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let foreign = package["source"].is_string();
    let folder = folder(package)?;
    let mut notices = Vec::new();
    if folder.is_dir() {
        collect(&folder, 4, &mut notices)?;
    }
    // Crates that only name Apache-2.0, whose text is that of this workspace.
    if notices.is_empty() && package["license"] == "Apache-2.0" {
        notices.push(workspace::root().join("LICENSE"));
    }
    Ok(Component {
        purl: foreign.then(|| format!("pkg:cargo/{name}@{version}")),
        licence: text("license").replace('/', " OR "),
        name,
        version,
        notices,
    })
}

fn folder(package: &Value) -> Result<PathBuf> {
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let folder = Path::new(manifest).parent();
    Ok(folder.context("a crate without folder")?.to_owned())
}

/// The C code in a crate.
fn vendored(package: &Value, crate_: &Component) -> Result<Option<Component>> {
    let known = VENDORED.iter().find(|(name, ..)| *name == crate_.name);
    let Some((_, inside, name, licence)) = known else {
        return Ok(None);
    };
    let folder = folder(package)?.join(inside);
    let mut notices = Vec::new();
    collect(&folder, 1, &mut notices)?;
    let version = if *name == "SQLite" {
        // In the public domain: the words of its authors are in the source, and the crate's
        // licence covers the rest.
        notices.push(folder.join("sqlite3.h"));
        let header = fs::read_to_string(folder.join("sqlite3.h")).context("read sqlite3.h")?;
        let line = header
            .lines()
            .find(|line| line.starts_with("#define SQLITE_VERSION "));
        line.and_then(|line| line.split('"').nth(1))
            .map(str::to_owned)
    } else {
        let (_, build) = crate_.version.split_once('+').unwrap_or_default();
        Some(
            build
                .trim_start_matches(|c: char| !c.is_ascii_digit())
                .to_owned(),
        )
    };
    let version = version.with_context(|| format!("the version of {name} is not known"))?;
    Ok(Some(Component {
        name: (*name).into(),
        purl: Some(format!("pkg:generic/{}@{version}", name.to_lowercase())),
        licence: (*licence).into(),
        version,
        notices,
    }))
}

/// Files that say under which terms, below `folder`, sorted.
fn collect(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("list {}", folder.display()))?;
    let mut entries = entries
        .map(|one| Ok(one?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let upper = name.to_uppercase();
        let begins = [
            "LICENSE",
            "LICENCE",
            "COPYING",
            "NOTICE",
            "COPYRIGHT",
            "UNLICENSE",
        ];
        if path.is_file() {
            let source = [".RS", ".C", ".H", ".PY"]
                .iter()
                .any(|end| upper.ends_with(end));
            if !source && begins.iter().any(|begin| upper.starts_with(begin)) {
                into.push(path);
            }
        } else if depth > 1 && path.is_dir() && !NOT_COMPILED.contains(&&*name) {
            collect(&path, depth - 1, into)?;
        }
    }
    Ok(())
}

/// Rust's own libraries.
fn rust_library() -> Result<Component> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = child::output(Command::new(&rustc).arg("--version"))?;
    let version = version
        .split(' ')
        .nth(1)
        .context("rustc's version")?
        .to_owned();
    let root = child::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let documents = Path::new(root.trim()).join("share/doc");
    let mut notices = Vec::new();
    for folder in ["rust", "rust/licenses", "rustc", "rustc/licenses"] {
        let folder = documents.join(folder);
        if folder.is_dir() {
            collect(&folder, 1, &mut notices)?;
        }
        // One file per licence that anything in the toolchain has.
        for name in [
            "MIT.txt",
            "Apache-2.0.txt",
            "BSD-2-Clause.txt",
            "Unicode-3.0.txt",
        ] {
            let file = folder.join(name);
            if file.is_file() {
                notices.push(file);
            }
        }
    }
    // The pages about the whole toolchain name hundreds of crates that no program has.
    notices.retain(|file| file.extension().is_none_or(|end| end != "html"));
    Ok(Component {
        name: "rust-std".into(),
        purl: Some(format!("pkg:generic/rust-std@{version}")),
        licence: "MIT OR Apache-2.0".into(),
        version,
        notices,
    })
}

fn system(library: &Linked, version: &str) -> Result<Component> {
    let mut notices = Vec::new();
    for package in library.packages {
        for folder in ["usr/share/doc", "usr/share/licenses"] {
            notices.extend(matching(&Path::new("/").join(folder), package)?);
        }
        if !notices.is_empty() {
            break;
        }
    }
    if notices.is_empty() {
        bail!(
            "no notices of {}: none of {:?} is installed",
            library.name,
            library.packages
        );
    }
    Ok(Component {
        name: library.name.into(),
        version: version.into(),
        licence: library.licence.into(),
        purl: Some(format!("pkg:generic/{}@{version}", library.name)),
        notices,
    })
}

/// Notices of a package, whose name may have one `*`.
fn matching(folder: &Path, package: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let (begin, end) = package.split_once('*').unwrap_or((package, ""));
    let Ok(entries) = folder.read_dir() else {
        return Ok(found);
    };
    let mut names = entries
        .map(|one| Ok(one?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        let exact = !package.contains('*') && name == package;
        let fits = package.contains('*') && name.starts_with(begin) && name.ends_with(end);
        if (exact || fits) && folder.join(&*name).is_dir() && found.is_empty() {
            collect(&folder.join(&*name), 1, &mut found)?;
        }
    }
    Ok(found)
}

fn libc_version() -> Result<String> {
    let libc = child::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let (_, version) = libc.trim().split_once(' ').context("glibc's version")?;
    Ok(version.to_owned())
}

fn compiler_version() -> Result<String> {
    let version = child::output(Command::new("cc").arg("-dumpfullversion"))?;
    Ok(version.trim().to_owned())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{component, linked};
    use serde_json::json;

    #[test]
    fn only_what_is_linked_is_listed_with_its_licence_and_origin() {
        let source = "registry+x";
        let metadata = json!({
            "packages": [
                { "id": "a", "name": "agent", "version": "1.0.0", "source": null },
                { "id": "w", "name": "wire", "version": "1.0.0", "source": null,
                  "license": "Apache-2.0", "manifest_path": "nowhere/wire/Cargo.toml" },
                { "id": "z", "name": "zstd", "version": "2.0.0", "source": source,
                  "license": "MIT/BSD-3-Clause", "manifest_path": "nowhere/zstd/Cargo.toml" },
                { "id": "t", "name": "proptest", "version": "3.0.0", "source": source, "license": "MIT" },
            ],
            "resolve": { "nodes": [
                { "id": "a", "deps": [
                    { "pkg": "w", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "t", "dep_kinds": [{ "kind": "dev" }] },
                ]},
                { "id": "w", "deps": [{ "pkg": "z", "dep_kinds": [{ "kind": "build" }, { "kind": null }] }] },
                { "id": "z", "deps": [] },
                { "id": "t", "deps": [] },
            ]},
        });
        let found = linked(&metadata, "agent").expect("a graph");
        assert_eq!(found.len(), 2);
        let wire = component(found[0]).expect("a component");
        assert_eq!((wire.name.as_str(), wire.purl), ("wire", None));
        assert_eq!(wire.notices.len(), 1, "the licence of the workspace");
        let zstd = component(found[1]).expect("a component");
        assert_eq!(zstd.purl.as_deref(), Some("pkg:cargo/zstd@2.0.0"));
        assert_eq!(zstd.licence, "MIT OR BSD-3-Clause");
        assert!(linked(&metadata, "missing").is_err());
    }
}
