//! Files by whose names others could lead a program astray: opened without waiting, and only where
//! they are files. A FIFO would let who opens it wait for ever.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

/// For their owner alone.
pub const PRIVATE: u32 = 0o600;

/// Whether a link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Of what an operator names.
    Followed,
    /// Where others can put one.
    Refused,
}

/// Opens what an operator named, to be read; links are followed.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    regular(File::options().read(true), Links::Followed, path)
}

/// Reads what an operator named, of at most `most` bytes.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded(open(path)?, most)
}

/// Reads an open file of at most `most` bytes to its end.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Opens as `options` say.
///
/// # Errors
/// It cannot be opened or made, or is no regular file.
pub fn regular(options: &mut OpenOptions, links: Links, path: &Path) -> io::Result<File> {
    let links = match links {
        Links::Followed => 0,
        Links::Refused => libc::O_NOFOLLOW,
    };
    match options.custom_flags(libc::O_NONBLOCK | links).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(strange()),
        // A link that is not followed; a FIFO that nobody reads, a socket.
        Err(error) if is(&error, Errno::ELOOP) || is(&error, Errno::ENXIO) => Err(strange()),
        Err(error) if is(&error, Errno::EISDIR) => Err(strange()),
        Err(error) => Err(error),
    }
}

/// Sets the mode of an open file, where it has another.
///
/// # Errors
/// It belongs to somebody else.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// What is said of what is no file.
#[must_use]
pub fn strange() -> io::Error {
    io::Error::other("not a regular file")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_and_nobody_waits() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at("directory")).unwrap();
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let refused = |error: io::Error| assert_eq!(error.to_string(), "not a regular file");
        for name in ["fifo", "directory", "socket"] {
            refused(read(&at(name), 9).unwrap_err());
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true);
            refused(regular(options, Links::Followed, &at(name)).unwrap_err());
        }
        assert_eq!(read(&at("link"), 9).unwrap(), b"text");
        refused(regular(File::options().read(true), Links::Refused, &at("link")).unwrap_err());
        assert!(open(Path::new("/dev/null")).is_err(), "a device");
        assert_eq!(read(&at("file"), 4).unwrap(), b"text");
        assert!(read(&at("file"), 3).is_err(), "larger than allowed");
        let file = open(&at("file")).unwrap();
        set_mode(&file, PRIVATE).unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o7777,
            PRIVATE
        );
    }
}
