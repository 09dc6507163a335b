//! Files by whose names others could lead the agent astray: opened without waiting and only where
//! they are files, and made with a mode of their own whatever the umask is.
//!
//! What lies in the state and run directories belongs to the agent's user, who may have been taken
//! over: a FIFO there would let who opens it wait for ever, and a link would lead elsewhere. What a
//! configuration names may be a link, and never anything but a file in the end.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use program::files::{Links, bounded, regular, strange};
pub use program::files::{PRIVATE, open, read, set_mode};

/// The same for a directory.
pub const PRIVATE_DIRECTORY: u32 = 0o700;
/// For everybody to read.
pub const READABLE: u32 = 0o644;

/// Opens a file of the agent's own as `options` say; links are not followed.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    regular(options.mode(PRIVATE), Links::Refused, path)
}

/// The same for writing, made where there is none; [`PRIVATE`] also where it was there before.
///
/// # Errors
/// It cannot be opened or made, or is no regular file.
pub fn make_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = open_own(options.create(true), path)?;
    set_mode(&file, PRIVATE)?;
    Ok(file)
}

/// Replaces a file of the agent's own in one step; `sync` says whether that is to outlast a power
/// failure.
///
/// # Errors
/// It cannot be written; what was there before then still is.
pub fn replace_own(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let fresh = fresh(path)?;
    // Whatever lies there is left over, and may be another's.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = make_own(File::options().write(true).create_new(true), &fresh)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) if sync => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads a file of the agent's own of at most `most` bytes.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger.
pub fn read_own(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(open_own(File::options().read(true), path)?, most)
}

/// Says no to anything but a regular file at `path`, for what a library opens by name; nothing at all
/// is fine.
///
/// # Errors
/// Something else is there, or cannot be looked at.
pub fn refuse_strange(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(strange()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Beside `path`, for what is to take its place.
fn fresh(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut fresh = OsString::from(".");
    fresh.push(name);
    fresh.push(".new");
    Ok(path.with_file_name(fresh))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_no_file_is_refused_and_nobody_waits() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at("directory")).unwrap();
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for name in ["fifo", "directory", "link", "socket"] {
            let words = |error: io::Error| error.to_string();
            let refused = "not a regular file";
            assert_eq!(
                words(read_own(&at(name), 9).unwrap_err()),
                refused,
                "{name}"
            );
            let made = make_own(File::options().write(true), &at(name));
            assert_eq!(words(made.unwrap_err()), refused, "{name}");
            assert_eq!(words(refuse_strange(&at(name)).unwrap_err()), refused);
            let followed = read(&at(name), 9);
            match name {
                "link" => assert_eq!(followed.unwrap(), b"text"),
                _ => assert_eq!(words(followed.unwrap_err()), refused, "{name}"),
            }
        }
        assert!(open(Path::new("/dev/null")).is_err(), "a device");
        assert_eq!(read_own(&at("file"), 4).unwrap(), b"text");
        assert!(read_own(&at("file"), 3).is_err(), "larger than allowed");
        assert!(refuse_strange(&at("none")).is_ok());
    }

    #[test]
    fn what_is_ours_is_for_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        make_own(File::options().append(true), &path).unwrap();
        assert_eq!(
            (mode(&path), fs::read(&path).unwrap()),
            (PRIVATE, b"old".to_vec())
        );
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        replace_own(&path, b"new", true).unwrap();
        assert_eq!(
            (mode(&path), fs::read(&path).unwrap()),
            (PRIVATE, b"new".to_vec())
        );
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
