//! What a program is made of: every crate that is compiled in, the C code in those, and what the
//! linker takes from the build machine. The list of components and the notices come from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::component::{Component, collect};
use super::release::Release;
use super::{build_machine, page};
use crate::{child, workspace};

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
    for one in crates(&linked(&metadata, package)?)? {
        found.extend(one);
    }
    found.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    found.extend(build_machine::libraries(package)?);
    if package == "collector" {
        found.extend(page::bundled()?);
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

/// Each crate, and the C code in it. One that comes without a notice has those of its repository.
fn crates(linked: &[&Value]) -> Result<Vec<Vec<Component>>> {
    let mut found = Vec::new();
    let mut of_repository: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for package in linked {
        let crate_ = component(package)?;
        let code = vendored(package, &crate_)?;
        let repository = package["repository"].as_str();
        if let Some(repository) = repository.filter(|_| !crate_.notices.is_empty()) {
            let notices = of_repository.entry(repository);
            notices.or_insert_with(|| crate_.notices.clone());
        }
        found.push([vec![crate_], code.into_iter().collect()].concat());
    }
    for (package, parts) in linked.iter().zip(&mut found) {
        let repository = package["repository"].as_str();
        let others = repository.and_then(|repository| of_repository.get(repository));
        if let (true, Some(others)) = (parts[0].notices.is_empty(), others) {
            parts[0].notices.clone_from(others);
        }
    }
    Ok(found)
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

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{component, crates, linked};
    use serde_json::json;

    #[test]
    fn a_crate_without_a_notice_has_that_of_its_repository() {
        let place = std::env::temp_dir().join(format!("waybill-crates-{}", std::process::id()));
        std::fs::create_dir_all(place.join("whole")).expect("a folder");
        std::fs::write(place.join("whole/LICENSE-MIT"), "MIT").expect("a notice");
        let package = |name: &str, repository: &str| {
            let manifest = place.join(name).join("Cargo.toml");
            json!({ "name": name, "version": "1.0.0", "source": "registry+x", "license": "MIT",
                    "manifest_path": manifest, "repository": repository })
        };
        let all = [
            package("part", "r"),
            package("whole", "r"),
            package("other", "s"),
        ];
        let found = crates(&all.iter().collect::<Vec<_>>()).expect("crates");
        std::fs::remove_dir_all(&place).expect("removed");
        let many: Vec<usize> = found.iter().map(|parts| parts[0].notices.len()).collect();
        assert_eq!(many, [1, 1, 0]);
    }

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
