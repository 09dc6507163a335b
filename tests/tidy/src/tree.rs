//! The source tree that rules look at, and what they find in it.

use std::fmt;
use std::io;
use std::path::Path;

/// One text file of the tree.
#[derive(Clone, Debug)]
pub struct File {
    /// Path below the root, with `/` between its parts.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl File {
    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    /// A finding on one line of this file.
    pub(crate) fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }

    /// True for a file that is or lies below one of these paths.
    pub(crate) fn is_within(&self, paths: &[&str]) -> bool {
        paths
            .iter()
            .any(|path| self.path == *path || (path.ends_with('/') && self.path.starts_with(path)))
    }
}

/// The text files of a source tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All text files and, with nothing in them, pictures, sorted by path. Other files (goldens,
    /// dictionaries) have no rules.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads everything below `root` but what git, cargo and npm keep there.
    ///
    /// # Errors
    /// When a directory or a file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// True when `path` is a file or a folder that holds files.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self
                .files
                .iter()
                .any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

/// Folders that tools fill.
const MADE: [&str; 4] = ["target", "node_modules", "dist", "generated"];

fn collect(dir: &Path, prefix: &str, into: &mut Vec<File>) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = format!("{prefix}{name}");
        // In a further work tree of git, `.git` is a file.
        if name == ".git" || (kind.is_dir() && MADE.contains(&&*name)) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), into)?;
        } else if kind.is_file() {
            // Of a picture it matters that it is there.
            let text = match String::from_utf8(std::fs::read(entry.path())?) {
                Ok(text) => text,
                Err(_) if path.ends_with(".png") => String::new(),
                Err(_) => continue,
            };
            into.push(File { path, text });
        }
    }
    Ok(())
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the path that is missing.
    pub path: String,
    /// Line from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what the rule is for.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A tree of the given files, for tests.
#[cfg(test)]
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let files = files.iter().map(|(path, text)| File {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    });
    Tree {
        files: files.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Tree, tree};

    #[test]
    fn a_tree_is_read_without_what_git_and_cargo_keep_in_it() {
        let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.ancestors().nth(2).expect("tests/tidy is two deep");
        let read = Tree::read(root).expect("readable");
        assert!(read.has("tests/tidy/src/lib.rs"));
        assert!(read.has("tests/tidy/src"));
        assert!(read.has("docs/pictures/map.png"));
        assert!(!read.has("target"));
        assert!(!read.has("collector/web/node_modules"));
        assert!(!read.has(".git"));
    }

    #[test]
    fn a_folder_is_there_when_it_holds_a_file() {
        let tree = tree(&[("a/b/c.rs", "")]);
        assert!(tree.has("a/b/c.rs"));
        assert!(tree.has("a/b"));
        assert!(tree.has("a/"));
        assert!(!tree.has("a/x"));
        assert!(!tree.has("a/b/c"));
    }
}
