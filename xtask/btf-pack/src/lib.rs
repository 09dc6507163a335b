//! Makes BTF packs: for a kernel without type information, exactly the types that our programs use,
//! from whatever of the kernel has types.

#![forbid(unsafe_code)]

mod collected;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bpf::pack::{self, Kernel};
use object::{Object, ObjectSection};

/// Raw BTF begins so (struct btf_header), in either byte order.
const MAGIC: [[u8; 2]; 2] = [[0x9f, 0xeb], [0xeb, 0x9f]];

/// How much the packs are compressed; they are made once.
const LEVEL: i32 = 19;

/// A pack to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// vmlinux with DWARF or BTF, a file of raw BTF, or what `waybill-agent doctor --collect` wrote.
    pub from: PathBuf,
    /// What `uname -r` says on the hosts; else what vmlinux says.
    pub release: Option<String>,
    /// The kernel's GNU build id; else that of vmlinux.
    pub build_id: Option<String>,
    /// Architecture of the kernel, as Rust names it; else what was collected, or that of this
    /// machine.
    pub arch: Option<String>,
    /// Folder of the packs.
    pub out: PathBuf,
}

/// A pack that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of types.
    pub bytes: usize,
    /// Bytes of the file.
    pub packed: usize,
}

/// Makes a pack.
///
/// # Errors
/// The file has no types, says no release, or `pahole` or `bpftool` is missing or refuses it.
pub fn make(order: &Order) -> Result<Made> {
    let bytes = fs::read(&order.from).with_context(|| format!("read {}", order.from.display()))?;
    let scratch = tempfile::tempdir().context("make a temporary folder")?;
    if collected::is_archive(&bytes) {
        return make(&of_collected(order, &bytes, scratch.path())?);
    }
    let kernel = kernel(order, &bytes)?;
    let full = types(&order.from, &bytes, scratch.path())?;
    let minimal = minimal(&full, scratch.path())?;
    let packed = zstd::bulk::compress(&minimal, LEVEL).context("compress")?;
    let arch = order.arch.as_deref().unwrap_or(std::env::consts::ARCH);
    let folder = order.out.join(arch);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let path = folder.join(kernel.file_name());
    fs::write(&path, &packed).with_context(|| format!("write {}", path.display()))?;
    Ok(Made {
        path,
        bytes: minimal.len(),
        packed: packed.len(),
    })
}

/// The order with what the archive says; what was given by hand counts more.
fn of_collected(order: &Order, bytes: &[u8], scratch: &Path) -> Result<Order> {
    let found = collected::Collected::read(bytes)
        .with_context(|| format!("read {}", order.from.display()))?;
    let from = scratch.join("collected.btf");
    fs::write(&from, found.types()?).with_context(|| format!("write {}", from.display()))?;
    Ok(Order {
        from,
        release: order.release.clone().or(Some(found.release)),
        build_id: order.build_id.clone().or(found.build_id),
        arch: order.arch.clone().or(Some(found.arch)),
        out: order.out.clone(),
    })
}

/// What the pack is for: what was said, else what the file says.
fn kernel(order: &Order, bytes: &[u8]) -> Result<Kernel> {
    let build_id = match &order.build_id {
        Some(given) => {
            let is_hex = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(is_hex, "--build-id {given}: not hexadecimal digits");
            Some(given.to_ascii_lowercase())
        }
        None => section(bytes, ".notes").and_then(|notes| pack::build_id(&notes)),
    };
    let release = order
        .release
        .clone()
        .or_else(|| release(bytes))
        .context("the file does not say its release: give --release, as `uname -r` says it")?;
    ensure!(
        !release.is_empty() && !release.contains(['/', '\0']),
        "--release {release:?}: not a kernel's release"
    );
    Ok(Kernel { build_id, release })
}

/// `linux_banner` of a vmlinux: "Linux version RELEASE (...".
fn release(bytes: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    // A format string begins in the same way, and says no number.
    let starts = memmem(bytes, BANNER);
    starts
        .filter_map(|at| {
            let rest = bytes.get(at + BANNER.len()..)?;
            let end = rest.iter().position(|byte| *byte == b' ')?;
            let release = std::str::from_utf8(rest.get(..end)?).ok()?;
            release
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| release.to_owned())
        })
        .next()
}

/// Every place of `needle`.
fn memmem<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes
        .windows(needle.len())
        .enumerate()
        .filter(move |(_, window)| *window == needle)
        .map(|(at, _)| at)
}

fn section(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let file = object::File::parse(bytes).ok()?;
    let section = file.section_by_name(name)?;
    Some(section.data().ok()?.to_vec())
}

/// A file with all types of the kernel.
fn types(from: &Path, bytes: &[u8], scratch: &Path) -> Result<PathBuf> {
    if MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(from.to_owned());
    }
    let file = object::File::parse(bytes)
        .with_context(|| format!("{}: neither ELF nor BTF", from.display()))?;
    if file.section_by_name(".BTF").is_some() {
        return Ok(from.to_owned());
    }
    if file.section_by_name(".debug_info").is_none() {
        bail!(
            "{}: no types in it; take vmlinux out of the kernel's debug package \
             (kernel-debuginfo, linux-image-*-dbg), or build with CONFIG_DEBUG_INFO=y",
            from.display()
        );
    }
    let full = scratch.join("full.btf");
    let mut encode = Command::new("pahole");
    encode.arg(format!("--btf_encode_detached={}", full.display()));
    run(encode.arg(from), "pahole")?;
    Ok(full)
}

/// The types that our programs use, and no more.
fn minimal(full: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let out = scratch.join("minimal.btf");
    let mut pick = Command::new("bpftool");
    pick.args(["gen", "min_core_btf"]).arg(full).arg(&out);
    for (name, bytes) in bpf::OBJECTS {
        let path = scratch.join(name);
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        pick.arg(path);
    }
    run(&mut pick, "bpftool")?;
    let bytes = fs::read(&out).context("read what bpftool wrote")?;
    ensure!(
        bytes.len() as u64 <= pack::MAX_BYTES,
        "{} bytes are no minimal BTF",
        bytes.len()
    );
    Ok(bytes)
}

fn run(command: &mut Command, name: &str) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {name} (`cargo xtask deps` installs it)"))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn the_release_is_read_from_the_banner_and_not_from_its_format() {
        let image = b"..Linux version %s (%s)\0..Linux version 4.14.67-1.el7 (me@x) #1\0";
        assert_eq!(release(image).as_deref(), Some("4.14.67-1.el7"));
        assert_eq!(release(b"nothing"), None);
    }
}
