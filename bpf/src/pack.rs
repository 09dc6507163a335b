//! BTF packs: type information for kernels that have none, a file for each kernel build.
//!
//! A pack is the minimal BTF for the programs of this crate (`bpftool gen min_core_btf`), in one
//! zstd frame, named `<build id>.<release>.btf.zst`. Structures differ between builds of one
//! release (configuration, back-ports), so the build id decides where it is known.

use std::fs;
use std::path::Path;

/// Notes of the running kernel, its build id among them (2.6.23, kernel/ksysfs.c).
const NOTES: &str = "/sys/kernel/notes";
/// What `uname -r` says.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// Where packs are in the agent's root directory; below it a folder for each architecture.
pub const FOLDER: &str = "usr/share/waybill/btf";

/// Largest pack, decompressed, in bytes; ours are a few thousand.
pub const MAX_BYTES: u64 = 8 << 20;

/// What `waybill-agent doctor --collect` gathers of a kernel: names within its archive, which is a
/// tar in one zstd frame.
pub mod collected {
    /// List of everything else, the first entry.
    pub const MANIFEST: &str = "MANIFEST";
    /// Lines of `release`, `version` and `machine`, each with its value behind a blank.
    pub const UNAME: &str = "kernel/uname";
    /// GNU build id in hexadecimal digits.
    pub const BUILD_ID: &str = "kernel/build-id";
    /// The kernel's own types, raw BTF.
    pub const BTF: &str = "kernel/btf";
    /// Largest archive, decompressed, in bytes: types of kernels are about 6 MB.
    pub const MAX_BYTES: u64 = 64 << 20;
}

/// Stands for a build id that is not known.
const UNKNOWN: &str = "unknown";
const SUFFIX: &str = ".btf.zst";

/// What a pack is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// GNU build id of the kernel in lower-case hexadecimal digits.
    pub build_id: Option<String>,
    /// What `uname -r` says.
    pub release: String,
}

impl Kernel {
    /// The kernel that runs here; its release is empty where it cannot be read.
    #[must_use]
    pub fn running() -> Self {
        let release = fs::read_to_string(RELEASE).unwrap_or_default();
        Self {
            build_id: fs::read(NOTES).ok().and_then(|notes| build_id(&notes)),
            release: release.trim().to_owned(),
        }
    }

    /// Name of the pack's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let build_id = self.build_id.as_deref().unwrap_or(UNKNOWN);
        format!("{build_id}.{}{SUFFIX}", self.release)
    }

    /// What a file is for, by its name; `None` when it is no pack.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let (build_id, release) = name.strip_suffix(SUFFIX)?.split_once('.')?;
        let known = build_id != UNKNOWN;
        let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if (known && (!is_hex || build_id.is_empty())) || release.is_empty() {
            return None;
        }
        Some(Self {
            build_id: known.then(|| build_id.to_ascii_lowercase()),
            release: release.to_owned(),
        })
    }
}

/// Names of the files in a folder of packs; none where there is no folder.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The pack for `kernel` among the names of files.
///
/// # Errors
/// Why none fits, in an operator's words.
pub fn choose<'a>(kernel: &Kernel, names: &'a [String]) -> Result<&'a str, String> {
    let release = &kernel.release;
    let mut same_release = None;
    for name in names {
        let Some(pack) = Kernel::of_file_name(name) else {
            continue;
        };
        if kernel.build_id.is_some() && pack.build_id == kernel.build_id {
            return Ok(name);
        }
        if pack.release == *release {
            // Either side may not know: then the release has to do.
            if pack.build_id.is_none() || kernel.build_id.is_none() {
                same_release = Some(name.as_str());
            }
        }
    }
    same_release.ok_or_else(|| {
        let other = names
            .iter()
            .filter_map(|name| Kernel::of_file_name(name))
            .any(|pack| pack.release == *release);
        match (other, names.is_empty()) {
            (true, _) => format!("the BTF pack for {release} is of another build of it"),
            (false, true) => "no BTF packs are installed".into(),
            (false, false) => format!("no BTF pack is for {release}"),
        }
    })
}

/// The GNU build id in the notes of a kernel (`/sys/kernel/notes`, or an ELF file's): the first
/// note of type 3 (`NT_GNU_BUILD_ID`) and owner `GNU`, as elf(5) lays them out.
#[must_use]
pub fn build_id(notes: &[u8]) -> Option<String> {
    const BUILD_ID: u32 = 3;
    let mut rest = notes;
    loop {
        let (header, after) = rest.split_first_chunk::<12>()?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        let (name_len, value_len) = (word(0) as usize, word(4) as usize);
        let name = after.get(..name_len)?;
        let value_at = name_len.checked_next_multiple_of(4)?;
        let value = after.get(value_at..value_at.checked_add(value_len)?)?;
        if word(8) == BUILD_ID && name == b"GNU\0" {
            return Some(notation::hex(value));
        }
        rest = after.get(value_at + value_len.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, build_id, choose};

    fn kernel(build_id: Option<&str>, release: &str) -> Kernel {
        Kernel {
            build_id: build_id.map(String::from),
            release: release.into(),
        }
    }

    #[test]
    fn a_name_says_what_a_pack_is_for() {
        for build_id in [Some("00ff"), None] {
            let kernel = kernel(build_id, "4.14.67-1.el7.x86_64");
            assert_eq!(Kernel::of_file_name(&kernel.file_name()), Some(kernel));
        }
        for name in ["README", "xyz.4.14.btf.zst", ".4.14.btf.zst", "00.btf.zst"] {
            assert_eq!(Kernel::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_build_decides_and_the_release_helps_where_no_build_is_known() {
        let names = |kernels: &[Kernel]| kernels.iter().map(Kernel::file_name).collect::<Vec<_>>();
        let packs = names(&[kernel(Some("aa"), "4.14"), kernel(Some("bb"), "4.19")]);
        // The same build under another name of its release.
        assert_eq!(choose(&kernel(Some("aa"), "x"), &packs).unwrap(), packs[0]);
        assert_eq!(choose(&kernel(None, "4.19"), &packs).unwrap(), packs[1]);
        let other = choose(&kernel(Some("cc"), "4.19"), &packs).unwrap_err();
        assert!(other.contains("another build"), "{other}");
        let missing = choose(&kernel(Some("cc"), "5.4"), &packs).unwrap_err();
        assert!(missing.contains("no BTF pack is for 5.4"), "{missing}");
        let unknown = names(&[kernel(None, "4.19")]);
        assert!(choose(&kernel(Some("cc"), "4.19"), &unknown).is_ok());
        assert!(choose(&kernel(None, "4.19"), &[]).is_err());
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |owner: &[u8; 4], kind: u32, value: &[u8]| {
            let mut bytes = Vec::new();
            for word in [4, u32::try_from(value.len()).unwrap(), kind] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(owner);
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let notes = [note(b"Xen\0", 3, &[1; 5]), note(b"GNU\0", 3, &[0xab, 0x01])].concat();
        assert_eq!(build_id(&notes).as_deref(), Some("ab01"));
        assert_eq!(build_id(&notes[..notes.len() - 3]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
        assert_eq!(build_id(&[]), None);
    }
}
