//! What npm installs: exact versions, from whichever registry a machine has.

use serde_json::Value;

use crate::{File, Finding, Tree};

/// Tables of a `package.json` that name packages.
const TABLES: [&str; 2] = ["dependencies", "devDependencies"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in named(tree, "package.json") {
        let Ok(manifest) = serde_json::from_str::<Value>(&file.text) else {
            findings.push(file.finding(0, "is no JSON"));
            continue;
        };
        for (name, version) in versions(&manifest) {
            if !version.starts_with(|c: char| c.is_ascii_digit()) || version.contains(' ') {
                let message = format!("{name}: {version} is not one exact version");
                findings.push(file.finding(0, message));
            }
        }
    }
    for file in named(tree, "package-lock.json") {
        for (at, line) in file.lines() {
            if line.trim_start().starts_with("\"resolved\"") {
                findings.push(file.finding(at, "names a place to get a package from"));
            }
        }
    }
    findings
}

/// Each package that a `package.json` names.
pub(crate) fn dependencies(tree: &Tree) -> Vec<(&File, String)> {
    let mut found = Vec::new();
    for file in named(tree, "package.json") {
        let manifest: Value = serde_json::from_str(&file.text).unwrap_or_default();
        let names = versions(&manifest).map(|(name, _)| (file, name.to_owned()));
        found.extend(names);
    }
    found
}

fn versions(manifest: &Value) -> impl Iterator<Item = (&str, &str)> {
    let tables = TABLES
        .iter()
        .filter_map(|table| manifest[table].as_object());
    tables
        .flatten()
        .map(|(name, version)| (name.as_str(), version.as_str().unwrap_or_default()))
}

fn named<'a>(tree: &'a Tree, name: &'a str) -> impl Iterator<Item = &'a File> {
    let is_it = move |file: &&File| file.path.rsplit('/').next() == Some(name);
    tree.files.iter().filter(is_it)
}

#[cfg(test)]
mod tests {
    use super::{check, dependencies};
    use crate::tree;

    #[test]
    fn ranges_and_places_are_found() {
        let manifest = r#"{"dependencies": {"a": "1.2.3", "b": "^1.0.0"},
                           "devDependencies": {"c": "1 || 2", "d": "latest"}}"#;
        let lock = "{\n  \"resolved\": \"x\",\n  \"integrity\": \"y\"\n}";
        let tree = tree(&[("w/package.json", manifest), ("w/package-lock.json", lock)]);
        let found = check(&tree);
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places[..3], [("w/package.json", 0); 3]);
        assert_eq!(places[3..], [("w/package-lock.json", 2)]);
        let names: Vec<_> = dependencies(&tree)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }
}
