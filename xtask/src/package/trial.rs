//! What the trials of packages are given: two revisions of the bundle, and where to install them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::bundle;
use super::release::{Options, Release};
use super::sign::Key;
use crate::test::Tally;
use crate::userland::roots;
use crate::workspace;

/// Signs bundles that are only tried: a key that everybody knows.
const THROW_AWAY: &str = "57415942494c4c00000000000000000000000000000000000000000000000000";

/// Where everything is.
pub(crate) struct Made {
    packages: PathBuf,
    roots: PathBuf,
}

impl Made {
    /// As the trials want to be told.
    pub(crate) fn variables(&self) -> [(&str, &Path); 2] {
        [
            ("WAYBILL_PACKAGES", &self.packages),
            ("WAYBILL_PACKAGE_ROOTS", &self.roots),
        ]
    }
}

/// Makes both revisions, the first one twice, and the file systems; `None` where there can be no
/// file systems, which is counted as skipped.
///
/// # Errors
/// Only when nothing can be written; whatever fails is counted.
pub(crate) fn make(total: &mut Tally) -> Result<Option<Made>> {
    let packages = workspace::root().join("target/package-trial");
    if packages.exists() {
        fs::remove_dir_all(&packages).with_context(|| format!("remove {}", packages.display()))?;
    }
    match bundles(&packages) {
        Ok(()) => total.passed += 1,
        Err(error) => {
            total.fail(&format!("packages made twice are the same: {error:#}"));
            return Ok(None);
        }
    }
    match roots::all() {
        Ok(roots) => Ok(Some(Made { packages, roots })),
        Err(error) => {
            total.skip(&format!(
                "packages: no file systems to install in: {error:#}"
            ));
            Ok(None)
        }
    }
}

fn bundles(folder: &Path) -> Result<()> {
    let key = Key::parse(THROW_AWAY)?;
    for (revision, name) in [(1, "first"), (2, "second")] {
        let options = Options {
            out: Some(folder.join(name)),
            key: None,
            revision,
            developer: true,
            verify: revision == 1,
            anew: false,
        };
        bundle::signed(&Release::build(&options)?, &options, None, &key)?;
    }
    Ok(())
}
