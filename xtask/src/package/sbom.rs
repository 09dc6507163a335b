//! What a program is made of, as a CycloneDX document (ECMA-424, version 1.5, JSON).
//!
//! From cargo's own metadata: the very graph that was built. Nothing in it depends on the machine
//! or the time, so the same source gives the same document.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::release::Release;
use crate::child;

/// C libraries of the build machine that are linked in, as pkg-config names them; the other C code
/// (libbpf, SQLite, zstd) comes in crates and has their versions.
const LINKED: [(&str, &[&str]); 2] = [
    ("waybill-agent", &["libelf", "zlib"]),
    ("waybill-collector", &[]),
];

/// The document of one program of package `package` of the workspace.
///
/// # Errors
/// When cargo's metadata cannot be read.
pub(super) fn document(release: &Release, program: &str, package: &str) -> Result<String> {
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
    let mut components = components(&metadata, package)?;
    let system = LINKED.iter().find(|(name, _)| *name == program);
    for name in system.into_iter().flat_map(|(_, names)| names.iter()) {
        let version = child::output(Command::new("pkg-config").args(["--modversion", name]))?;
        components.push(library(name, version.trim()));
    }
    let libc = child::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    if let Some((name, version)) = libc.trim().split_once(' ') {
        components.push(library(name, version));
    }
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": program,
                "version": release.full_version(),
                "licenses": [{ "expression": "Apache-2.0" }],
            }
        },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn library(name: &str, version: &str) -> Value {
    json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:generic/{name}@{version}"),
    })
}

/// Every crate that is compiled into `package`, sorted by name and version.
fn components(metadata: &Value, package: &str) -> Result<Vec<Value>> {
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
    let mut found: Vec<&Value> = seen
        .iter()
        .filter(|id| **id != root)
        .filter_map(|id| packages.get(id).copied())
        .collect();
    found.sort_by_key(|one| (one["name"].as_str(), one["version"].as_str()));
    Ok(found.into_iter().map(component).collect())
}

fn component(package: &Value) -> Value {
    let (name, version) = (&package["name"], &package["version"]);
    let mut component = json!({ "type": "library", "name": name, "version": version });
    if let Some(licence) = package["license"].as_str() {
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let (Some(name), Some(version), true) = (
        name.as_str(),
        version.as_str(),
        package["source"].is_string(),
    ) {
        component["purl"] = json!(format!("pkg:cargo/{name}@{version}"));
    }
    component
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::components;
    use serde_json::json;

    #[test]
    fn only_what_is_linked_is_listed_with_its_licence_and_origin() {
        let source = "registry+x";
        let metadata = json!({
            "packages": [
                { "id": "a", "name": "agent", "version": "1.0.0", "source": null },
                { "id": "w", "name": "wire", "version": "1.0.0", "source": null, "license": "Apache-2.0" },
                { "id": "z", "name": "zstd", "version": "2.0.0", "source": source, "license": "MIT/BSD-3-Clause" },
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
        let found = components(&metadata, "agent").expect("a graph");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["name"], "wire");
        assert!(found[0]["purl"].is_null());
        assert_eq!(found[1]["purl"], "pkg:cargo/zstd@2.0.0");
        assert_eq!(found[1]["licenses"][0]["expression"], "MIT OR BSD-3-Clause");
        assert!(components(&metadata, "missing").is_err());
    }
}
