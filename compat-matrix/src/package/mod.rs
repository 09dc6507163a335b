//! Packages, unpacked without the tools of their distribution.

mod cpio;
mod deb;
mod rpm;

pub use cpio::Archive;
pub(crate) use cpio::END;

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Decides by its path (relative, without `./`) whether a file is unpacked.
pub type Wanted<'a> = &'a dyn Fn(&Path) -> bool;

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

/// A path of an archive as one below the folder that it is unpacked to; `None` for the folder.
///
/// # Errors
/// When it would lead out of it.
fn below(path: &Path) -> Result<Option<PathBuf>> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("{}: leads out of the package", path.display())
            }
        }
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::below;

    #[test]
    fn paths_are_taken_below_the_folder_and_never_out_of_it() {
        let clean = |path| below(Path::new(path)).unwrap();
        assert_eq!(clean("./boot/x").as_deref(), Some(Path::new("boot/x")));
        assert_eq!(clean("/boot/x").as_deref(), Some(Path::new("boot/x")));
        assert_eq!(clean("./"), None);
        assert!(below(Path::new("boot/../../x")).is_err());
    }
}
