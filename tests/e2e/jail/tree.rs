//! What the agent sees of files: its root directory as it is listed, and nothing else.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};

/// The user that an agent becomes if its configuration does not say otherwise.
pub(crate) const UID: u32 = 60_742;

/// Places where the agent mounts something, with its file system where that is certain, and whether
/// it can be written: their content is not the manifest's.
pub(crate) const MOUNTED: [(&str, Option<&str>, bool); 7] = [
    ("dev/null", None, false),
    ("proc", Some("proc"), false),
    ("run", None, true),
    ("sys/devices/system/cpu", Some("sysfs"), false),
    ("sys/fs/cgroup", Some("cgroup2"), false),
    ("tmp", Some("tmpfs"), true),
    ("var/lib/waybill", None, true),
];

pub(crate) fn sees(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, None, &Settings::default())?;
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()?));
    let entries = rootfs::Manifest::current()?.entries;
    for entry in &entries {
        looks_as_listed(&root, entry)?;
    }
    let listed: BTreeSet<PathBuf> = entries.into_iter().map(|entry| entry.path).collect();
    let mut left = vec![root.clone()];
    let mut seen = BTreeSet::new();
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let path = entry.path().strip_prefix(&root)?.to_owned();
            if entry.file_type()?.is_dir() && !is_mounted(&path) {
                left.push(entry.path());
            }
            seen.insert(path);
        }
    }
    let more: Vec<_> = seen.difference(&listed).collect();
    ensure!(more.is_empty(), "not in the manifest: {more:?}");
    let less: Vec<_> = listed.difference(&seen).collect();
    ensure!(less.is_empty(), "in the manifest only: {less:?}");
    for path in ["usr", "etc/planted", "dev/planted"] {
        let planted = std::fs::write(root.join(path).join("x"), "");
        ensure!(planted.is_err(), "{path} can be written");
    }
    mounts_are_listed(&agent)
}

fn is_mounted(path: &Path) -> bool {
    MOUNTED.iter().any(|(at, ..)| path == Path::new(at))
}

/// Kind, permissions and owner of one entry.
fn looks_as_listed(root: &Path, entry: &rootfs::Entry) -> Result<()> {
    let shown = entry.path.display();
    let metadata = std::fs::symlink_metadata(root.join(&entry.path))
        .with_context(|| format!("{shown} is not there"))?;
    let (right_kind, mode) = match entry.kind {
        rootfs::Kind::Directory { mode } => (metadata.is_dir(), Some(mode)),
        // A device is mounted to the place of a file.
        rootfs::Kind::File { mode, .. } => {
            (metadata.is_file() || is_mounted(&entry.path), Some(mode))
        }
        rootfs::Kind::Symlink { .. } => (metadata.is_symlink(), None),
    };
    ensure!(right_kind, "{shown} is {:?}", metadata.file_type());
    let mounted = MOUNTED.iter().find(|(at, ..)| entry.path == Path::new(at));
    let owner = match mounted {
        Some((_, _, true)) => UID,
        _ => 0,
    };
    let ids = (metadata.uid(), metadata.gid());
    ensure!(ids == (owner, owner), "{shown} belongs to {ids:?}");
    let is = metadata.mode() & 0o7777;
    // What is mounted read-only brings its own.
    let listed = mode.filter(|_| mounted.is_none_or(|(_, _, writable)| *writable));
    ensure!(
        listed.is_none_or(|mode| mode == is),
        "{shown} has mode {is:o}"
    );
    Ok(())
}

/// The mount table of the agent: the root directory and what the manifest says, each as inert as it
/// can be.
fn mounts_are_listed(agent: &Agent) -> Result<()> {
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", agent.pid()?))?;
    let mut places = BTreeSet::new();
    for line in table.lines() {
        let (own, file_system) = line.split_once(" - ").context("as in proc(5)")?;
        let mut fields = own.split(' ').skip(4);
        let (at, options) = (fields.next().context("a place")?, fields.next());
        let options: Vec<&str> = options.context("options")?.split(',').collect();
        let at = at.trim_start_matches('/');
        let (kind, writable) = match MOUNTED.iter().find(|(place, ..)| *place == at) {
            Some((_, kind, writable)) => (*kind, *writable),
            None => (None, false),
        };
        ensure!(
            at.is_empty() || is_mounted(Path::new(at)),
            "mounted: {line}"
        );
        ensure!(
            kind.is_none_or(|kind| file_system.starts_with(kind)),
            "{line}"
        );
        ensure!(options.contains(&"rw") == writable, "{line}");
        ensure!(
            options.contains(&"nosuid") && options.contains(&"noexec"),
            "{line}"
        );
        ensure!(options.contains(&"nodev") == (at != "dev/null"), "{line}");
        ensure!(at != "proc" || options.contains(&"nosymfollow"), "{line}");
        ensure!(places.insert(at), "{at} is mounted twice");
    }
    ensure!(places.len() == MOUNTED.len() + 1, "mounted are {places:?}");
    Ok(())
}
