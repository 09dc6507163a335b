//! cpio archives in the "newc" format, as RPM packages hold them, read one after another.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::place::{Wanted, below};

/// Name of the entry that ends an archive.
pub(crate) const END: &str = "TRAILER!!!";

/// Bytes of an entry's fixed part.
const FIXED: usize = 110;

/// A name longer than this is damage.
const LONGEST_NAME: u64 = 4096;

/// An archive that is being read.
pub struct Archive<R> {
    input: R,
    /// Bytes read so far, which entries are aligned by.
    at: u64,
}

impl<R: Read> Archive<R> {
    /// Reads from the first entry on.
    pub fn new(input: R) -> Self {
        Self { input, at: 0 }
    }

    /// Unpacks the wanted regular files and symbolic links.
    ///
    /// # Errors
    /// When the archive is damaged or cut short, names a place outside, or the file system refuses.
    pub fn unpack(mut self, into: &Path, wanted: Wanted<'_>) -> Result<()> {
        loop {
            let entry = self.entry()?;
            if entry.path == Path::new(END) {
                return Ok(());
            }
            let place = below(&entry.path)?.filter(|path| wanted(path));
            match (place, entry.mode & 0o170_000) {
                (Some(path), 0o100_000) => {
                    let to = into.join(&path);
                    let file = create(&to).with_context(|| format!("make {}", path.display()))?;
                    self.data(entry.length, file)?;
                }
                (Some(path), 0o120_000) => {
                    let mut target = Vec::new();
                    self.data(entry.length.min(LONGEST_NAME), &mut target)?;
                    let to = into.join(&path);
                    drop(create(&to)?);
                    fs::remove_file(&to)?;
                    std::os::unix::fs::symlink(std::ffi::OsString::from_vec(target), &to)?;
                }
                _ => self.data(entry.length, std::io::sink())?,
            }
        }
    }

    fn entry(&mut self) -> Result<Entry> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        ensure!(
            fixed.starts_with(b"070701") || fixed.starts_with(b"070702"),
            "not a cpio archive in newc format"
        );
        let field = |index: usize| -> Result<u64> {
            let at = 6 + index * 8;
            let digits = std::str::from_utf8(&fixed[at..at + 8])?;
            u64::from_str_radix(digits, 16).context("a damaged cpio archive")
        };
        let (mode, length, name) = (field(1)?, field(6)?, field(11)?);
        ensure!(name > 0 && name < LONGEST_NAME, "a damaged cpio archive");
        let mut path = vec![0; usize::try_from(name)?];
        self.read(&mut path)?;
        path.pop();
        self.align()?;
        Ok(Entry {
            path: PathBuf::from(std::ffi::OsString::from_vec(path)),
            mode,
            length,
        })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input
            .read_exact(bytes)
            .context("the archive is cut short")?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn data(&mut self, length: u64, mut to: impl std::io::Write) -> Result<()> {
        let copied = std::io::copy(&mut (&mut self.input).take(length), &mut to)?;
        ensure!(copied == length, "the archive is cut short");
        self.at += length;
        self.align()
    }

    fn align(&mut self) -> Result<()> {
        let missing = usize::try_from((4 - self.at % 4) % 4)?;
        let mut padding = [0; 3];
        self.read(&mut padding[..missing])
    }
}

struct Entry {
    path: PathBuf,
    mode: u64,
    length: u64,
}

/// A new file, with the folders above it.
fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Never through a link that the archive made before.
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    Ok(File::create(path)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Archive;
    use crate::initramfs::Initramfs;

    #[test]
    fn what_was_written_is_read_back() {
        let mut written = Initramfs::default();
        written.file("lib/modules/1/a.ko", 0o644, b"module".to_vec());
        written.file("etc/other", 0o644, b"x".to_vec());
        written.symlink("lib/modules/1/build", "/usr/src");
        let mut bytes = Vec::new();
        written.write(&mut bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let wanted = |path: &Path| path.starts_with("lib");
        Archive::new(&bytes[..])
            .unpack(folder.path(), &wanted)
            .unwrap();
        let modules = folder.path().join("lib/modules/1");
        assert_eq!(std::fs::read(modules.join("a.ko")).unwrap(), b"module");
        assert_eq!(
            std::fs::read_link(modules.join("build")).unwrap(),
            Path::new("/usr/src")
        );
        assert!(!folder.path().join("etc").exists());
    }

    #[test]
    fn an_archive_that_is_cut_short_is_refused() {
        let mut written = Initramfs::default();
        written.file("a", 0o644, vec![7; 100]);
        let mut bytes = Vec::new();
        written.write(&mut bytes).unwrap();
        for length in [0, 50, 130, bytes.len() / 2] {
            let folder = tempfile::tempdir().unwrap();
            assert!(
                Archive::new(&bytes[..length])
                    .unpack(folder.path(), &|_| true)
                    .is_err()
            );
        }
    }
}
