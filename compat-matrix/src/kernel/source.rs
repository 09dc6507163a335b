//! Kernels that no package gives, built from a distribution's source package.
//!
//! Nothing is configured but what the fragments ask for, so a kernel is small and says what it is.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::config::Config;
use crate::cache::{self, Cache, Removed};
use crate::compress;
use crate::package;
use crate::say::Progress;
use crate::stream;

/// Programs without which no kernel is built.
const TOOLS: [&str; 5] = ["make", "gcc", "flex", "bison", "bc"];

/// Makes type information.
const PAHOLE: &str = "pahole";

/// A kernel without type information as a file that has it: what a pack is made of.
const TYPES: &str = "vmlinux";

/// How often a build says how far it is.
const TICK: Duration = Duration::from_secs(10);

/// Of these only what describes the build is kept: two thirds of the source, and in no fragment.
const IDLE: [&str; 12] = [
    "Documentation",
    "drivers/gpu",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/scsi",
    "drivers/staging",
    "drivers/usb",
    "samples",
    "sound",
    "tools/testing",
];

/// What a kernel is built of.
pub(super) struct Recipe<'a> {
    /// The source package.
    pub(super) package: &'a Path,
    /// Its hash.
    pub(super) sha256: &'a str,
    /// Names of the fragments.
    pub(super) names: &'a [String],
    /// Folder of the fragments.
    pub(super) folder: &'a Path,
}

impl Recipe<'_> {
    /// The image, built when the cache does not have it.
    ///
    /// # Errors
    /// When a tool is missing, a fragment asks for what the kernel cannot have, or it cannot be
    /// built.
    pub(super) fn image(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
        let config = self.config()?;
        let name = self.names.last().context("no fragment is named")?;
        let text = config.text();
        // The name is in the kernel's release.
        let mut parts = vec![self.sha256, &text, name];
        if Build::keeps_types(&config) {
            parts.push(TYPES);
        }
        let key = cache::key(parts);
        // One build of it at a time; the others wait for it and take what came out.
        let tree = cache.path(&format!("trees/{key}"));
        fs::create_dir_all(&tree).with_context(|| format!("make {}", tree.display()))?;
        let lock = File::create(tree.with_extension("lock")).context("lock the build")?;
        lock.lock().context("lock the build")?;
        // It stays when this program is killed, and the next one goes on with it.
        let _guard = Removed(tree.clone());
        let built = cache.folder("built", &key, |into| {
            tools(&config)?;
            let source = self.source(cache, progress)?;
            let build = Build {
                source: &source,
                tree,
                name,
                config: &config,
                progress,
            };
            build.run(into)
        })?;
        let types = built.join(TYPES);
        if types.exists() {
            let words = format!("with types, for a BTF pack: {}", types.display());
            progress.say(name, &words);
        }
        Ok(built.join("bzImage"))
    }

    fn config(&self) -> Result<Config> {
        let mut texts = Vec::new();
        for name in self.names {
            let path = self.folder.join(format!("{name}.config"));
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            texts.push((name.as_str(), text));
        }
        Config::merge(texts.iter().map(|(name, text)| (*name, text.as_str())))
    }

    /// The kernel's source tree, unpacked once for all variants.
    fn source(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
        let key = cache::key(["1", self.sha256]);
        let folder = cache.folder("sources", &key, |into| {
            progress.say("kernel", "unpacking its source");
            let is_source = |path: &Path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("linux-source-") && name.contains(".tar.")
            };
            package::unpack(self.package, into, &is_source)?;
            let archive = sole(&into.join("usr/src"))?;
            let file = File::open(&archive).with_context(|| format!("open {archive:?}"))?;
            let mut archive = tar::Archive::new(compress::reader(file)?);
            for entry in archive.entries().context("read the source")? {
                let mut entry = entry.context("read the source")?;
                if is_needed(&entry.path()?) {
                    entry.unpack_in(into).context("unpack the source")?;
                }
            }
            fs::remove_dir_all(into.join("usr"))?;
            Ok(())
        })?;
        sole(&folder)
    }
}

/// What is done with one configuration.
struct Build<'a> {
    source: &'a Path,
    tree: PathBuf,
    name: &'a str,
    config: &'a Config,
    progress: &'a Progress,
}

impl Build<'_> {
    /// Configures and builds, and keeps image and configuration.
    fn run(&self, into: &Path) -> Result<()> {
        let asked = self.tree.join("asked.config");
        fs::write(&asked, self.config.text())?;
        let mut all_else_off = self.make(&["allnoconfig"]);
        all_else_off.env("KCONFIG_ALLCONFIG", &asked);
        self.follow(&mut all_else_off)?;
        let made = self.tree.join(".config");
        let text = fs::read_to_string(&made).context("read the kernel's configuration")?;
        let missing = self.config.missing(&text);
        ensure!(
            missing.is_empty(),
            "the kernel cannot be configured so; what an option depends on may be missing, or it \
             is not in this version:\n{}",
            missing.join("\n")
        );
        self.follow(&mut self.make(&["bzImage"]))?;
        fs::copy(
            self.tree.join("arch/x86/boot/bzImage"),
            into.join("bzImage"),
        )
        .context("keep the kernel's image")?;
        fs::copy(made, into.join("config"))?;
        if Self::keeps_types(self.config) {
            let whole = self.tree.join("vmlinux");
            self.follow(Command::new(PAHOLE).arg("-J").arg(&whole))?;
            // A fifth is left: its names and types, and the id of this build.
            let mut strip = Command::new("strip");
            strip.arg("-g").arg("-o").arg(into.join(TYPES)).arg(&whole);
            self.follow(&mut strip)?;
        }
        Ok(())
    }

    /// Whether what a BTF pack is made of is kept: of a kernel that could have type information
    /// and has not.
    fn keeps_types(config: &Config) -> bool {
        config.has("CONFIG_DEBUG_INFO") && !config.has("CONFIG_DEBUG_INFO_BTF")
    }

    /// `make` as on every machine, whatever this one has set, and out of the way of other work.
    fn make(&self, targets: &[&str]) -> Command {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut make = Command::new("nice");
        make.arg("make")
            .arg("-C")
            .arg(self.source)
            .arg(format!("O={}", self.tree.display()))
            .arg(format!("-j{jobs}"))
            .arg("ARCH=x86_64")
            .arg(format!("LOCALVERSION=-{}", self.name))
            .args(targets)
            .env_clear()
            .envs(
                ["PATH", "HOME", "TMPDIR"]
                    .map(|name| (name, env::var_os(name).unwrap_or_default())),
            )
            .envs([
                ("LC_ALL", "C"),
                ("KBUILD_BUILD_USER", "waybill"),
                ("KBUILD_BUILD_HOST", "compat-matrix"),
                ("KBUILD_BUILD_TIMESTAMP", "1970-01-01"),
            ]);
        make
    }

    /// Runs a step to its end and says how far it is.
    fn follow(&self, step: &mut Command) -> Result<()> {
        let mut child = step
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a step of the build")?;
        let lines = stream::lines(child.stdout.take().context("read what make says")?)?;
        let errors = stream::whole(child.stderr.take().context("read what make says")?)?;
        let (mut done, mut said, mut last) = (0, Instant::now(), VecDeque::new());
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    done += 1;
                    last.push_back(line.trim().to_owned());
                    if last.len() > 3 {
                        last.pop_front();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if said.elapsed() >= TICK {
                said = Instant::now();
                let now = last.back().map_or("", String::as_str);
                self.progress
                    .say(self.name, &format!("building: {done} steps, {now}"));
            }
        }
        let errors = errors.recv().unwrap_or_default();
        let status = child.wait().context("wait for make")?;
        if !status.success() {
            let last = Vec::from(last).join("\n");
            bail!("the kernel was not built:\n{last}\n{}", tail(&errors));
        }
        Ok(())
    }
}

/// The last lines of what a compiler said.
fn tail(errors: &str) -> String {
    let lines: Vec<&str> = errors.trim().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Refuses to begin without what a build needs.
fn tools(config: &Config) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    // Both the kernel's own and that of a pack are made of debug information.
    let types = config.has("CONFIG_DEBUG_INFO");
    let missing: Vec<&str> = TOOLS
        .into_iter()
        .chain(types.then_some(PAHOLE))
        .filter(|tool| !folders.iter().any(|folder| folder.join(tool).is_file()))
        .collect();
    ensure!(
        missing.is_empty(),
        "this kernel is built from source, and {} is missing here: run ci/deps",
        missing.join(", ")
    );
    Ok(())
}

/// The only entry of a folder.
fn sole(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    match (entries.pop(), entries.is_empty()) {
        (Some(entry), true) => Ok(entry.path()),
        _ => bail!("a source package has one source, and this one has not"),
    }
}

/// Whether a file of the source, with the folder that all are in, is unpacked.
fn is_needed(path: &Path) -> bool {
    let path: PathBuf = path.components().skip(1).collect();
    let foreign =
        path.starts_with("arch") && path.components().count() > 2 && !path.starts_with("arch/x86");
    if foreign {
        return false;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let describes = ["Kconfig", "Makefile", "Kbuild"]
        .iter()
        .any(|begin| name.starts_with(begin));
    describes || !IDLE.iter().any(|idle| path.starts_with(idle))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{Build, Config, Progress, Recipe, is_needed};
    use crate::matrix::{MATRIX, Matrix};

    #[test]
    fn of_the_source_what_this_machine_never_runs_stays_packed() {
        let needed = |path: &str| is_needed(&Path::new("linux-source-5.10").join(path));
        for path in [
            "Makefile",
            "arch/Kconfig",
            "arch/x86/boot/main.c",
            "drivers/net/veth.c",
            "drivers/gpu/drm/Kconfig",
            "Documentation/Makefile",
        ] {
            assert!(needed(path), "{path}");
        }
        for path in [
            "arch/arm/Kconfig",
            "drivers/gpu/drm/x.c",
            "Documentation/a.rst",
        ] {
            assert!(!needed(path), "{path}");
        }
    }

    #[test]
    fn the_matrix_names_every_fragment_there_is_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        let mut named = BTreeSet::new();
        for kernel in Matrix::parse(MATRIX).unwrap().kernels {
            let recipe = Recipe {
                package: Path::new(""),
                sha256: "",
                names: &kernel.config,
                folder: &folder,
            };
            recipe.config().unwrap();
            named.extend(kernel.config);
        }
        let there: BTreeSet<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".config").to_owned())
            .collect();
        assert_eq!(named, there);
    }

    #[test]
    fn a_step_that_fails_is_told_with_what_it_said_last() {
        let build = Build {
            source: Path::new("."),
            tree: PathBuf::new(),
            name: "x",
            config: &Config::default(),
            progress: &Progress::new(Box::new(std::io::sink())),
        };
        let mut step = Command::new("sh");
        step.args([
            "-c",
            "echo CC tcp.o; echo tcp.c:1: no such thing >&2; exit 1",
        ]);
        let error = build.follow(&mut step).unwrap_err().to_string();
        assert!(
            error.contains("CC tcp.o\ntcp.c:1: no such thing"),
            "{error}"
        );
        build.follow(&mut Command::new("true")).unwrap();
    }
}
