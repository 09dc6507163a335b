//! From wherever a kernel comes to what a guest needs: an image and modules in loading order.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::apt::{self, Package, Suite};
use crate::cache::{self, Cache};
use crate::matrix::Kernel;
use crate::mirror::Mirror;
use crate::modules;
use crate::package;
use crate::say::Progress;

/// How long what "newest" means is remembered before a mirror is asked again.
const NEWEST_FOR: Duration = Duration::from_secs(24 * 3600);

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootable {
    /// The bzImage.
    pub image: PathBuf,
    /// Folder with modules and the list `order`.
    pub modules: PathBuf,
    /// Its release, as `uname -r` will say.
    pub release: String,
    /// Where it came from, with versions.
    pub origin: String,
}

/// Gets kernels and remembers them.
#[derive(Debug)]
pub struct Store<'a> {
    /// Where they are kept.
    pub cache: &'a Cache,
    /// What is told while it lasts.
    pub progress: &'a Progress,
    /// Modules that a guest wants.
    pub wanted: &'a [String],
    /// The mirror, or why there is none.
    pub mirror: Option<&'a Mirror>,
    /// Whether mirrors are asked.
    pub network: Network,
}

/// Whether mirrors are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// When nothing is remembered, or for too long.
    AsNeeded,
    /// Always, what is newest.
    Always,
    /// Never.
    Never,
}

/// What "newest" was when a mirror was last asked.
#[derive(Debug, Serialize, Deserialize)]
struct Resolved {
    suite: String,
    pattern: String,
    #[serde(rename = "package")]
    packages: Vec<Package>,
}

impl Store<'_> {
    /// Makes a kernel ready to boot.
    ///
    /// # Errors
    /// When it cannot be had, or what was had is no kernel.
    pub fn get(&self, kernel: &Kernel) -> Result<Bootable> {
        match (&kernel.suite, &kernel.package) {
            (Some(suite), Some(pattern)) => {
                let pattern = pattern.as_str();
                let key = format!("{suite}/{pattern}");
                let packages =
                    self.packages(suite, &key, pattern, &|suite| suite.newest_kernel(pattern))?;
                let origin = packages
                    .iter()
                    .map(|p| format!("{} {}", p.name, p.version))
                    .collect::<Vec<_>>()
                    .join(", ");
                let files: Vec<_> = packages.iter().map(|p| apt::place(self.cache, p)).collect();
                self.of_files(&files, origin)
            }
            _ => {
                let origin = kernel
                    .files
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ");
                self.of_files(&kernel.files, origin)
            }
        }
    }

    /// Packages of a suite, all of them in the cache: remembered ones, or the newest.
    ///
    /// # Errors
    /// When nothing is remembered and the mirror cannot be asked.
    pub fn packages(
        &self,
        suite: &str,
        key: &str,
        pattern: &str,
        ask: &dyn Fn(&Suite<'_>) -> Result<Vec<Package>>,
    ) -> Result<Vec<Package>> {
        let memory = self
            .cache
            .path(&format!("resolved/{}.toml", cache::key([key])));
        let remembered = remembered(&memory, self.cache);
        let fresh = |age: Option<Duration>| age.is_some_and(|age| age < NEWEST_FOR);
        match (&remembered, self.network) {
            (Some((packages, _)), Network::Never) => return Ok(packages.clone()),
            (Some((packages, age)), Network::AsNeeded) if fresh(*age) => {
                return Ok(packages.clone());
            }
            (None, Network::Never) => {
                bail!("{pattern} of {suite} is not in the cache; run `compat-matrix fetch` first")
            }
            _ => {}
        }
        match self.ask(suite, ask) {
            Ok(packages) => {
                let resolved = Resolved {
                    suite: suite.to_owned(),
                    pattern: pattern.to_owned(),
                    packages,
                };
                if let Some(folder) = memory.parent() {
                    fs::create_dir_all(folder)?;
                }
                fs::write(&memory, toml::to_string(&resolved)?)?;
                Ok(resolved.packages)
            }
            Err(error) => match remembered {
                Some((packages, _)) if self.network == Network::AsNeeded => {
                    let why = format!("no mirror ({error:#}); taking what the cache has");
                    self.progress.say(suite, &why);
                    Ok(packages)
                }
                _ => Err(error),
            },
        }
    }

    fn ask(
        &self,
        name: &str,
        ask: &dyn Fn(&Suite<'_>) -> Result<Vec<Package>>,
    ) -> Result<Vec<Package>> {
        let mirror = self.mirror.context(
            "no Debian mirror is configured on this machine: name one with --mirror, or give the \
             kernel's packages with --kernel",
        )?;
        let suite = Suite::update(name, mirror.of(name)?, self.cache, self.progress)?;
        let packages = ask(&suite)?;
        suite.download(&packages)?;
        Ok(packages)
    }

    /// A kernel out of packages, a folder or an image.
    fn of_files(&self, files: &[PathBuf], origin: String) -> Result<Bootable> {
        let mut parts = vec!["2".to_owned()];
        parts.extend(self.wanted.iter().cloned());
        for file in files {
            parts.push(fingerprint(file)?);
        }
        let key = cache::key(parts.iter().map(String::as_str));
        let folder = self.cache.folder("kernels", &key, |into| {
            let unpacked = into.join("unpacked");
            for file in files {
                self.progress
                    .say("kernel", &format!("unpacking {}", shown(file)));
                unpack(file, &unpacked)?;
            }
            let found = Found::below(&unpacked)?;
            fs::copy(&found.image, into.join("vmlinuz"))?;
            let modules = match &found.modules {
                Some(modules) => modules::closure(modules, self.wanted)?,
                None => Vec::new(),
            };
            let kept = into.join("modules");
            fs::create_dir(&kept)?;
            let mut order = String::new();
            for module in &modules {
                let name = format!("{}.ko", module.name);
                fs::write(kept.join(&name), &module.bytes)?;
                order += &name;
                order.push('\n');
            }
            fs::write(kept.join("order"), order)?;
            fs::remove_dir_all(&unpacked)?;
            Ok(())
        })?;
        let image = folder.join("vmlinuz");
        Ok(Bootable {
            release: release(&image)?,
            image,
            modules: folder.join("modules"),
            origin,
        })
    }
}

/// What is remembered, if all its files are still there, and how old it is.
fn remembered(memory: &Path, cache: &Cache) -> Option<(Vec<Package>, Option<Duration>)> {
    let text = fs::read_to_string(memory).ok()?;
    let resolved: Resolved = toml::from_str(&text).ok()?;
    let complete = resolved
        .packages
        .iter()
        .all(|p| apt::place(cache, p).exists());
    let written = fs::metadata(memory).and_then(|data| data.modified()).ok()?;
    let age = SystemTime::now().duration_since(written).ok();
    complete.then_some((resolved.packages, age))
}

fn shown(file: &Path) -> String {
    file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Changes when the file does; of a folder, when a file in it does.
fn fingerprint(file: &Path) -> Result<String> {
    if !file.is_dir() {
        return cache::hash_file(file);
    }
    let mut parts = Vec::new();
    collect(file, &mut parts)?;
    parts.sort();
    Ok(cache::key(parts.iter().map(String::as_str)))
}

fn collect(folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        } else {
            let data = entry.metadata()?;
            let time = data.modified()?.duration_since(SystemTime::UNIX_EPOCH)?;
            into.push(format!(
                "{} {} {time:?}",
                entry.path().display(),
                data.len()
            ));
        }
    }
    Ok(())
}

/// Puts a package's kernel files, a folder's content or an image below `into`.
fn unpack(file: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    if file.is_dir() {
        return copy(file, into);
    }
    if is_image(file)? {
        fs::copy(file, into.join("vmlinuz"))?;
        return Ok(());
    }
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
struct Found {
    image: PathBuf,
    modules: Option<PathBuf>,
}

impl Found {
    fn below(folder: &Path) -> Result<Self> {
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

/// The release that an x86 kernel image says it is.
fn release(path: &Path) -> Result<String> {
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
    use super::{Found, is_image, release};

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
