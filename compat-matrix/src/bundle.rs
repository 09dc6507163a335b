//! Programs of a distribution, unpacked with every library they need and never installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::cache;
use crate::elf;
use crate::kernel::Store;
use crate::package;

/// Folders of a Debian system in which libraries are looked for, in this order.
const LIBRARIES: [&str; 6] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
];

/// What nobody executes.
const IDLE: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/bash-completion",
    "usr/share/info",
    "var",
];

/// A root directory made of packages.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where it is.
    pub root: PathBuf,
}

impl Bundle {
    /// Packages of a suite with all they depend on, unpacked in the cache.
    ///
    /// # Errors
    /// When they cannot be had or unpacked.
    pub fn get(store: &Store<'_>, suite: &str, names: &[String]) -> Result<Self> {
        let pattern = names.join(" ");
        let key = format!("{suite}/closure of {pattern}");
        let packages = store.packages(suite, &key, &pattern, &|suite| suite.closure(names))?;
        let key = cache::key(packages.iter().map(|p| p.sha256.as_str()));
        let root = store.cache.folder("bundles", &key, |into| {
            store
                .progress
                .say(suite, &format!("unpacking {pattern} and what it needs"));
            for package in &packages {
                package::unpack(&apt::place(store.cache, package), into, &|path| {
                    !IDLE.iter().any(|idle| path.starts_with(idle))
                })?;
            }
            Ok(())
        })?;
        Ok(Self { root })
    }

    /// The file behind a path, with links followed inside the root.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<PathBuf> {
        let mut path = self.root.join(path.trim_start_matches('/'));
        // Longer chains of links are damage.
        for _ in 0..8 {
            let kind = fs::symlink_metadata(&path).ok()?;
            if !kind.is_symlink() {
                return kind.is_file().then_some(path);
            }
            let target = fs::read_link(&path).ok()?;
            path = match target.strip_prefix("/") {
                Ok(below) => self.root.join(below),
                Err(_) => path.parent()?.join(target),
            };
        }
        None
    }

    fn library(&self, name: &str) -> Option<PathBuf> {
        LIBRARIES
            .iter()
            .find_map(|folder| self.file(&format!("{folder}/{name}")))
    }

    /// The loader and libraries that these files need, by the name under which they are asked for.
    ///
    /// # Errors
    /// When a file cannot be read or a library is missing.
    pub fn libraries(&self, files: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        let mut open: Vec<PathBuf> = files.to_vec();
        while let Some(file) = open.pop() {
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            let needed = elf::needed(&bytes).with_context(|| format!("read {}", file.display()))?;
            for name in needed {
                let name = file_name(&name);
                if found.contains_key(&name) {
                    continue;
                }
                let Some(path) = self.library(&name) else {
                    bail!("{} needs {name}, which no package has", file.display());
                };
                open.push(path.clone());
                found.insert(name, path);
            }
        }
        Ok(found)
    }

    /// Folders with libraries, for the loader.
    #[must_use]
    pub fn library_path(&self) -> String {
        LIBRARIES
            .iter()
            .map(|folder| self.root.join(folder))
            .filter(|folder| folder.is_dir())
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>()
            .join(":")
    }
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(
        || path.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::Bundle;

    #[test]
    fn links_are_followed_inside_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let bundle = Bundle {
            root: directory.path().to_owned(),
        };
        let lib = directory.path().join("usr/lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libx.so.1.2"), "x").unwrap();
        std::os::unix::fs::symlink("libx.so.1.2", lib.join("libx.so.1")).unwrap();
        std::os::unix::fs::symlink("/usr/lib/libx.so.1", lib.join("libx.so")).unwrap();
        std::os::unix::fs::symlink("loop", lib.join("loop")).unwrap();
        let real = Some(lib.join("libx.so.1.2"));
        assert_eq!(bundle.file("/usr/lib/libx.so"), real);
        assert_eq!(bundle.file("usr/lib/loop"), None);
        assert_eq!(bundle.library("libx.so.1"), real);
    }
}
