//! Files that an operator names and files that the collector makes: opened without waiting and only
//! where they are files, and made with a mode of their own whatever the umask is.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

/// Far above every configuration, key, list of tokens and certificate bundle.
pub const MAX_SMALL: u64 = 4 << 20;
/// For their owner alone.
pub const PRIVATE: u32 = 0o600;
/// For a group to read, whom the operator chooses.
pub const GROUP: u32 = 0o640;
/// `O_NONBLOCK` in `asm-generic/fcntl.h`: a FIFO lets whoever opens it wait, and this does not.
const NONBLOCK: i32 = 0o4000;

/// Opens a regular file to be read; links are followed.
///
/// # Errors
/// It cannot be opened, or is something else.
pub fn open(path: &Path) -> io::Result<File> {
    regular(File::options().read(true), path)
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// It cannot be read, is something else, or is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(bytes)
}

/// The same for a small text.
///
/// # Errors
/// As [`read`], or it is no UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, MAX_SMALL)?).map_err(io::Error::other)
}

/// Opens a regular file for writing and makes it where there is none; it has `mode` then, also where
/// it was there before and is one's own.
///
/// # Errors
/// It cannot be opened or made, or is something else.
pub fn make(options: &mut OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    let file = regular(options.write(true).create(true).mode(mode), path)?;
    if file.metadata()?.permissions().mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Leaves what root has made to whose directory it is for: programs that run as another account read
/// it there. Whoever cannot give it away needs not to.
///
/// # Errors
/// It cannot be looked at.
pub fn give_to_owner_of(directory: &Path, path: &Path) -> io::Result<()> {
    let (owner, file) = (directory.metadata()?, path.metadata()?);
    if owner.uid() == file.uid() {
        return Ok(());
    }
    match chown(path, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_and_nobody_waits() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        for path in [&fifo, place.path(), Path::new("/dev/null")] {
            let error = open(path).unwrap_err();
            assert_eq!(
                error.to_string(),
                "not a regular file",
                "{}",
                path.display()
            );
        }
        assert!(make(&mut OpenOptions::new(), &fifo, PRIVATE).is_err());
    }

    #[test]
    fn modes_do_not_depend_on_what_was_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        make(&mut OpenOptions::new(), &path, GROUP).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            GROUP
        );
        assert_eq!(text(&path).unwrap(), "old");
        assert!(read(&path, 2).is_err());
    }
}
