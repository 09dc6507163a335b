//! The list: every entry is checked before any is made.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The manifest of this version of the agent.
const TEXT: &str = include_str!("../manifest.toml");

/// Everything in the jail, in the order in which it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Directories before what is in them.
    pub entries: Vec<Entry>,
}

/// One directory, file or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the jail's root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Why it is there, in an operator's words.
    pub why: String,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory with permission bits.
    Directory {
        /// Permission bits, without the file type.
        mode: u32,
    },
    /// A regular file with permission bits.
    File {
        /// What it holds.
        content: Content,
        /// Permission bits, without the file type.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, seen from inside the jail.
        target: PathBuf,
    },
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: the agent mounts or copies something to it.
    Empty,
    /// A program of this workspace, by name.
    Program(String),
    /// This text.
    Text(String),
}

impl Manifest {
    /// The manifest of this version of the agent.
    ///
    /// # Errors
    /// When `manifest.toml` breaks one of its rules; a test reads it, so this is for the type.
    pub fn current() -> Result<Self> {
        Self::parse(TEXT).context("read rootfs/manifest.toml")
    }

    /// Reads a manifest and checks it as a whole.
    ///
    /// # Errors
    /// Names the entry and the rule it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let raw: Raw = toml::from_str(text)?;
        let mut entries = Vec::new();
        for directory in raw.directory {
            let mode = permissions(&directory.mode).with_context(|| directory.path.clone())?;
            entries.push(entry(
                directory.path,
                directory.why,
                Kind::Directory { mode },
            )?);
        }
        for file in raw.file {
            let path = file.path.clone();
            let kind = file.kind().with_context(|| path.clone())?;
            entries.push(entry(path, file.why, kind)?);
        }
        for link in raw.symlink {
            let target = PathBuf::from(link.target);
            entries.push(entry(link.path, link.why, Kind::Symlink { target })?);
        }
        // Component by component, a directory sorts before what is in it.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Self { entries };
        manifest.check()?;
        Ok(manifest)
    }

    /// Every entry once, and each in a directory that is listed.
    fn check(&self) -> Result<()> {
        let mut directories = BTreeSet::from([Path::new("")]);
        let mut seen = BTreeSet::new();
        for entry in &self.entries {
            let path = entry.path.display();
            ensure!(seen.insert(&entry.path), "{path}: listed twice");
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            ensure!(
                directories.contains(parent),
                "{path}: its directory is not listed"
            );
            if let Kind::Directory { .. } = entry.kind {
                directories.insert(&entry.path);
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    directory: Vec<RawDirectory>,
    #[serde(default)]
    file: Vec<RawFile>,
    #[serde(default)]
    symlink: Vec<RawSymlink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDirectory {
    path: String,
    mode: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    path: String,
    mode: String,
    why: String,
    content: Option<String>,
    program: Option<String>,
    #[serde(default)]
    empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSymlink {
    path: String,
    target: String,
    why: String,
}

impl RawFile {
    fn kind(&self) -> Result<Kind> {
        let content = match (&self.content, &self.program, self.empty) {
            (Some(text), None, false) => Content::Text(text.clone()),
            (None, Some(name), false) => Content::Program(name.clone()),
            (None, None, true) => Content::Empty,
            _ => bail!("give one of: content, program, empty = true"),
        };
        Ok(Kind::File {
            content,
            mode: permissions(&self.mode)?,
        })
    }
}

fn entry(path: String, why: String, kind: Kind) -> Result<Entry> {
    ensure!(!why.trim().is_empty(), "{path}: says not why it is there");
    let path = PathBuf::from(path);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    ensure!(
        inside && path.components().next().is_some(),
        "{}: not a path inside the jail",
        path.display()
    );
    Ok(Entry { path, kind, why })
}

/// Permission bits from octal digits; a jail has no set-id files.
fn permissions(octal: &str) -> Result<u32> {
    let mode = u32::from_str_radix(octal, 8).with_context(|| format!("mode {octal:?}"))?;
    ensure!(
        mode <= 0o1777,
        "mode {octal:?}: no set-id bits, and nothing above"
    );
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::{Content, Kind, Manifest};

    fn refused(text: &str) -> String {
        format!("{:#}", Manifest::parse(text).expect_err("refused"))
    }

    #[test]
    fn the_manifest_of_this_version_is_valid_and_holds_the_agent() {
        let manifest = Manifest::current().expect("valid");
        let agent = manifest.entries.iter().any(|entry| {
            matches!(&entry.kind, Kind::File { content: Content::Program(name), .. }
                if name == "waybill-agent")
        });
        assert!(agent);
    }

    #[test]
    fn directories_come_before_what_is_in_them_whatever_the_file_says() {
        let manifest = Manifest::parse(
            "[[directory]]\npath = \"a/b\"\nmode = \"0755\"\nwhy = \"x\"\n\
             [[directory]]\npath = \"a\"\nmode = \"0755\"\nwhy = \"x\"\n",
        )
        .expect("valid");
        assert_eq!(manifest.entries[0].path.to_str(), Some("a"));
    }

    #[test]
    fn a_path_outside_of_the_jail_is_refused() {
        for path in ["/etc", "../etc", "a/../b", ""] {
            let text = format!("[[directory]]\npath = {path:?}\nmode = \"0755\"\nwhy = \"x\"\n");
            assert!(refused(&text).contains("not a path inside"), "{path}");
        }
    }

    #[test]
    fn an_entry_whose_directory_is_missing_or_that_is_listed_twice_is_refused() {
        let file = "[[file]]\npath = \"etc/hosts\"\nmode = \"0644\"\nempty = true\nwhy = \"x\"\n";
        assert!(refused(file).contains("its directory is not listed"));
        let directory = "[[directory]]\npath = \"etc\"\nmode = \"0755\"\nwhy = \"x\"\n";
        assert!(refused(&directory.repeat(2)).contains("listed twice"));
    }

    #[test]
    fn a_file_holds_exactly_one_thing() {
        let head = "[[file]]\npath = \"a\"\nmode = \"0644\"\nwhy = \"x\"\n";
        assert!(refused(head).contains("give one of"));
        let both = format!("{head}empty = true\ncontent = \"x\"\n");
        assert!(refused(&both).contains("give one of"));
    }

    #[test]
    fn set_id_bits_unknown_keys_and_missing_reasons_are_refused() {
        let setuid = "[[directory]]\npath = \"a\"\nmode = \"4755\"\nwhy = \"x\"\n";
        assert!(refused(setuid).contains("no set-id bits"));
        let unknown = "[[directory]]\npath = \"a\"\nmode = \"0755\"\nwhy = \"x\"\nowner = \"me\"\n";
        assert!(refused(unknown).contains("owner"));
        let silent = "[[directory]]\npath = \"a\"\nmode = \"0755\"\nwhy = \" \"\n";
        assert!(refused(silent).contains("says not why"));
    }
}
