//! Packages of one Debian suite, through apt, without touching the machine's own package state.
//!
//! apt gets lists, state and sources of its own below the cache and the machine's keys, so that
//! signatures are checked as ever. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use crate::say::Progress;
use crate::stream;
use crate::version;

/// How often a long download says how far it is.
const TICK: Duration = Duration::from_secs(2);

/// One version of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Bytes of the `.deb`.
    pub size: u64,
    /// SHA-256 of the `.deb`, in hex digits.
    pub sha256: String,
}

/// A suite whose lists were read.
#[derive(Debug)]
pub struct Suite<'a> {
    name: &'a str,
    folder: PathBuf,
    cache: &'a Cache,
    progress: &'a Progress,
}

impl<'a> Suite<'a> {
    /// Reads the suite's lists from a mirror.
    ///
    /// # Errors
    /// When there is no apt, or the mirror cannot be reached or has no such suite.
    pub fn update(
        name: &'a str,
        mirror: &str,
        cache: &'a Cache,
        progress: &'a Progress,
    ) -> Result<Self> {
        let folder = cache.path(&format!("apt/{name}"));
        for below in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(below))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(
            folder.join("sources.list"),
            format!("deb {mirror} {name} main\n"),
        )?;
        let suite = Self {
            name,
            folder,
            cache,
            progress,
        };
        progress.say(name, "reading the lists of the suite");
        let mut update = suite.apt("apt-get");
        update.args(["update", "-qq", "--error-on=any"]);
        output(&mut update).with_context(|| format!("read the lists of {name}"))?;
        Ok(suite)
    }

    /// The newest package whose name fits the pattern (`*` is anything that begins with a digit),
    /// and the packages that hold the rest of the same kernel.
    ///
    /// # Errors
    /// When there is none, or apt fails.
    pub fn newest_kernel(&self, pattern: &str) -> Result<Vec<Package>> {
        let prefix = pattern.split('*').next().unwrap_or(pattern);
        let names = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        let names: Vec<&str> = names.lines().filter(|name| fits(pattern, name)).collect();
        ensure!(!names.is_empty(), "no package {pattern} in {}", self.name);
        let mut show = self.apt("apt-cache");
        show.arg("show").args(&names);
        let stanzas = output(&mut show)?;
        let newest = stanzas
            .split("\n\n")
            .filter_map(|stanza| Some((field(stanza, "Package")?, field(stanza, "Version")?)))
            .max_by(|a, b| version::compare(a.1, b.1))
            .with_context(|| format!("no version of {pattern} in {}", self.name))?;
        let mut wanted = vec![format!("{}={}", newest.0, newest.1)];
        self.parts_of(newest.0, newest.1, &mut wanted)?;
        self.described(&wanted)
    }

    /// Newer kernels are split: the named package is empty and depends on those that are not.
    fn parts_of(&self, name: &str, version: &str, wanted: &mut Vec<String>) -> Result<()> {
        let asked = format!("{name}={version}");
        let stanza = output(self.apt("apt-cache").args(["show", &asked]))?;
        for key in ["Depends", "Pre-Depends"] {
            let depends = field(&stanza, key).unwrap_or_default();
            for part in depends.split(',').map(str::trim) {
                let part_name = part.split_whitespace().next().unwrap_or_default();
                let is_part = part_name.starts_with("linux-binary-")
                    || part_name.starts_with("linux-modules-");
                let known = wanted
                    .iter()
                    .any(|word| word.split('=').next() == Some(part_name));
                if is_part && !known {
                    wanted.push(format!("{part_name}={version}"));
                    self.parts_of(part_name, version, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// Packages with everything that they depend on, as on a machine that has nothing.
    ///
    /// # Errors
    /// When they cannot be had together, or apt fails.
    pub fn closure(&self, names: &[String]) -> Result<Vec<Package>> {
        let mut install = self.apt("apt-get");
        install
            .args(["install", "--simulate", "--no-install-recommends", "-qq"])
            .args(names);
        let plan = output(&mut install)?;
        let wanted: Vec<String> = plan.lines().filter_map(installed).collect();
        self.described(&wanted)
    }

    fn described(&self, wanted: &[String]) -> Result<Vec<Package>> {
        let mut uris = self.apt("apt-get");
        uris.args(["download", "--print-uris", "-qq"]).args(wanted);
        let lines = output(&mut uris)?;
        lines.lines().map(described).collect()
    }

    /// The `.deb`s of packages, from the cache or from the mirror; their hashes are checked.
    ///
    /// # Errors
    /// When one cannot be had or is not what the lists promise.
    pub fn download(&self, packages: &[Package]) -> Result<()> {
        let missing: Vec<&Package> = packages
            .iter()
            .filter(|package| !place(self.cache, package).exists())
            .collect();
        let Some(first) = missing.first() else {
            return Ok(());
        };
        let folder = self
            .cache
            .path(&format!("packages/.{}-{}", self.name, std::process::id()));
        let _guard = cache::Removed(folder.clone());
        fs::create_dir_all(&folder)?;
        let total: u64 = missing.iter().map(|package| package.size).sum();
        let what = match missing.len() {
            1 => first.name.clone(),
            count => format!("{count} packages"),
        };
        let megabytes = mb(total);
        self.progress
            .say(self.name, &format!("{what}: {megabytes:.1} MB to download"));
        let mut download = self.apt("apt-get");
        download.current_dir(&folder).args(["download", "-qq"]);
        download.args(
            missing
                .iter()
                .map(|package| format!("{}={}", package.name, package.version)),
        );
        ticking(&mut download, || {
            let percent = size_of(&folder) * 100 / total.max(1);
            self.progress.say(
                self.name,
                &format!("{what}: {percent} % of {megabytes:.1} MB"),
            );
        })?;
        for package in missing {
            self.keep(&folder, package)?;
        }
        Ok(())
    }

    /// Takes a downloaded file into the cache.
    fn keep(&self, folder: &Path, package: &Package) -> Result<()> {
        let begin = format!("{}_", package.name);
        let file = fs::read_dir(folder)?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
            .with_context(|| format!("apt downloaded no {}", package.name))?
            .path();
        cache::verify(&file, &package.sha256)?;
        fs::rename(file, place(self.cache, package))?;
        Ok(())
    }

    /// apt with nothing of this machine but its keys, proxies and methods.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let own = |name: &str| self.folder.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", own("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State={}", self.folder.display()),
            format!("Dir::State::status={}", own("status")),
            format!("Dir::State::lists={}", own("lists")),
            format!("Dir::Cache={}", own("cache")),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Get::AllowUnauthenticated=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        for option in options {
            command.arg("-o").arg(option);
        }
        // What is read below is not in the reader's language.
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }
}

/// The place of a package's `.deb` in the cache.
#[must_use]
pub fn place(cache: &Cache, package: &Package) -> PathBuf {
    cache.path(&format!("packages/{}.deb", package.sha256))
}

/// Bytes as the megabytes that people know from downloads.
#[allow(
    clippy::cast_precision_loss,
    reason = "shown with one digit after the point"
)]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .sum()
}

/// Runs a command to its end and returns what it wrote.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| {
        format!("start {name}; kernels of Debian suites need apt, give files with --kernel instead")
    })?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {name}"))
}

/// Runs a command to its end and calls `tick` every now and then.
fn ticking(command: &mut Command, tick: impl Fn()) -> Result<()> {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start apt")?;
    let ended = stream::whole(child.stderr.take().context("read what apt says")?)?;
    let text = loop {
        match ended.recv_timeout(TICK) {
            Ok(text) => break text,
            Err(RecvTimeoutError::Timeout) => tick(),
            Err(RecvTimeoutError::Disconnected) => break String::new(),
        }
    };
    let status = child.wait().context("wait for apt")?;
    ensure!(status.success(), "apt: {}", text.trim());
    Ok(())
}

/// True when a package's name is the pattern with something that begins with a digit for its `*`.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == name;
    };
    name.strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .is_some_and(|middle| {
            middle.starts_with(|c: char| c.is_ascii_digit())
                // Flavours are words after a dash; a version has no word in it but these.
                && middle.split('-').skip(1).all(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        })
}

/// The value of a key in a paragraph of `Key: value`.
fn field<'a>(stanza: &'a str, key: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == key).then_some(value.trim())
    })
}

/// `name=version` in a line `Inst name (version ...)` of a simulated installation.
fn installed(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Inst ")?;
    let (name, rest) = rest.split_once(" (")?;
    let version = rest.split_whitespace().next()?;
    Some(format!("{name}={version}"))
}

/// A package from a line `'URI' file size SHA256:hash`.
fn described(line: &str) -> Result<Package> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, file, size, hash] = words[..] else {
        bail!("apt says {line:?} of a package");
    };
    let mut parts = file.splitn(3, '_');
    let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
        bail!("apt says {file:?} of a package's file");
    };
    Ok(Package {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        size: size.parse().context("size of a package")?,
        sha256: hash
            .strip_prefix("SHA256:")
            .context("a package without a SHA-256")?
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{described, fits, installed};

    #[test]
    fn a_pattern_fits_kernels_and_not_their_relatives() {
        let pattern = "linux-image-*-cloud-amd64";
        assert!(fits(pattern, "linux-image-6.12.107+deb13-cloud-amd64"));
        assert!(fits(pattern, "linux-image-5.10.0-46-cloud-amd64"));
        for other in [
            "linux-image-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64-dbg",
            "linux-image-6.12.107+deb13-cloud-amd64-unsigned",
            "linux-image-6.12.107+deb13-amd64",
            "linux-image-6.12.107+deb13-rt-cloud-amd64",
        ] {
            assert!(!fits(pattern, other), "{other}");
        }
        assert!(!fits(
            "linux-image-5.10.*-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64"
        ));
    }

    #[test]
    fn lines_of_apt_are_understood() {
        let line = "Inst libc6 (2.41-12+deb13u4 Debian:13/stable [amd64]) []";
        assert_eq!(installed(line).as_deref(), Some("libc6=2.41-12+deb13u4"));
        assert_eq!(installed("Conf libc6 (2.41-12)"), None);
        let line = "'http://x.example/s.deb' s_1%3a1.16-2_all.deb 163272 SHA256:2b59";
        let package = described(line).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str()),
            ("s", "1:1.16-2")
        );
        assert!(described("'x' s_1_all.deb 1 MD5Sum:2b59").is_err());
    }
}
