//! `matrix.toml` and `payload.toml`: what is booted, and what is put into it.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The matrix that this program was built with.
pub const MATRIX: &str = include_str!("../matrix.toml");

/// The payload that this program was built with.
const PAYLOAD: &str = include_str!("../payload.toml");

/// A kernel that breaks before anything of Waybill runs: there is no verdict on Waybill.
pub const INFRASTRUCTURE: &str = "infrastructure";

/// What a kernel can be expected to come out with.
const VERDICTS: [&str; 5] = [
    "sockops",
    "tc-clone",
    "observe",
    "unsupported",
    INFRASTRUCTURE,
];

/// All kernels that Waybill is held to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// What every entry has unless it says otherwise.
    pub defaults: Defaults,
    /// When a program counts as grown.
    pub verifier: Threshold,
    /// In the order in which they are shown.
    #[serde(rename = "kernel")]
    pub kernels: Vec<Kernel>,
}

/// What every entry has unless it says otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// The kernel's command line.
    pub command_line: String,
    /// Memory of the guest.
    pub memory_mib: u32,
    /// From its start until a guest must be done.
    pub timeout_s: u64,
    /// Families of checks, by name.
    pub checks: Vec<String>,
    /// Injection modes to force, or `auto`.
    pub modes: Vec<String>,
    /// Modes, or pairs of them (`client+server`), in which edges are shown and no more.
    pub edge_modes: Vec<String>,
}

/// When a program counts as grown.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Instructions (and states) above the baseline, in percent of it.
    pub more_instructions_percent: u64,
}

/// One kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Name of its files.
    pub id: String,
    /// What a user calls it.
    pub title: String,
    /// Whether a failure stops a change.
    pub tier: Tier,
    /// Debian suite of the package.
    #[serde(default)]
    pub suite: Option<String>,
    /// Pattern of the package's name.
    #[serde(default)]
    pub package: Option<String>,
    /// Name of a source package of the suite, to be built, instead of one with a kernel.
    #[serde(default)]
    pub source: Option<String>,
    /// What it is built with: names of fragments in `kernels/`, the last one its own.
    #[serde(default)]
    pub config: Vec<String>,
    /// Packages, a folder or an image instead of a suite.
    #[serde(default)]
    pub files: Vec<std::path::PathBuf>,
    /// What it must come out with; a user's kernel is held to nothing.
    #[serde(default)]
    pub verdict: Option<String>,
    /// Added to the common command line.
    #[serde(default)]
    pub command_line: String,
    /// Where it differs from the common one.
    #[serde(default)]
    pub memory_mib: Option<u32>,
    /// CPUs of the guest: one, unless it says otherwise.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Injection modes where they differ from the common ones.
    #[serde(default)]
    pub modes: Option<Vec<String>>,
    /// Whether BTF packs are installed with the agent: those below `btf` in the cache.
    #[serde(default)]
    pub packs: bool,
    /// From this day (`YYYY-MM-DD`) on its tier may be given up.
    #[serde(default)]
    pub drop_date: Option<String>,
}

/// Whether a failure stops a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// It does.
    Required,
    /// It is shown.
    BestEffort,
}

impl Tier {
    /// As it is written in `matrix.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
        }
    }
}

impl Matrix {
    /// Reads a matrix and checks it as a whole.
    ///
    /// # Errors
    /// Names the entry and the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let matrix: Self = toml::from_str(text)?;
        for (at, kernel) in matrix.kernels.iter().enumerate() {
            kernel
                .check()
                .with_context(|| format!("kernel {:?}", kernel.id))?;
            ensure!(
                matrix.kernels[..at]
                    .iter()
                    .all(|other| other.id != kernel.id),
                "kernel {:?} is there twice",
                kernel.id
            );
        }
        Ok(matrix)
    }

    /// The kernel of this id.
    #[must_use]
    pub fn kernel(&self, id: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.id == id)
    }
}

impl Kernel {
    /// A user's kernel, which is held to nothing.
    #[must_use]
    pub fn of_files(id: String, files: Vec<std::path::PathBuf>) -> Self {
        Self {
            title: id.clone(),
            id,
            tier: Tier::BestEffort,
            suite: None,
            package: None,
            source: None,
            config: Vec::new(),
            files,
            verdict: None,
            command_line: String::new(),
            memory_mib: None,
            cpus: None,
            packs: false,
            modes: None,
            drop_date: None,
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(
            is_name(&self.id),
            "an id is of letters, digits, '-', '.' and '_': it names files"
        );
        let packages = [&self.package, &self.source].into_iter().flatten().count();
        ensure!(
            packages == usize::from(self.suite.is_some())
                && self.suite.is_some() == self.files.is_empty(),
            "give suite and package, suite and source, or files"
        );
        ensure!(
            self.source.is_some() != self.config.is_empty()
                && self.config.iter().all(|name| is_name(name)),
            "source and config belong together; a config is a name in kernels/"
        );
        if let Some(verdict) = &self.verdict {
            ensure!(
                VERDICTS.contains(&verdict.as_str()),
                "no verdict is {verdict:?}"
            );
        }
        Ok(())
    }
}

/// True for what can name a file.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('.')
}

/// What is put into every guest, and what the host needs to start one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Programs of this workspace.
    pub programs: Programs,
    /// Kernel modules.
    pub modules: Modules,
    /// QEMU and its firmware.
    pub qemu: Emulator,
    /// Programs of a distribution for the guest.
    pub tools: Tools,
}

/// Programs of this workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    /// Becomes `/init`.
    pub guest: String,
    /// The agent, which comes with the shipped root directory.
    pub agent: String,
    /// Others.
    pub carried: Vec<String>,
}

/// Kernel modules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// By name; what they depend on comes with them.
    pub wanted: Vec<String>,
}

/// QEMU and its firmware.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// Debian suite.
    pub suite: String,
    /// Package names.
    pub packages: Vec<String>,
    /// Path in them.
    pub program: String,
}

/// Programs of a distribution for the guest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// Debian suite.
    pub suite: String,
    /// Package names.
    pub packages: Vec<String>,
    /// Paths in them; those that a release of the suite has elsewhere are there more than once.
    pub programs: Vec<String>,
    /// Folders with libraries that are loaded by name.
    pub folders: Vec<String>,
}

impl Payload {
    /// The payload that this program was built with.
    ///
    /// # Errors
    /// When `payload.toml` breaks its own rules; a test reads it.
    pub fn current() -> Result<Self> {
        toml::from_str(PAYLOAD).context("read payload.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::{MATRIX, Matrix, Payload, Tier};

    #[test]
    fn the_matrix_and_the_payload_of_this_version_are_valid() {
        let matrix = Matrix::parse(MATRIX).unwrap();
        let required = matrix.kernels.iter().filter(|k| k.tier == Tier::Required);
        assert!(required.count() >= 5);
        Payload::current().unwrap();
    }

    #[test]
    fn an_entry_without_a_source_with_two_or_with_a_bad_name_is_refused() {
        let head = MATRIX.split("\n[[kernel]]").next().unwrap();
        let refused = |entry: &str| {
            let text = format!("{head}\n[[kernel]]\ntitle = \"x\"\ntier = \"required\"\n{entry}");
            format!("{:#}", Matrix::parse(&text).expect_err(entry))
        };
        assert!(refused("id = \"a\"").contains("give suite and package, suite"));
        let both = "id = \"a\"\nsuite = \"sid\"\npackage = \"x\"\nfiles = [\"y\"]";
        assert!(refused(both).contains("give suite and package, suite"));
        assert!(refused("id = \"../a\"\nfiles = [\"y\"]").contains("names files"));
        let source = "id = \"a\"\nsuite = \"sid\"\nsource = \"x\"";
        assert!(refused(source).contains("belong together"));
        assert!(refused(&format!("{source}\nconfig = [\"../x\"]")).contains("belong together"));
        assert!(refused(&format!("{source}\npackage = \"y\"")).contains("give suite"));
        let verdict = "id = \"a\"\nfiles = [\"y\"]\nverdict = \"fine\"";
        assert!(refused(verdict).contains("no verdict"));
    }
}
