//! Which kernel modules a guest needs, and in which order they are loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{compress, elf};

/// No module of any kernel is larger.
const LARGEST: u64 = 256 << 20;

/// One module, decompressed.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    /// Name as the kernel shows it, with `_` and never `-`.
    pub name: String,
    /// The file's bytes, as `finit_module` takes them on every kernel.
    pub bytes: Vec<u8>,
}

/// The wanted modules that a folder has, each after everything it depends on.
///
/// What is not there is left out: it can be built in, or be called otherwise.
///
/// # Errors
/// When a module cannot be read or is damaged.
pub fn closure(folder: &Path, wanted: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(folder, &mut files)?;
    order(wanted, &mut |name| {
        let Some(path) = files.get(name) else {
            return Ok(None);
        };
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let bytes =
            compress::whole(file, LARGEST).with_context(|| format!("read {}", path.display()))?;
        Ok(Some(bytes))
    })
}

/// File of each module below a folder, by name.
fn index(folder: &Path, into: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            index(&path, into)?;
        } else if let Some((stem, end)) = entry.file_name().to_string_lossy().split_once(".ko")
            && matches!(end, "" | ".xz" | ".zst" | ".gz")
        {
            into.insert(canonical(stem), path);
        }
    }
    Ok(())
}

/// `-` and `_` are the same in names of modules.
fn canonical(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// Gives the bytes of a module by its name, if it is there.
type Read<'a> = &'a mut dyn FnMut(&str) -> Result<Option<Vec<u8>>>;

fn order(wanted: &[String], read: Read<'_>) -> Result<Vec<Module>> {
    let mut seen = BTreeSet::new();
    let mut modules = Vec::new();
    for name in wanted {
        visit(&canonical(name), read, &mut seen, &mut modules)?;
    }
    Ok(modules)
}

/// Depth first; a module that was begun is not begun again, so a damaged circle ends too.
fn visit(
    name: &str,
    read: Read<'_>,
    seen: &mut BTreeSet<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(bytes) = read(name)? else {
        return Ok(());
    };
    let info = elf::modinfo(&bytes).with_context(|| format!("module {name}"))?;
    for needed in needs(&info) {
        visit(&needed, read, seen, modules)?;
    }
    modules.push(Module {
        name: name.to_owned(),
        bytes,
    });
    Ok(())
}

/// What comes before a module: what it links to, and what it says it wants before (`softdep`).
fn needs(info: &[(String, String)]) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in info {
        match key.as_str() {
            "depends" => names.extend(value.split(',').map(canonical)),
            "softdep" => {
                let words = value.split_whitespace();
                let before = words
                    .skip_while(|word| *word != "pre:")
                    .skip(1)
                    .take_while(|word| *word != "post:");
                names.extend(before.map(canonical));
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::{canonical, needs};

    fn info(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_module_needs_what_it_depends_on_and_what_it_wants_before() {
        let info = info(&[
            ("license", "GPL"),
            ("depends", "nf_conntrack,nf-defrag-ipv6"),
            ("softdep", "pre: crc32c libcrc32c post: later"),
        ]);
        let expected = ["nf_conntrack", "nf_defrag_ipv6", "crc32c", "libcrc32c"];
        assert_eq!(needs(&info), expected);
    }

    #[test]
    fn a_module_that_needs_nothing_says_so_with_an_empty_list() {
        assert_eq!(needs(&info(&[("depends", "")])), [""; 0]);
    }

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(canonical("nf-nat"), "nf_nat");
    }
}
