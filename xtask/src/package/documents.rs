//! What packages carry for people: manual pages, completions, notices, lists of components and
//! changes. Made once, for all kinds of packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::release::Release;
use super::{components, notices, sbom};
use crate::{child, workspace};

/// `packaging/contact.toml`: who packages name.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) vendor: String,
    /// Name and address, `NAME <ADDRESS>`.
    pub(super) maintainer: String,
    pub(super) url: String,
}

impl Contact {
    fn read() -> Result<Self> {
        let file: toml::Table = toml::from_str(&workspace::read("packaging/contact.toml")?)?;
        let value = |key: &str| {
            let value = file.get(key).and_then(toml::Value::as_str);
            value
                .map(str::to_owned)
                .with_context(|| format!("packaging/contact.toml has no {key}"))
        };
        Ok(Self {
            vendor: value("vendor")?,
            maintainer: value("maintainer")?,
            url: value("url")?,
        })
    }
}

/// The documents of a release.
#[derive(Debug)]
pub(super) struct Documents {
    folder: PathBuf,
    pub(super) contact: Contact,
    /// What changed in this version, a sentence or more each.
    changes: Vec<String>,
    /// Libraries in each program that are no crates, a line each.
    libraries: BTreeMap<&'static str, String>,
}

impl Documents {
    /// Makes them below `folder`.
    ///
    /// # Errors
    /// When a part has no licence or notice, or what makes the manual cannot be built.
    pub(super) fn make(release: &Release, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        manual(release, folder)?;
        let mut libraries = BTreeMap::new();
        for (program, package) in [
            ("waybill-agent", "agent"),
            ("waybill-collector", "collector"),
        ] {
            let parts = components::of(release, package)?;
            let list = sbom::document(release, program, &parts)?;
            fs::write(folder.join(format!("{program}.cdx.json")), list)?;
            let others = parts.iter().filter(|part| !part.is_crate());
            let lines =
                others.map(|one| format!(" {} {}: {}\n", one.name, one.version, one.licence));
            libraries.insert(program, lines.collect());
            let notices = notices::document(program, &parts)?;
            fs::write(folder.join(format!("{program}.notices")), notices)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            contact: Contact::read()?,
            changes: changes(&workspace::read("CHANGELOG.md")?),
            libraries,
        })
    }

    /// One of them: `man8/NAME.8`, `man5/NAME.toml.5`, `bash/NAME`, `zsh/_NAME`, `fish/NAME.fish`,
    /// `NAME.notices`, `NAME.cdx.json`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn get(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Whose it is and under which terms, in the form that Debian wants (DEP-5).
    pub(super) fn copyright(&self, release: &Release, name: &str) -> Result<String> {
        let year = release.date("%Y")?;
        let libraries = self.libraries.get(name).map_or("", String::as_str);
        let Contact {
            vendor,
            maintainer,
            url,
        } = &self.contact;
        Ok(format!(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
             Upstream-Name: Waybill\nUpstream-Contact: {maintainer}\nSource: {url}\n\
             Comment: The program is linked statically. Every part of it, with its licence and the\n \
             notices of its authors, is in /usr/share/doc/{name}/NOTICES, and in the list of\n \
             components beside it. What is no crate of Rust:\n\
             {libraries}\n\
             Files: *\nCopyright: {year} {vendor}\nLicense: Apache-2.0\n\n\
             License: Apache-2.0\n \
             Licensed under the Apache License, Version 2.0: you may not use these files except in\n \
             compliance with it. It is the first text in /usr/share/doc/{name}/NOTICES, and on\n \
             Debian in /usr/share/common-licenses/Apache-2.0.\n .\n \
             Unless required by applicable law or agreed to in writing, software distributed under\n \
             it is distributed on an \"AS IS\" basis, without warranties or conditions of any kind.\n"
        ))
    }

    /// The changes as Debian wants them, compressed; `beside` is a path whose folder is writable.
    pub(super) fn packed_changelog(
        &self,
        release: &Release,
        name: &str,
        beside: &Path,
    ) -> Result<Vec<u8>> {
        gzip(
            release,
            self.debian_changelog(release, name)?.as_bytes(),
            beside,
        )
    }

    fn debian_changelog(&self, release: &Release, name: &str) -> Result<String> {
        let mut text = format!(
            "{name} ({}) unstable; urgency=medium\n\n",
            release.full_version()
        );
        for change in &self.changes {
            text += &wrapped(change, "  * ", "    ");
        }
        let date = release.date("%a, %d %b %Y %H:%M:%S +0000")?;
        Ok(text + &format!("\n -- {}  {date}\n", self.contact.maintainer))
    }

    /// The changes as rpm wants them.
    pub(super) fn rpm_changelog(&self, release: &Release) -> Result<String> {
        let date = release.date("%a %b %d %Y")?;
        let mut text = format!(
            "* {date} {} - {}\n",
            self.contact.maintainer,
            release.full_version()
        );
        for change in &self.changes {
            text += &wrapped(change, "- ", "  ").replace('%', "%%");
        }
        Ok(text)
    }
}

/// Pages and completions.
fn manual(release: &Release, folder: &Path) -> Result<()> {
    let programs = workspace::binaries("debug")?;
    if !release.haste {
        // What tries packages in haste has built everything already.
        child::run(&mut child::cargo(&["build", "-p", "manual"]))?;
    }
    let mut make = Command::new(programs.join("manual"));
    make.arg("--workspace").arg(workspace::root());
    make.args(["--date", &release.date("%Y-%m-%d")?]);
    child::run(make.arg("--out").arg(folder))
}

/// The entries of the newest version in a file in the form of Keep a Changelog.
fn changes(changelog: &str) -> Vec<String> {
    let newest = changelog.split("\n## ").nth(1).unwrap_or_default();
    let entries = newest.lines().filter_map(|line| line.strip_prefix("- "));
    entries.map(|entry| entry.replace('`', "")).collect()
}

/// A sentence in lines of at most 78 characters.
fn wrapped(text: &str, first: &str, next: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.len() + 1 + word.len() > 78 {
            lines += line.trim_end();
            lines.push('\n');
            line = next.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    lines + line.trim_end() + "\n"
}

/// Compresses as Debian and Fedora do.
///
/// # Errors
/// Those of gzip.
pub(super) fn gzip(release: &Release, content: &[u8], beside: &Path) -> Result<Vec<u8>> {
    let file = beside.with_extension("plain");
    fs::write(&file, content).with_context(|| format!("write {}", file.display()))?;
    let output = release.tool("gzip").args(["-9nc"]).arg(&file).output();
    fs::remove_file(&file)?;
    let output = output.context("start gzip")?;
    ensure!(output.status.success(), "gzip {}", file.display());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::{changes, wrapped};

    #[test]
    fn changes_are_those_of_the_newest_version() {
        let text = "# Changelog\n\n## Unreleased\n\n### Added\n\n- `One` thing.\n\n### Fixed\n\n- Two.\n\n## 0.1\n\n- Old.\n";
        assert_eq!(changes(text), ["One thing.", "Two."]);
    }

    #[test]
    fn long_sentences_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(20), "  * ", "    ");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("  * word") && lines[1].starts_with("    word"));
        assert!(lines.iter().all(|line| line.len() <= 78), "{text}");
    }
}
