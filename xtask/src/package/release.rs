//! What all packages of one release have in common.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::sign;
use crate::stage::{say, stage};
use crate::{child, rootfs, web, workspace};

/// Options of `package` and `bundle`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the results go; by default target/package
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// File with the seed of the signing key, 64 hexadecimal digits (openssl rand -hex 32); by
    /// default the one that WAYBILL_SIGNING_KEY names
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Number of this packaging of the same version
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) revision: u32,
    /// Take the developer's build, and compress in haste: to try packages, not to ship them
    #[arg(long)]
    pub(super) developer: bool,
    /// Make everything twice, compare the results, and their content with the manifest
    #[arg(long)]
    pub(super) verify: bool,
    /// Build the programs a second time, from the last commit in another folder, and compare
    #[arg(long, conflicts_with = "developer")]
    pub(super) anew: bool,
}

/// One release for one architecture.
#[derive(Debug)]
pub(super) struct Release {
    /// Of the workspace.
    pub(super) version: &'static str,
    /// Number of this packaging of the same version.
    pub(super) revision: u32,
    /// Unix time of everything in it.
    pub(super) epoch: u64,
    /// As the kernel and rpm call it: `x86_64`, `aarch64`.
    pub(super) machine: &'static str,
    /// Compress in haste.
    pub(super) haste: bool,
    /// Where the built programs are.
    pub(super) programs: PathBuf,
}

impl Release {
    /// Builds the programs.
    ///
    /// # Errors
    /// When the build fails or the time of the last commit is unknown.
    pub(super) fn build(options: &Options) -> Result<Self> {
        web::run_where_npm_is(&workspace::root())?;
        let profile = if options.developer {
            // The selection of `cargo xtask test`, so that nothing is built anew for it.
            child::run(&mut child::cargo(&["build", "--bins"]))?;
            "debug"
        } else {
            rootfs::build_agent(true)?;
            // Packages take what debuggers read from it, and strip the rest.
            "release"
        };
        let programs = workspace::binaries(profile)?;
        if options.anew {
            stage("the programs anew", || built_anew(&programs))?;
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: options.revision,
            epoch: epoch()?,
            machine: std::env::consts::ARCH,
            haste: options.developer,
            programs,
        })
    }

    /// `0.1.0-1`
    pub(super) fn full_version(&self) -> String {
        format!("{}-{}", self.version, self.revision)
    }

    /// The architecture as Debian calls it.
    pub(super) fn debian_architecture(&self) -> Result<&'static str> {
        match self.machine {
            "x86_64" => Ok("amd64"),
            "aarch64" => Ok("arm64"),
            other => bail!("no name of Debian is known for {other}"),
        }
    }

    /// The time of everything in it.
    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.epoch)
    }

    /// The time of everything in it, in the words of date(1), English and UTC.
    ///
    /// # Errors
    /// Those of date.
    pub(super) fn date(&self, format: &str) -> Result<String> {
        let mut date = self.tool("date");
        date.args(["-u", "-d", &format!("@{}", self.epoch)]);
        let said = child::output(date.arg(format!("+{format}")))?;
        Ok(said.trim_end().to_owned())
    }

    /// A command whose results depend on nothing but what it is given.
    pub(super) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            // Compressing by several threads gives another result than by one.
            .env("DPKG_DEB_THREADS_MAX", "1")
            .env("XZ_DEFAULTS", "--threads=1")
            .env_remove("GZIP")
            .env_remove("TAR_OPTIONS");
        command
    }

    /// Writes paths of `folder` into `archive` (tar, gzip), the same each time: nothing in it is
    /// this machine's, and names come in the given order.
    ///
    /// # Errors
    /// Those of tar.
    pub(super) fn archive(&self, folder: &Path, paths: &[String], archive: &Path) -> Result<()> {
        let list = archive.with_extension("list");
        std::fs::write(&list, paths.join("\n") + "\n").context("write the list of an archive")?;
        let level = if self.haste { "-1n" } else { "-9n" };
        let mut tar = self.tool("tar");
        // ustar: what any tar reads, and what has no place for times of access.
        tar.args([
            "--create",
            "--format=ustar",
            "--no-recursion",
            "--numeric-owner",
            "--owner=0",
            "--group=0",
        ]);
        tar.arg(format!("--mtime=@{}", self.epoch))
            .arg(format!("--use-compress-program=gzip {level}"))
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(folder)
            .arg("--files-from")
            .arg(&list);
        let done = child::run(&mut tar);
        std::fs::remove_file(&list).context("remove the list of an archive")?;
        done
    }
}

/// Builds the last commit in a folder of its own and demands the same programs.
fn built_anew(programs: &Path) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("waybill-anew-{}", std::process::id()));
    let _gone = Gone(folder.clone());
    child::run(
        Command::new("git")
            .args(["clone", "--quiet", "--no-hardlinks"])
            .arg(workspace::root())
            .arg(&folder),
    )?;
    web::run_where_npm_is(&folder)?;
    let mut build = child::cargo_build_shipped(&folder)?;
    child::run(build.arg("--target-dir").arg(folder.join("target")))?;
    // target/TRIPLE/release, as here.
    let place = programs.iter().rev().take(2).collect::<Vec<_>>();
    let built = place.into_iter().rev().collect::<PathBuf>();
    for name in ["waybill-agent", "waybill-collector"] {
        let other = folder.join("target").join(&built).join(name);
        if sign::sum(&programs.join(name))? != sign::sum(&other)? {
            bail!("{name} is another one when built anew (is everything committed?)");
        }
    }
    say("the programs are byte for byte the same")
}

/// A folder that goes when this does.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// `SOURCE_DATE_EPOCH`, or the time of the last commit.
fn epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => child::output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(workspace::root()),
        )
        .context("set SOURCE_DATE_EPOCH where there is no git")?,
    };
    text.trim()
        .parse()
        .context("SOURCE_DATE_EPOCH is in seconds")
}
