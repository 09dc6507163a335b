//! From wherever a kernel comes to what a guest needs: an image and modules in loading order.

mod config;
mod files;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use files::Found;
use serde::{Deserialize, Serialize};
use source::Recipe;

use crate::apt::{self, Package, Suite};
use crate::cache::{self, Cache};
use crate::matrix::Kernel;
use crate::mirror::Mirror;
use crate::modules;
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
    /// Folder with fragments of kernel configurations; none without a source tree.
    pub configs: Option<PathBuf>,
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
        let Some(suite) = &kernel.suite else {
            let named: Vec<_> = kernel
                .files
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return self.of_files(&kernel.files, named.join(", "));
        };
        let pattern = kernel.source.as_ref().or(kernel.package.as_ref());
        let pattern = pattern.context("a suite without a package")?.as_str();
        let key = format!("{suite}/{pattern}");
        let packages =
            self.packages(suite, &key, pattern, &|suite| suite.newest_kernel(pattern))?;
        let named: Vec<_> = packages
            .iter()
            .map(|p| format!("{} {}", p.name, p.version))
            .collect();
        let origin = named.join(", ");
        if kernel.source.is_some() {
            return self.of_source(kernel, &packages, &origin);
        }
        let files: Vec<_> = packages.iter().map(|p| apt::place(self.cache, p)).collect();
        self.of_files(&files, origin)
    }

    /// A kernel built of a source package.
    fn of_source(&self, kernel: &Kernel, packages: &[Package], origin: &str) -> Result<Bootable> {
        let [package] = packages else {
            bail!("{origin}: not one package");
        };
        let folder = self.configs.as_deref().context(
            "this kernel is built from source, and how is in the source tree: name the folder of \
             matrix.toml with --matrix",
        )?;
        let recipe = Recipe {
            package: &apt::place(self.cache, package),
            sha256: &package.sha256,
            names: &kernel.config,
            folder,
        };
        let image = recipe.image(self.cache, self.progress)?;
        let configs = kernel.config.join(" and ");
        self.of_files(&[image], format!("{origin}, built with {configs}"))
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
                files::unpack(file, &unpacked)?;
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
            release: files::release(&image)?,
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
///
/// # Errors
/// It cannot be read.
pub(crate) fn fingerprint(file: &Path) -> Result<String> {
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
