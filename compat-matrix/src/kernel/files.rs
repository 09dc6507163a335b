//! What of a package, folder or image is a kernel.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::package;

/// Puts a package's kernel files, a folder's content or an image below `into`.
pub(super) fn unpack(file: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    if file.is_dir() {
        return copy(file, into);
    }
    if is_image(file)? {
        fs::copy(file, into.join("vmlinuz"))?;
        return Ok(());
    }
    ensure!(
        !is_elf(file)?,
        "{}: a vmlinux (ELF) is not what boots; give the compressed image that was made of it, \
         bzImage or vmlinuz (in a build folder: arch/x86/boot/bzImage), and keep the vmlinux for \
         `cargo xtask btf --from`",
        file.display()
    );
    package::unpack(file, into, &|path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        is_image_name(&name) || name.contains(".ko")
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        let kind = fs::metadata(entry.path());
        let name = entry.file_name().to_string_lossy().into_owned();
        match kind {
            // `build` and `source` lead to the kernel's sources.
            Ok(kind) if kind.is_dir() && !entry.file_type()?.is_symlink() => {
                copy(&entry.path(), &place)?;
            }
            Ok(kind) if kind.is_file() && (is_image_name(&name) || name.contains(".ko")) => {
                fs::copy(entry.path(), place)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_image_name(name: &str) -> bool {
    name == "bzImage" || name == "vmlinuz" || name.starts_with("vmlinuz-")
}

/// What was found in an unpacked kernel.
pub(super) struct Found {
    pub(super) image: PathBuf,
    pub(super) modules: Option<PathBuf>,
}

impl Found {
    pub(super) fn below(folder: &Path) -> Result<Self> {
        let mut images = Vec::new();
        let mut with_modules = None;
        walk(folder, &mut |path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy())
                .unwrap_or_default();
            if is_image_name(&name) && is_image(path).unwrap_or(false) {
                images.push(path.to_owned());
            } else if name.contains(".ko") {
                with_modules = Some(folder.to_owned());
            }
        })?;
        images.sort();
        // The same image can be in boot/ and beside its modules.
        let mut releases: Vec<_> = images
            .iter()
            .map(|image| release(image))
            .collect::<Result<_>>()?;
        releases.dedup();
        match (images.first(), releases.len()) {
            (None, _) => bail!(
                "no kernel image (vmlinuz, bzImage) of x86 in it; kernels are often split into \
                 several packages: give them all"
            ),
            (Some(image), 1) => Ok(Self {
                image: image.clone(),
                modules: with_modules,
            }),
            _ => bail!("several kernels in it: {}", releases.join(", ")),
        }
    }
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), visit)?;
        } else {
            visit(&entry.path());
        }
    }
    Ok(())
}

/// Where the boot protocol of x86 has its magic and the place of the version.
const HEADER: u64 = 0x202;

/// True for an x86 kernel image.
fn is_image(path: &Path) -> Result<bool> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(HEADER))?;
    Ok(file.read_exact(&mut magic).is_ok() && &magic == b"HdrS")
}

/// True for an ELF file.
fn is_elf(path: &Path) -> Result<bool> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut magic = [0; 4];
    Ok(file.read_exact(&mut magic).is_ok() && &magic == b"\x7fELF")
}

/// The release that an x86 kernel image says it is.
pub(super) fn release(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    file.take(1 << 17).read_to_end(&mut bytes)?;
    ensure!(
        bytes.get(0x202..0x206) == Some(b"HdrS"),
        "{}: no x86 kernel",
        path.display()
    );
    let offset = bytes
        .get(0x20e..0x210)
        .map_or(0, |two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    let text = bytes.get(offset + 0x200..).unwrap_or_default();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' '));
    let release = std::str::from_utf8(&text[..end.unwrap_or(0)]).unwrap_or_default();
    ensure!(
        !release.is_empty() && offset != 0,
        "{}: says no release",
        path.display()
    );
    Ok(release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Found, is_image, release, unpack};

    fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x1000];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x400u16.to_le_bytes());
        let text = format!("{release} (me@x) #1 SMP");
        bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn an_image_says_its_release() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vmlinuz");
        std::fs::write(&path, image("4.18.0-394.el8")).unwrap();
        assert!(is_image(&path).unwrap());
        assert_eq!(release(&path).unwrap(), "4.18.0-394.el8");
        std::fs::write(&path, "text").unwrap();
        assert!(!is_image(&path).unwrap());
    }

    #[test]
    fn a_kernel_is_found_wherever_a_distribution_puts_it() {
        for place in ["boot/vmlinuz-1.2", "usr/lib/modules/1.2/vmlinuz", "bzImage"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, image("1.2")).unwrap();
            let found = Found::below(directory.path()).unwrap();
            assert_eq!((found.image, found.modules), (path, None));
        }
    }

    #[test]
    fn a_vmlinux_is_told_from_what_boots() {
        let directory = tempfile::tempdir().unwrap();
        let vmlinux = directory.path().join("vmlinux");
        std::fs::write(&vmlinux, [b"\x7fELF".as_slice(), &[0; 0x300]].concat()).unwrap();
        let error = unpack(&vmlinux, &directory.path().join("into")).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains("a vmlinux (ELF) is not what boots"), "{said}");
        assert!(said.contains("arch/x86/boot/bzImage"), "{said}");
    }

    #[test]
    fn no_kernel_and_two_kernels_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path| format!("{:#}", Found::below(path).err().expect("refused"));
        assert!(refused(directory.path()).contains("give them all"));
        for name in ["vmlinuz-1", "vmlinuz-2"] {
            std::fs::write(directory.path().join(name), image(&name[8..])).unwrap();
        }
        assert!(refused(directory.path()).contains("several kernels"));
    }
}
