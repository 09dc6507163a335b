//! What the programs are fitted to this kernel by.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bpf::pack;

use crate::plan::Types;

/// Where an unpacked pack lies for libbpf, which takes a path: memory of the jail's own.
const UNPACKED: &str = "/tmp/kernel.btf";

/// The file that libbpf shall take the kernel's types from; `None` for the kernel's own.
///
/// # Errors
/// The pack cannot be read, or is none.
pub(super) fn file(types: &Types) -> Result<Option<PathBuf>> {
    let Types::Pack(name) = types else {
        return Ok(None);
    };
    let packed = Path::new("/")
        .join(pack::FOLDER)
        .join(std::env::consts::ARCH)
        .join(name);
    unpack(&packed, Path::new(UNPACKED))
        .with_context(|| format!("unpack the BTF pack {}", packed.display()))?;
    Ok(Some(UNPACKED.into()))
}

fn unpack(packed: &Path, to: &Path) -> Result<()> {
    let file = File::open(packed)?;
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)?
        .take(pack::MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= pack::MAX_BYTES,
        "larger than any pack may be"
    );
    File::create(to)?.write_all(&bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn what_is_no_pack_is_refused_and_a_bomb_is_not_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let (packed, to) = (directory.path().join("p"), directory.path().join("t"));
        std::fs::write(&packed, zstd::bulk::compress(b"types", 3).unwrap()).unwrap();
        unpack(&packed, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"types");
        std::fs::write(&packed, b"no frame").unwrap();
        assert!(unpack(&packed, &to).is_err());
        let bomb = vec![0; usize::try_from(bpf::pack::MAX_BYTES).unwrap() + 1];
        std::fs::write(&packed, zstd::bulk::compress(&bomb, 3).unwrap()).unwrap();
        assert!(unpack(&packed, &to).is_err());
    }
}
