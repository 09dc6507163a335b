//! Packages, unpacked without the tools of their distribution.

mod cpio;
mod deb;
mod place;
mod rpm;

pub use cpio::Archive;
pub(crate) use cpio::END;
pub use place::Wanted;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Unpacks what is wanted of a `.deb` or `.rpm` below `into`.
///
/// # Errors
/// When it is neither, is cut short, uses an unknown compression, or names a place outside.
pub fn unpack(package: &Path, into: &Path, wanted: Wanted<'_>) -> Result<()> {
    let mut begin = [0; 8];
    let mut file = File::open(package).with_context(|| format!("open {}", package.display()))?;
    file.read_exact(&mut begin)
        .with_context(|| format!("read {}", package.display()))?;
    let file = File::open(package)?;
    match &begin {
        deb::MAGIC => deb::unpack(file, into, wanted),
        begin if begin.starts_with(&rpm::MAGIC) => rpm::unpack(file, into, wanted),
        _ => bail!("neither a .deb nor a .rpm"),
    }
    .with_context(|| format!("unpack {}", package.display()))
}
