//! Files that an operator names and files that the collector makes: opened without waiting and only
//! where they are files, and made with a mode of their own whatever the umask is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::Path;

use program::files::{Links, regular, set_mode};
pub use program::files::{PRIVATE, open, read};

/// Far above every configuration, key, list of tokens and certificate bundle.
pub const MAX_SMALL: u64 = 4 << 20;
/// For a group to read, whom the operator chooses.
pub const GROUP: u32 = 0o640;

/// Reads a small text.
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
    let options = options.write(true).create(true).mode(mode);
    let file = regular(options, Links::Followed, path)?;
    set_mode(&file, mode)?;
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
