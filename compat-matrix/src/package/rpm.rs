//! RPM packages: two headers that nothing here needs, then a compressed cpio archive.
//!
//! Signatures are not checked: whoever names a file trusts it. That leaves skipping two tables by
//! their lengths, which is less code than any library for RPM needs to be called with.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;
use super::place::Wanted;
use crate::compress;

/// How the lead begins.
pub(super) const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];

/// Bytes of the lead.
const LEAD: u64 = 96;

/// How a header begins.
const HEADER: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];

/// Unpacks what is wanted.
///
/// # Errors
/// When it is not a package, is cut short, or the file system refuses.
pub(super) fn unpack(file: File, into: &Path, wanted: Wanted<'_>) -> Result<()> {
    let mut input = std::io::BufReader::new(file);
    payload(&mut input)?;
    Archive::new(compress::reader(input)?).unpack(into, wanted)
}

/// Reads up to where the archive begins.
fn payload(input: &mut impl Read) -> Result<()> {
    skip(input, LEAD)?;
    let signature = header(input).context("signature header")?;
    skip(input, (8 - signature % 8) % 8)?;
    header(input).context("main header")?;
    Ok(())
}

/// Skips one header and returns how long it was.
fn header(input: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 16];
    input.read_exact(&mut bytes)?;
    ensure!(bytes[..4] == HEADER, "a damaged rpm");
    let number = |at: usize| {
        let mut four = [0; 4];
        four.copy_from_slice(&bytes[at..at + 4]);
        u64::from(u32::from_be_bytes(four))
    };
    let rest = number(8) * 16 + number(12);
    skip(input, rest)?;
    Ok(16 + rest)
}

fn skip(input: &mut impl Read, length: u64) -> Result<()> {
    let skipped = std::io::copy(&mut input.take(length), &mut std::io::sink())?;
    ensure!(skipped == length, "the package is cut short");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::{HEADER, LEAD, payload};

    fn header(entries: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend([0; 4]);
        bytes.extend(entries.to_be_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(vec![0; entries as usize * 16]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn the_archive_begins_after_both_headers() {
        let mut bytes = vec![0; usize::try_from(LEAD).unwrap()];
        bytes.extend(header(2, b"odd"));
        bytes.extend([0; 5]);
        bytes.extend(header(1, b"no padding after this one"));
        bytes.extend(b"070701");
        let mut input = Cursor::new(bytes);
        payload(&mut input).unwrap();
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "070701");
    }

    #[test]
    fn what_is_wanted_of_a_package_is_unpacked_whatever_compressed_it() {
        let mut archive = crate::initramfs::Initramfs::default();
        archive.file("lib/modules/1/vmlinuz", 0o755, b"kernel".to_vec());
        archive.file("usr/share/doc/x", 0o644, b"text".to_vec());
        let mut plain = Vec::new();
        archive.write(&mut plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &plain).unwrap();
        for payload in [plain, zstd, gzip.finish().unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            let mut bytes = super::MAGIC.to_vec();
            bytes.resize(usize::try_from(LEAD).unwrap(), 0);
            bytes.extend(header(1, b"12345678"));
            bytes.extend(header(1, b"names"));
            bytes.extend(payload);
            let package = folder.path().join("kernel.rpm");
            std::fs::write(&package, bytes).unwrap();
            let wanted = |path: &std::path::Path| path.starts_with("lib");
            crate::package::unpack(&package, folder.path(), &wanted).unwrap();
            let kernel = std::fs::read(folder.path().join("lib/modules/1/vmlinuz")).unwrap();
            assert_eq!(kernel, b"kernel");
            assert!(!folder.path().join("usr").exists());
        }
    }

    #[test]
    fn a_damaged_package_is_refused() {
        assert!(payload(&mut Cursor::new(vec![0; 500])).is_err());
        assert!(payload(&mut Cursor::new(vec![0; 50])).is_err());
    }
}
