//! Which files of a package are unpacked, and where.

use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// Decides by its path (relative, without `./`) whether a file is unpacked.
pub type Wanted<'a> = &'a dyn Fn(&Path) -> bool;

/// A path of an archive as one below the folder that it is unpacked to; `None` for the folder.
///
/// # Errors
/// When it would lead out of it.
pub(super) fn below(path: &Path) -> Result<Option<PathBuf>> {
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
