//! The agent and collector under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::command;

/// Environment variable naming a directory with ready binaries, instead of building them.
const GIVEN: &str = "WAYBILL_BIN_DIR";

/// Paths of the two programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `waybill-agent`
    pub agent: PathBuf,
    /// `waybill-collector`
    pub collector: PathBuf,
}

impl Binaries {
    /// Builds both with cargo, or takes those in `WAYBILL_BIN_DIR`.
    ///
    /// # Errors
    /// When the build fails, or either binary is not there afterwards.
    pub fn build() -> Result<Self> {
        let directory = match std::env::var_os(GIVEN) {
            Some(directory) => PathBuf::from(directory),
            None => cargo_build()?,
        };
        let binaries = Self {
            agent: directory.join("waybill-agent"),
            collector: directory.join("waybill-collector"),
        };
        for path in [&binaries.agent, &binaries.collector] {
            path.metadata()
                .with_context(|| format!("find {}", path.display()))?;
        }
        Ok(binaries)
    }

    /// Copies both into `directory`, so that a later build does not change a running lab.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn copy_to(&self, directory: &Path) -> Result<Self> {
        let copy = |from: &Path| -> Result<PathBuf> {
            let to = directory.join(from.file_name().context("a binary has a name")?);
            copy_program(from, &to)?;
            Ok(to)
        };
        Ok(Self {
            agent: copy(&self.agent)?,
            collector: copy(&self.collector)?,
        })
    }
}

/// Copies an executable.
///
/// By `cp`, because this process must not hold it open for writing: any child forked meanwhile
/// would hold it, too, and until then the copy cannot be executed. A machine made for labs alone
/// may have no `cp`; nothing is built anew there, so a link is as good and takes no memory.
///
/// # Errors
/// Those of `cp`, or of linking.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    if !command::exists("cp") {
        let real = std::fs::canonicalize(from).context("find the program")?;
        return std::fs::hard_link(&real, to)
            .with_context(|| format!("link {} to {}", real.display(), to.display()));
    }
    command::run(
        Command::new("cp")
            .args(["--dereference", "--"])
            .arg(from)
            .arg(to),
    )
    .map(drop)
}

/// The workspace in which this crate was compiled.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Builds with the profile of the running binary and returns the directory of the results.
fn cargo_build() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("find this binary")?;
    let mut directory = executable
        .parent()
        .context("a binary is in a directory")?
        .to_owned();
    if directory.ends_with("deps") {
        directory.pop();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(workspace())
        .args(["build", "--quiet", "-p", "agent", "-p", "collector"]);
    if directory.ends_with("release") {
        build.arg("--release");
    }
    // As if called by hand: some build scripts watch these, and would run anew each time.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    command::run(&mut build).context("build agent and collector")?;
    Ok(directory)
}
