//! Where everything that can be made again is kept, each thing under what it was made of.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use notation::hex;
use ring::digest::{Context as Hash, SHA256};

/// A folder that can be deleted at any time, at the price of the next run's duration.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in this folder, which is made when it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("find {}", root.display()))?;
        Ok(Self { root })
    }

    /// The place of something in it.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The folder `<kind>/<key>`, made by `make` when it is not there yet.
    ///
    /// It appears when it is complete, so that an interrupted run leaves no half of it.
    ///
    /// # Errors
    /// Those of `make` and of the file system.
    pub fn folder(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.root.join(kind).join(key);
        if place.exists() {
            return Ok(place);
        }
        let begun = self
            .root
            .join(kind)
            .join(format!(".{key}-{}", std::process::id()));
        let _guard = Removed(begun.clone());
        fs::create_dir_all(&begun).with_context(|| format!("make {}", begun.display()))?;
        make(&begun)?;
        match fs::rename(&begun, &place) {
            Ok(()) => Ok(place),
            // Somebody else made the same at the same time.
            Err(_) if place.exists() => Ok(place),
            Err(error) => Err(error).with_context(|| format!("make {}", place.display())),
        }
    }
}

/// A folder that goes when this goes.
pub(crate) struct Removed(pub(crate) PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // What stays is found by the next run of the same process id, or deleted with the cache.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// SHA-256 of a file, in hex digits.
///
/// # Errors
/// When it cannot be read.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Hash::new(&SHA256);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file
            .read(&mut chunk)
            .with_context(|| format!("read {}", path.display()))?;
        if read == 0 {
            return Ok(hex(hash.finish().as_ref()));
        }
        hash.update(&chunk[..read]);
    }
}

/// SHA-256 over several texts, short enough for a file name.
#[must_use]
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Hash::new(&SHA256);
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let mut text = hex(hash.finish().as_ref());
    text.truncate(24);
    text
}

/// Refuses a file that is not what was promised.
///
/// # Errors
/// When its hash is another one.
pub fn verify(path: &Path, sha256: &str) -> Result<()> {
    let found = hash_file(path)?;
    if found != sha256 {
        bail!("{}: has hash {found}, not {sha256}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Cache, hash_file, key};

    #[test]
    fn a_folder_is_made_once_and_not_kept_when_making_it_fails() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        assert!(
            cache
                .folder("kernels", "a", |_| anyhow::bail!("no"))
                .is_err()
        );
        let make = |path: &std::path::Path| Ok(std::fs::write(path.join("x"), "1")?);
        let made = cache.folder("kernels", "a", make).unwrap();
        let again = cache
            .folder("kernels", "a", |_| panic!("made twice"))
            .unwrap();
        assert_eq!(made, again);
        assert_eq!(made.parent().unwrap().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn keys_depend_on_every_part_and_on_where_it_ends() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["ab", "c"]), key(["ab", "c"]));
    }

    #[test]
    fn hashes_are_sha256() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        assert!(hash_file(&path).unwrap().starts_with("ba7816bf8f01cfea"));
    }
}
