//! One agent for each root directory: the kernel holds the lock for as long as the process lives.
//!
//! Who can open a file can lock it, and so keep an agent from starting for ever. So each start makes
//! a file of its own, for the agent alone, and puts it in the place of the last one, which another
//! user may still have open from when an older version had left it readable.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::clock::monotonic_ms;
use crate::files;

/// What another agent may take between its new file and the place of that.
const PATIENCE_MS: u64 = 2_000;

/// Makes sure that no other agent uses this root directory; `uid` is the user that agents become.
///
/// # Errors
/// Another agent does, or the file cannot be used.
pub(super) fn lock(path: &Path, uid: u32) -> Result<File> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // Of agents that start together one gets past here, and the others find its number below.
    let file = first(&fresh).with_context(|| format!("lock {}", fresh.display()))?;
    if let Some(holder) = holder(path).with_context(|| format!("lock {}", path.display()))?
        && is_agent(&holder, uid)
    {
        fs::remove_file(&fresh).with_context(|| format!("remove {}", fresh.display()))?;
        bail!("another agent (process {holder}) uses this root directory");
    }
    let file = signed(file, &fresh)?;
    fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))?;
    Ok(file)
}

/// Makes and locks the new file.
fn first(fresh: &Path) -> io::Result<File> {
    let give_up = monotonic_ms() + PATIENCE_MS;
    while monotonic_ms() < give_up {
        let mut options = File::options();
        let file = files::make_own(options.read(true).write(true), fresh)?;
        match file.try_lock() {
            Ok(()) => {
                // It may have got to its place before it was locked here.
                let (own, named) = (file.metadata()?, fs::symlink_metadata(fresh));
                if named.is_ok_and(|one| (one.dev(), one.ino()) == (own.dev(), own.ino())) {
                    return Ok(file);
                }
            }
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another agent is starting"))
}

/// The process that the file in its place names, if somebody holds that.
fn holder(path: &Path) -> io::Result<Option<String>> {
    let mut file = match files::open_own(File::options().read(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            (&mut file).take(32).read_to_string(&mut holder).ok();
            Ok(Some(holder.trim().to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// With this process's number, for who finds it locked.
fn signed(mut file: File, path: &Path) -> Result<File> {
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(file)
}

/// Whether this process is an agent: only those write their number into the file, so another user's
/// process can only be it by chance, and then it is of another user.
fn is_agent(holder: &str, uid: u32) -> bool {
    let Ok(process) = holder.parse::<u32>() else {
        return false;
    };
    let own = nix::unistd::geteuid().as_raw();
    let found = fs::metadata(format!("/proc/{process}"));
    found.is_ok_and(|found| [0, uid, own].contains(&found.uid()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::lock;

    const UID: u32 = 60_742;

    #[test]
    fn a_second_agent_is_told_who_the_first_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = lock(&path, UID).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let refused = lock(&path, UID).unwrap_err().to_string();
        let own = std::process::id().to_string();
        assert!(
            refused.contains("another agent") && refused.contains(&own),
            "{refused}"
        );
        drop(first);
        assert!(lock(&path, UID).is_ok());
    }

    #[test]
    fn a_lock_that_a_stranger_holds_keeps_no_agent_from_starting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        // As an older version left it; no process has this number.
        for named in ["4194305\n", ""] {
            fs::write(&path, named).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            let stranger = File::open(&path).unwrap();
            stranger.lock_shared().unwrap();
            let held = lock(&path, UID).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.ino(), held.metadata().unwrap().ino());
            assert_eq!(metadata.mode() & 0o777, 0o600);
            let refused = lock(&path, UID).unwrap_err().to_string();
            assert!(refused.contains("another agent"), "{refused}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = format!("{:#}", lock(&path, UID).unwrap_err());
        assert!(refused.contains("lock: not a regular file"), "{refused}");
    }
}
