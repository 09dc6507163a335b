//! Crates: which of ours may know which, and that each foreign one was thought about.

use std::collections::{BTreeMap, BTreeSet};

use crate::npm;
use crate::{File, Finding, Tree};

/// Where each foreign crate has its line: "- `name`: what it does and what it replaces".
const REGISTER: &str = "docs/decisions/dependencies.md";

/// Which of our crates may use which.
const KNOWS: [(&str, &[&str]); 12] = [
    // The agent's tests assemble a jail by the manifest.
    (
        "agent",
        &[
            "bpf", "follow", "notation", "notify", "program", "rootfs", "wire",
        ],
    ),
    ("bpf", &["notation"]),
    (
        "collector",
        &["follow", "notation", "notify", "program", "wire"],
    ),
    ("compat-matrix", &["notation", "rootfs"]),
    ("follow", &[]),
    ("matrix-guest", &["bpf", "rootfs", "tests"]),
    ("notation", &[]),
    ("notify", &[]),
    ("program", &["follow", "notation"]),
    ("rootfs", &[]),
    ("tidy", &[]),
    ("wire", &["notation"]),
];

/// The same for tests alone. What ships cannot write format 1, because nobody whom it knows may know
/// the crate that does.
const TESTS_KNOW: [(&str, &str); 3] = [
    ("agent", "rootfs"),
    ("collector", "format1"),
    ("wire", "format1"),
];

/// Tables of a manifest that name dependencies.
const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut manifests = Vec::new();
    for file in &tree.files {
        if file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml") {
            match toml::from_str::<toml::Table>(&file.text) {
                Ok(table) => manifests.push((file, table)),
                Err(error) => findings.push(file.finding(0, error.message().to_owned())),
            }
        }
    }
    let mut ours: BTreeSet<&str> = manifests.iter().filter_map(|(_, t)| name(t)).collect();
    // What takes the place of a crate of others is called like it, and means it.
    for (_, manifest) in &manifests {
        let patched = manifest
            .get("patch")
            .and_then(|patch| patch.get("crates-io"));
        let patched = patched.and_then(toml::Value::as_table);
        for name in patched.into_iter().flat_map(|table| table.keys()) {
            ours.remove(name.as_str());
        }
    }
    findings.extend(directions(&manifests, &ours));
    findings.extend(register(tree, &manifests, &ours));
    findings
}

type Manifest<'a> = (&'a File, toml::Table);

fn name(manifest: &toml::Table) -> Option<&str> {
    manifest.get("package")?.get("name")?.as_str()
}

/// Names of what a manifest depends on, in all its tables.
fn dependencies(manifest: &toml::Table) -> impl Iterator<Item = &str> {
    let shared = manifest
        .get("workspace")
        .and_then(|w| w.get("dependencies"));
    TABLES
        .iter()
        .filter_map(|table| manifest.get(*table))
        .chain(shared)
        .filter_map(toml::Value::as_table)
        .flat_map(|table| table.keys().map(String::as_str))
}

fn has(manifest: &toml::Table, table: &str, dependency: &str) -> bool {
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.is_some_and(|table| table.contains_key(dependency))
}

fn directions(manifests: &[Manifest<'_>], ours: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, manifest) in manifests {
        let rule = name(manifest).and_then(|own| KNOWS.iter().find(|(name, _)| *name == own));
        let Some((own, known)) = rule else { continue };
        for dependency in dependencies(manifest) {
            let tested = TESTS_KNOW.contains(&(*own, dependency))
                && !has(manifest, "dependencies", dependency);
            if ours.contains(dependency) && !known.contains(&dependency) && !tested {
                let message = format!("{own} must not know {dependency}");
                findings.push(file.finding(0, message));
            }
        }
    }
    findings
}

fn register(tree: &Tree, manifests: &[Manifest<'_>], ours: &BTreeSet<&str>) -> Vec<Finding> {
    let mut used: BTreeMap<String, &File> = BTreeMap::new();
    for (file, manifest) in manifests {
        for dependency in dependencies(manifest) {
            if !ours.contains(dependency) {
                used.entry(dependency.to_owned()).or_insert(file);
            }
        }
    }
    for (file, name) in npm::dependencies(tree) {
        used.entry(name).or_insert(file);
    }
    let Some(register) = tree.file(REGISTER) else {
        return vec![Finding {
            path: REGISTER.to_owned(),
            line: 0,
            message: "holds a line for each dependency, and is missing".to_owned(),
        }];
    };
    let mut argued = BTreeSet::new();
    let mut findings = Vec::new();
    for (at, line) in register.lines() {
        let Some((crate_name, reason)) = entry(line) else {
            continue;
        };
        argued.insert(crate_name);
        if !used.contains_key(crate_name) {
            findings.push(register.finding(at, format!("{crate_name} is not used any more")));
        }
        if reason.trim().is_empty() {
            findings.push(register.finding(at, format!("{crate_name} has no reason")));
        }
    }
    for (crate_name, file) in used {
        if !argued.contains(crate_name.as_str()) {
            let message = format!("{crate_name} has no line in {REGISTER}");
            findings.push(file.finding(0, message));
        }
    }
    findings
}

/// Name and reason in "- `name`: reason".
fn entry(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("- `")?.split_once("`:")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tree;

    const REGISTER: &str = "docs/decisions/dependencies.md";

    #[test]
    fn a_dependency_without_a_line_is_found() {
        let found = check(&tree(&[
            (REGISTER, "# Crates\n\n- `serde`: reads configuration.\n"),
            (
                "agent/Cargo.toml",
                "[dependencies]\nserde = \"1\"\nleft-pad = \"1\"\n",
            ),
        ]));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("left-pad"));
    }

    #[test]
    fn a_line_without_use_or_reason_is_found() {
        let found = check(&tree(&[
            (REGISTER, "- `serde`:\n- `gone`: was useful.\n"),
            ("Cargo.toml", "[workspace.dependencies]\nserde = \"1\"\n"),
        ]));
        let lines: Vec<_> = found.iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn a_missing_register_is_found() {
        assert_eq!(check(&tree(&[("Cargo.toml", "")])).len(), 1);
    }

    #[test]
    fn a_crate_that_knows_what_it_must_not_is_found() {
        let package = |name: &str, tail: &str| format!("[package]\nname = \"{name}\"\n{tail}");
        let wire = package(
            "wire",
            "[dev-dependencies]\nagent = { path = \"../agent\" }\n",
        );
        let found = check(&tree(&[
            (REGISTER, ""),
            (
                "agent/Cargo.toml",
                &package("agent", "[dependencies]\nwire.workspace = true\n"),
            ),
            ("wire/Cargo.toml", &wire),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "wire must not know agent");
    }

    #[test]
    fn a_crate_in_the_place_of_one_of_others_is_called_like_it_and_none_of_ours() {
        let patched = "[patch.crates-io]\nserde = { path = \"x\" }\n";
        let found = |root: &str| {
            let found = check(&tree(&[
                (REGISTER, "- `serde`: reads configuration.\n"),
                ("Cargo.toml", root),
                ("x/Cargo.toml", "[package]\nname = \"serde\"\n"),
                (
                    "wire/Cargo.toml",
                    "[package]\nname = \"wire\"\n[dependencies]\nserde = \"1\"\n",
                ),
            ]));
            found.len()
        };
        assert_eq!((found(patched), found("")), (0, 2));
    }

    #[test]
    fn the_writer_of_format_1_is_known_by_tests_alone() {
        let package = |name: &str, table: &str| {
            let head = format!("[package]\nname = \"{name}\"\n[{table}]\n");
            head + "format1.workspace = true\n"
        };
        let writer = "[package]\nname = \"format1\"\n";
        let found = |name: &str, table: &str| {
            let found = check(&tree(&[
                (REGISTER, ""),
                ("wire/tests/format1/Cargo.toml", writer),
                ("x/Cargo.toml", &package(name, table)),
            ]));
            found.len()
        };
        for name in ["wire", "collector"] {
            assert_eq!(found(name, "dev-dependencies"), 0, "{name}");
            assert_eq!(found(name, "dependencies"), 1, "{name}");
        }
        for name in ["agent", "follow", "notation", "bpf", "rootfs"] {
            assert_eq!(found(name, "dev-dependencies"), 1, "{name}");
        }
    }

    #[test]
    fn a_manifest_that_is_not_toml_is_found() {
        let found = check(&tree(&[(REGISTER, ""), ("a/Cargo.toml", "[package\n")]));
        assert_eq!(found.len(), 1);
    }
}
