//! Reads what `waybill-agent doctor --collect` gathered on a host.

use std::io::{Cursor, Read};

use anyhow::{Context, Result, bail, ensure};
use bpf::pack::collected;

/// A zstd frame begins so (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest entry that is a line or a few.
const MAX_LINES: u64 = 4096;

/// What the archive says of its kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// What `uname -r` said.
    pub(crate) release: String,
    /// Machine, as Rust names it.
    pub(crate) arch: String,
    /// The kernel's GNU build id, where the kernel knows it.
    pub(crate) build_id: Option<String>,
    /// The kernel's own types.
    pub(crate) btf: Option<Vec<u8>>,
}

/// Whether this is such an archive.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

impl Collected {
    /// Reads the archive, within bounds, and only the entries that are needed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let plain = zstd::Decoder::new(Cursor::new(bytes)).context("start to decompress")?;
        // Headers and padding beyond what was counted when it was written.
        let bounded = plain.take(collected::MAX_BYTES * 2);
        let mut archive = tar::Archive::new(bounded);
        let mut found = Self::default();
        for entry in archive.entries().context("read the archive")? {
            let mut entry = entry.context("read the archive")?;
            let path = entry.path().context("read the archive")?;
            let name = path.to_string_lossy().into_owned();
            match name.as_str() {
                collected::UNAME => found.take_uname(&lines(entry)?),
                collected::BUILD_ID => found.build_id = Some(lines(entry)?.trim().to_owned()),
                collected::BTF => {
                    let mut btf = Vec::new();
                    entry.read_to_end(&mut btf).context("read the types")?;
                    found.btf = Some(btf);
                }
                _ => {}
            }
        }
        ensure!(
            !found.release.is_empty(),
            "it says no release: not what `waybill-agent doctor --collect` writes"
        );
        // It becomes the name of a folder.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        ensure!(
            !found.arch.is_empty() && found.arch.chars().all(is_word),
            "machine {:?}: not a name",
            found.arch
        );
        Ok(found)
    }

    fn take_uname(&mut self, text: &str) {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        self.release = value("release ").unwrap_or_default();
        self.arch = value("machine ").unwrap_or_default();
    }

    /// The types, or what to get in their place.
    pub(crate) fn types(&self) -> Result<&[u8]> {
        let Some(btf) = &self.btf else {
            let release = &self.release;
            let build = match &self.build_id {
                Some(build_id) => format!("build id {build_id}"),
                None => "of unknown build id".into(),
            };
            bail!(
                "kernel {release} ({build}, {}) has no types itself: get its debug package \
                 (kernel-debuginfo-{release}, linux-image-{release}-dbg), see that \
                 `file vmlinux` names the same build id, and give that vmlinux with --from",
                self.arch
            );
        };
        Ok(btf)
    }
}

fn lines(entry: impl Read) -> Result<String> {
    let mut text = String::new();
    entry
        .take(MAX_LINES)
        .read_to_string(&mut text)
        .context("read an entry")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Collected, is_archive};

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        zstd::bulk::compress(&archive.into_inner().unwrap(), 1).unwrap()
    }

    const UNAME: &[u8] = b"release 4.14.67-1.el7\nversion #1 SMP\nmachine x86_64\n";

    #[test]
    fn what_was_collected_names_kernel_and_types() {
        let bytes = archive(&[
            ("MANIFEST", b"x"),
            ("kernel/uname", UNAME),
            ("kernel/build-id", b"ab01\n"),
            ("kernel/btf", b"types"),
        ]);
        assert!(is_archive(&bytes));
        let found = Collected::read(&bytes).unwrap();
        assert_eq!(found.release, "4.14.67-1.el7");
        assert_eq!(found.arch, "x86_64");
        assert_eq!(found.build_id.as_deref(), Some("ab01"));
        assert_eq!(found.types().unwrap(), b"types");
    }

    #[test]
    fn a_kernel_without_types_needs_its_debug_package() {
        let bytes = archive(&[("kernel/uname", UNAME), ("kernel/build-id", b"ab01\n")]);
        let error = Collected::read(&bytes).unwrap().types().unwrap_err();
        let said = error.to_string();
        assert!(said.contains("build id ab01"), "{said}");
        assert!(said.contains("kernel-debuginfo-4.14.67-1.el7"), "{said}");
    }

    #[test]
    fn another_archive_is_refused() {
        assert!(Collected::read(&archive(&[("x", b"y")])).is_err());
        assert!(Collected::read(&archive(&[])[..8]).is_err());
        let elsewhere = b"release 4.14\nmachine ../../etc\n";
        assert!(Collected::read(&archive(&[("kernel/uname", elsewhere)])).is_err());
    }
}
