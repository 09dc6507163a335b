//! The roots of every crate: of libraries, programs, tests, examples and build scripts.

use std::collections::BTreeSet;

use crate::Tree;

/// Folders whose files, and folders with a `main.rs`, are crates of their own.
const FOLDERS: [&str; 4] = ["benches", "examples", "src/bin", "tests"];

/// Crates that stand where cargo looks for them without being told.
const FILES: [&str; 3] = ["build.rs", "src/lib.rs", "src/main.rs"];

/// Tables of a manifest that say where others stand.
const TARGETS: [&str; 5] = ["bench", "bin", "example", "lib", "test"];

/// The root file of each crate of each package in the tree.
pub(super) fn roots(tree: &Tree) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    for manifest in &tree.files {
        let Some(folder) = manifest.path.strip_suffix("Cargo.toml") else {
            continue;
        };
        let Ok(table) = manifest.text.parse::<toml::Table>() else {
            continue;
        };
        if !table.contains_key("package") {
            continue;
        }
        for (name, target) in &table {
            let one = std::slice::from_ref(target);
            let all = target.as_array().map_or(one, Vec::as_slice);
            let paths = all.iter().filter_map(|one| one.get("path")?.as_str());
            let is_target = TARGETS.contains(&name.as_str());
            roots.extend(
                paths
                    .filter(|_| is_target)
                    .map(|path| format!("{folder}{path}")),
            );
        }
        let own = tree.files.iter().filter(|file| {
            let path = file.path.strip_prefix(folder);
            path.is_some_and(is_root)
        });
        roots.extend(own.map(|file| file.path.clone()));
    }
    roots
}

/// Whether cargo takes a file of a package for a crate without being told.
fn is_root(path: &str) -> bool {
    let in_folder = |folder: &&str| {
        let rest = path
            .strip_prefix(*folder)
            .and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| match rest.split_once('/') {
            None => rest.ends_with(".rs"),
            Some((_, file)) => file == "main.rs",
        })
    };
    FILES.contains(&path) || FOLDERS.iter().any(in_folder)
}

#[cfg(test)]
mod tests {
    use super::roots;
    use crate::tree;

    #[test]
    fn every_crate_of_every_package_is_found() {
        let tree = tree(&[
            ("Cargo.toml", "[workspace]\n"),
            (
                "a/Cargo.toml",
                "[package]\n[[test]]\npath = \"e2e/main.rs\"\n",
            ),
            ("a/build.rs", ""),
            ("a/e2e/main.rs", ""),
            ("a/e2e/other.rs", ""),
            ("a/src/lib.rs", ""),
            ("a/src/other.rs", ""),
            ("a/src/bin/one.rs", ""),
            ("a/tests/many/main.rs", ""),
            ("a/tests/many/deep.rs", ""),
            ("a/tests/one.rs", ""),
            ("a/tests/support/mod.rs", ""),
            ("a/b/Cargo.toml", "[package]\n"),
            ("a/b/src/main.rs", ""),
        ]);
        let found: Vec<String> = roots(&tree).into_iter().collect();
        let expected = [
            "a/b/src/main.rs",
            "a/build.rs",
            "a/e2e/main.rs",
            "a/src/bin/one.rs",
            "a/src/lib.rs",
            "a/tests/many/main.rs",
            "a/tests/one.rs",
        ];
        assert_eq!(found, expected);
    }
}
