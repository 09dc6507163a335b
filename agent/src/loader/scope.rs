//! The cgroup whose sockets are watched, with all below it, as the programs of all families know it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bpf::abi;

use crate::host::Numbers;
use crate::paths::CGROUP_DIR;

/// No cgroup has it.
const NOWHERE: u64 = u64::MAX;

/// The scope.
#[derive(Clone, Debug)]
pub struct Scope {
    tree: PathBuf,
    path: PathBuf,
    level: u32,
}

impl Scope {
    /// The scope of that name in a configuration, below the tree that the jail has.
    #[must_use]
    pub fn named(cgroup: &str) -> Self {
        Self::below(Path::new(CGROUP_DIR), cgroup)
    }

    fn below(tree: &Path, cgroup: &str) -> Self {
        let parts = cgroup.split('/').filter(|part| !part.is_empty());
        Self {
            tree: tree.to_owned(),
            path: tree.join(cgroup.trim_start_matches('/')),
            level: u32::try_from(parts.count()).unwrap_or(u32::MAX),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What every program is told: all cgroups at level 0, none where the directory is not there.
    ///
    /// # Errors
    /// It is there, and has no number.
    pub(super) fn config(&self) -> Result<abi::wb_config> {
        let numbers = Numbers::of(&self.tree);
        let scope_cgroup_id = match (self.level, numbers.number(&self.path)) {
            (0, _) => 0,
            (_, Some(number)) => number,
            (_, None) if self.path.try_exists().unwrap_or(true) => {
                let path = self.path.display();
                None.with_context(|| format!("look at the scope's cgroup {path}"))?
            }
            (_, None) => NOWHERE,
        };
        Ok(abi::wb_config {
            scope_cgroup_id,
            scope_cgroup_mask: numbers.mask(),
            scope_level: self.level,
            reserved: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::{NOWHERE, Scope};

    #[test]
    fn the_scope_is_everything_one_directory_or_nothing_until_that_is_there() {
        let tree = tempfile::tempdir().unwrap();
        let number = |scope: &Scope| scope.config().unwrap().scope_cgroup_id;
        let (all, one) = (
            Scope::below(tree.path(), "/"),
            Scope::below(tree.path(), "/apps/shop"),
        );
        assert_eq!((number(&all), all.config().unwrap().scope_level), (0, 0));
        assert_eq!(number(&one), NOWHERE);
        fs::create_dir_all(one.path()).unwrap();
        let told = one.config().unwrap();
        assert_eq!(told.scope_level, 2);
        let inode = fs::metadata(one.path()).unwrap().ino();
        assert_eq!(told.scope_cgroup_id, inode);
        fs::remove_dir(one.path()).unwrap();
        assert_eq!(number(&one), NOWHERE);
    }
}
