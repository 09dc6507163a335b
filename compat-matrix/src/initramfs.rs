//! The guest's whole file system: a cpio archive that the kernel unpacks into memory.
//!
//! No device is needed for it, so it works with every kernel that boots.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::{fs, iter};

use anyhow::{Context, Result, ensure};

/// Files by path; what is above them is made by itself. Everything belongs to root.
#[derive(Debug, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    /// Major and minor number of a device.
    device: (u32, u32),
    data: Vec<u8>,
}

impl Initramfs {
    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        self.add(path, 0o100_000 | mode, (0, 0), data);
    }

    /// Adds a directory that may stay empty.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.add(path, 0o040_000 | mode, (0, 0), Vec::new());
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, 0o120_777, (0, 0), target.as_bytes().to_vec());
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.add(path, 0o020_000 | mode, (major, minor), Vec::new());
    }

    /// True when there is something at this path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path.trim_matches('/'))
    }

    /// Adds a folder of this host with everything in it, under another path.
    ///
    /// # Errors
    /// When something cannot be read, or is neither file, folder nor link.
    pub fn tree(&mut self, from: &Path, to: &str) -> Result<()> {
        let kind =
            fs::symlink_metadata(from).with_context(|| format!("read {}", from.display()))?;
        if kind.is_symlink() {
            let target = fs::read_link(from)?;
            self.symlink(to, &target.to_string_lossy());
            return Ok(());
        }
        let mode = kind.permissions().mode() & 0o7777;
        if kind.is_file() {
            let data = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            self.file(to, mode, data);
            return Ok(());
        }
        ensure!(kind.is_dir(), "{}: not a file", from.display());
        self.directory(to, mode);
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            self.tree(&entry.path(), &format!("{to}/{name}"))?;
        }
        Ok(())
    }

    /// Adds everything of another one; its files win.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), data: Vec<u8>) {
        let path = path.trim_matches('/').to_owned();
        for folder in Path::new(&path).ancestors().skip(1) {
            if folder
                .components()
                .any(|part| matches!(part, Component::Normal(_)))
            {
                let folder = folder.to_string_lossy().into_owned();
                self.entries.entry(folder).or_insert(Entry {
                    mode: 0o040_755,
                    device: (0, 0),
                    data: Vec::new(),
                });
            }
        }
        self.entries.insert(path, Entry { mode, device, data });
    }

    /// Writes the archive; the kernel takes several, one after another.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        // Sorted, so a folder comes before what is in it.
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            write_entry(out, number + 1, path, entry)?;
        }
        let end = Entry {
            mode: 0,
            device: (0, 0),
            data: Vec::new(),
        };
        write_entry(out, 0, crate::package::END, &end)
    }

    /// Bytes of everything in it, which the guest's memory must hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| entry.data.len() as u64)
            .sum()
    }
}

fn write_entry(out: &mut dyn Write, inode: usize, path: &str, entry: &Entry) -> io::Result<()> {
    let length = entry.data.len();
    let name = path.len() + 1;
    let (major, minor) = entry.device;
    let (mode, links) = (entry.mode, 1);
    // Owner, group, time, and the device that the archive came from are all 0.
    write!(
        out,
        "070701{inode:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{length:08x}\
         {:08x}{:08x}{major:08x}{minor:08x}{name:08x}{:08x}",
        0, 0, 0, 0, 0, 0
    )?;
    out.write_all(path.as_bytes())?;
    out.write_all(&[0])?;
    pad(out, 110 + name)?;
    out.write_all(&entry.data)?;
    pad(out, length)
}

fn pad(out: &mut dyn Write, length: usize) -> io::Result<()> {
    let zeros: Vec<u8> = iter::repeat_n(0, (4 - length % 4) % 4).collect();
    out.write_all(&zeros)
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn an_archive_is_aligned_ends_with_its_trailer_and_has_folders_first() {
        let mut fs = Initramfs::default();
        fs.file("/etc/deep/file", 0o600, b"hello".to_vec());
        let mut bytes = Vec::new();
        fs.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let places = [
            "etc\0",
            "etc/deep\0",
            "etc/deep/file\0",
            "hello",
            "TRAILER!!!\0",
        ]
        .map(|part| text.find(part).expect("in the archive"));
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(text.matches("070701").count(), 4);
    }

    #[test]
    fn a_folder_with_a_mode_of_its_own_keeps_it_whatever_the_order() {
        let mut fs = Initramfs::default();
        fs.file("tmp/x", 0o644, Vec::new());
        fs.directory("tmp", 0o1777);
        let mut bytes = Vec::new();
        fs.write(&mut bytes).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("000043ff"));
    }
}
