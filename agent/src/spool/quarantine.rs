//! Setting a damaged database aside, for inspection instead of for use.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::file::{index_path, log_path};

/// Databases kept; an older one makes room for a new one, so that damage cannot fill the disk.
pub(super) const KEPT: usize = 2;

/// Renames the database and its log to `<name>.quarantined-<milliseconds of its last change>`.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut stamp = last_change_ms(path);
    let target = loop {
        let target = named(path, stamp);
        if !target.try_exists()? {
            break target;
        }
        stamp += 1;
    };
    // The log first: left behind without its database, it would be replayed into the next one.
    rename_if_there(&log_path(path), &log_path(&target))?;
    remove_if_there(&index_path(path))?;
    rename_if_there(path, &target)?;
    let all = list(path)?;
    for old in all.iter().rev().skip(KEPT) {
        remove_if_there(&log_path(old))?;
        remove_if_there(&index_path(old))?;
        remove_if_there(old)?;
    }
    Ok(target)
}

/// Databases set aside, oldest first.
pub(super) fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.unwrap_or(Path::new(".")))? {
        let entry = entry?.path();
        if let Some(stamp) = entry.file_name().and_then(|name| stamp_of(path, name)) {
            found.push((stamp, entry));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn prefix(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".quarantined-");
    name
}

fn named(path: &Path, stamp: u64) -> PathBuf {
    let mut name = prefix(path);
    name.push(stamp.to_string());
    path.with_file_name(name)
}

fn stamp_of(path: &Path, name: &OsStr) -> Option<u64> {
    name.to_str()?
        .strip_prefix(prefix(path).to_str()?)?
        .parse()
        .ok()
}

/// Milliseconds of the last change to the database or its log; 0 where the system does not say.
fn last_change_ms(path: &Path) -> u64 {
    [path, &log_path(path)]
        .into_iter()
        .filter_map(|file| fs::metadata(file).ok()?.modified().ok())
        .filter_map(|time| time.duration_since(UNIX_EPOCH).ok())
        .filter_map(|age| u64::try_from(age.as_millis()).ok())
        .max()
        .unwrap_or(0)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    unless_missing(fs::rename(from, to))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_file(path))
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
