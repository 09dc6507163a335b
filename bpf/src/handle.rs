//! File handles, which no library asks for.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;

/// What a handle of a cgroup's directory takes: one number of 64 bits (`FILEID_KERNFS`), or inode
/// and generation of 32 bits each (`FILEID_INO32_GEN`).
const BYTES: u32 = 8;

/// `struct file_handle` of `include/linux/fs.h`, with room for such a handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    number: [u8; BYTES as usize],
}

/// The number by which the kernel knows a directory of kernfs, a cgroup's among them: whole, where
/// the inode number may be the lower half of it (before 5.5, and 4.18 of RHEL 8). Needs no
/// capability.
///
/// # Errors
/// What the kernel answers: `EOPNOTSUPP` before 4.14, `ENOSYS` without `CONFIG_FHANDLE`,
/// `EOVERFLOW` for a file system whose handles are larger.
pub fn number(directory: &Path) -> io::Result<u64> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    let mut handle = Handle {
        bytes: BYTES,
        kind: 0,
        number: [0; BYTES as usize],
    };
    let mut mount = 0_i32;
    #[expect(
        unsafe_code,
        reason = "no library has a wrapper for name_to_handle_at(2)"
    )]
    // SAFETY: the path ends with a zero, `handle` has room for the bytes that it says, and all of
    // them outlive the call, which writes nothing else but the number of the mount.
    let status = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            0,
        )
    };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    if handle.bytes != BYTES {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(u64::from_ne_bytes(handle.number))
}

#[cfg(test)]
mod tests {
    use super::number;
    use std::path::Path;

    #[test]
    fn what_is_not_there_has_no_number() {
        let error = number(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(number(Path::new("a\0b")).is_err());
    }
}
