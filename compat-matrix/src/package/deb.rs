//! Debian packages: an `ar` archive with a compressed tar archive in it.

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::place::{Wanted, below};
use crate::compress;

/// How an `ar` archive begins.
pub(super) const MAGIC: &[u8; 8] = b"!<arch>\n";

/// Unpacks what is wanted.
///
/// # Errors
/// When it is not a package, is cut short, or the file system refuses.
pub(super) fn unpack(mut file: impl Read + Seek, into: &Path, wanted: Wanted<'_>) -> Result<()> {
    let data = find(&mut file, "data.tar")?;
    let stream = compress::reader(file.take(data))?;
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(false);
    fs::create_dir_all(into)?;
    for entry in archive.entries().context("read data.tar")? {
        let mut entry = entry.context("read data.tar")?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let Some(path) = below(&path)? else { continue };
        if kind.is_dir() || !wanted(&path) {
            continue;
        }
        // Its own checks keep links of the archive from leading out.
        entry
            .unpack_in(into)
            .with_context(|| format!("unpack {}", path.display()))?;
    }
    Ok(())
}

/// Goes to the member whose name begins so and returns its length.
fn find(file: &mut (impl Read + Seek), name: &str) -> Result<u64> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    ensure!(&magic == MAGIC, "not an ar archive");
    loop {
        let mut header = [0; 60];
        file.read_exact(&mut header)
            .with_context(|| format!("no {name} in it"))?;
        ensure!(header[58..] == *b"`\n", "a damaged ar archive");
        let text =
            |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim_end);
        let length: u64 = text(48..58)?.parse().context("length in an ar archive")?;
        if text(0..16)?.starts_with(name) {
            return Ok(length);
        }
        // Members begin at even places.
        file.seek_relative(i64::try_from(length + length % 2)?)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::unpack;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let length = data.len();
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
            0, 0, 0, 100_644
        )
        .into_bytes();
        bytes.extend_from_slice(data);
        if length % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    fn package() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for path in ["./boot/vmlinuz-1", "./usr/share/doc/x"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, path, &b"abc"[..]).unwrap();
        }
        let data = zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap();
        let mut bytes = b"!<arch>\n".to_vec();
        bytes.extend(member("debian-binary", b"2.0\n1"));
        bytes.extend(member("control.tar", b"x"));
        bytes.extend(member("data.tar.zst", &data));
        bytes
    }

    #[test]
    fn what_is_wanted_of_a_package_is_unpacked_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = |path: &std::path::Path| path.starts_with("boot");
        unpack(Cursor::new(package()), folder.path(), &wanted).unwrap();
        assert_eq!(
            std::fs::read(folder.path().join("boot/vmlinuz-1")).unwrap(),
            b"abc"
        );
        assert!(!folder.path().join("usr").exists());
    }

    #[test]
    fn a_package_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = package();
        bytes.truncate(bytes.len() - 20);
        assert!(unpack(Cursor::new(bytes), folder.path(), &|_| true).is_err());
        let mut empty = Vec::new();
        empty.write_all(b"!<arch>\n").unwrap();
        assert!(unpack(Cursor::new(empty), folder.path(), &|_| true).is_err());
    }
}
