//! Whether a finished package holds what the manifest of the jail says, and nothing else there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::rootfs::{Kind, Manifest};
use anyhow::{Context, Result, ensure};

use super::release::Release;
use super::stage::JAIL;
use crate::child;

/// Path and what `ls -l` shows of its mode.
type Listing = BTreeMap<String, String>;

/// Compares the agent's packages among `files` with the manifest.
///
/// # Errors
/// Names every path that is too much, missing or otherwise than listed.
pub(super) fn check_all(release: &Release, files: &[PathBuf]) -> Result<()> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("waybill-agent") {
            check(release, file)?;
        }
    }
    Ok(())
}

fn check(release: &Release, file: &Path) -> Result<()> {
    let found = jail(&listing(release, file)?);
    let expected = expected()?;
    let mut wrong = Vec::new();
    for (path, mode) in &expected {
        match found.get(path) {
            Some(other) if other == mode => {}
            Some(other) => wrong.push(format!("{path}: {other}, listed as {mode}")),
            None => wrong.push(format!("{path}: missing")),
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    wrong.extend(more.map(|path| format!("{path}: not in the manifest")));
    ensure!(wrong.is_empty(), "{}: {}", file.display(), wrong.join("; "));
    Ok(())
}

fn expected() -> Result<Listing> {
    let entries = Manifest::current()?.entries.into_iter();
    Ok(entries
        .map(|entry| {
            let mode = match entry.kind {
                Kind::Directory { mode } => shown('d', mode),
                Kind::File { mode, .. } => shown('-', mode),
                Kind::Symlink { .. } => shown('l', 0o777),
            };
            (entry.path.display().to_string(), mode)
        })
        .collect())
}

/// `drwxr-xr-x`, as tar and rpm show it.
fn shown(kind: char, mode: u32) -> String {
    let bits = "rwxrwxrwx".chars().enumerate();
    let bits = bits.map(|(at, letter)| {
        if mode >> (8 - at) & 1 == 1 {
            letter
        } else {
            '-'
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

/// The part of a listing that is in the jail.
fn jail(all: &Listing) -> Listing {
    all.iter()
        .filter_map(|(path, mode)| {
            let inside = path.strip_prefix(JAIL)?.strip_prefix('/')?;
            Some((inside.to_owned(), mode.clone()))
        })
        .filter(|(path, _)| !path.is_empty())
        .collect()
}

/// What is in a package; everything must belong to root.
fn listing(release: &Release, file: &Path) -> Result<Listing> {
    let name = file.display().to_string();
    let text = if name.ends_with(".rpm") {
        let format = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} . . . %{FILENAMES}\\n]";
        let mut rpm = release.tool("rpm");
        child::output(rpm.args(["-qp", "--queryformat", format]).arg(file))?
    } else if name.ends_with(".deb") {
        let mut list = release.tool("dpkg-deb");
        child::output(list.arg("--contents").arg(file))?
    } else {
        let mut tar = release.tool("tar");
        child::output(tar.arg("-tvzf").arg(file))?
    };
    let mut listing = Listing::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner) = (words.first().copied(), words.get(1).copied());
        let (Some(mode), Some(owner)) = (mode, owner) else {
            continue;
        };
        ensure!(owner == "root/root" || owner == "0/0", "{name}: {line}");
        let path = words.get(5).with_context(|| format!("{name}: {line}"))?;
        let path = path.trim_start_matches('.').trim_matches('/');
        listing.insert(path.to_owned(), mode.to_owned());
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::{Listing, jail, shown};

    #[test]
    fn modes_are_shown_as_other_tools_do() {
        assert_eq!(shown('d', 0o755), "drwxr-xr-x");
        assert_eq!(shown('-', 0o640), "-rw-r-----");
    }

    #[test]
    fn only_the_jail_is_compared() {
        let all: Listing = [
            "opt/waybill/rootfs",
            "opt/waybill/rootfs/dev",
            "etc/waybill",
        ]
        .map(|path| (path.to_owned(), "d".to_owned()))
        .into();
        assert_eq!(jail(&all).into_keys().collect::<Vec<_>>(), ["dev"]);
    }
}
