//! The mounts a process sees, from the text of `/proc/<pid>/mountinfo`.

use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Part of the file system that is mounted; `/` is all of it.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// File-system type.
    pub kind: String,
    /// Options of the file system, comma separated.
    pub options: String,
}

/// Mounts of two namespaces.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// Of this process.
    pub own: Vec<Mount>,
    /// Of the first process, which on most hosts sees everything.
    pub of_first_process: Vec<Mount>,
}

/// Reads both; what cannot be read is empty.
#[must_use]
pub fn visible() -> Visible {
    let read = |path| parse(&std::fs::read_to_string(path).unwrap_or_default());
    Visible {
        own: read("/proc/self/mountinfo"),
        of_first_process: read("/proc/1/mountinfo"),
    }
}

/// Every line that can be read; the kernel escapes blanks as octal.
#[must_use]
pub fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // 36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/x rw,errors=continue
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut file_system = file_system.split(' ');
    Some(Mount {
        root: unescape(mount.next()?),
        point: unescape(mount.next()?),
        kind: file_system.next()?.to_owned(),
        options: file_system.nth(1).unwrap_or("").to_owned(),
    })
}

/// `\040` is a blank, and so on for tab, newline and backslash.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if bytes[at] == b'\\' => {
                plain.push(byte);
                at += 4;
            }
            _ => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::path::Path;

    const MOUNTINFO: &str = "\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
31 25 0:26 /a /mnt/with\\040blank rw - cgroup2 cgroup2 rw
32 25 broken
";

    #[test]
    fn mounts_are_read_with_optional_fields_and_escapes() {
        let mounts = parse(MOUNTINFO);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].kind, "cgroup2");
        assert_eq!(mounts[1].options, "rw,nsdelegate");
        assert_eq!(mounts[2].point, Path::new("/mnt/with blank"));
        assert_eq!(mounts[2].root, Path::new("/a"));
    }
}
