//! What can be said on the command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::cache;
use crate::kernel::fingerprint;
use crate::matrix::Kernel;
use crate::report::Format;

/// Does Waybill work on this kernel?
///
/// Exit codes: 0 as it must be, 1 a kernel failed, 2 usage, 3 no result (a guest never was ready).
#[derive(Parser)]
#[command(name = "compat-matrix", version, disable_help_subcommand = true)]
pub(super) struct Cli {
    /// Folder of matrix.toml, expected/ and verifier/ (default: ./compat-matrix where there is
    /// one, else what this program was built with)
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) matrix: Option<PathBuf>,
    /// Folder for everything that can be made again
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Debian mirror (default: that of this machine's apt)
    #[arg(long, global = true, value_name = "URI")]
    pub(super) mirror: Option<String>,
    /// Ask no mirror; what is not in the cache is missing
    #[arg(long, global = true)]
    pub(super) offline: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Boot kernels, run the shipped agent in them, and say what is not as it must be
    Run(Box<Run>),
    /// The kernels of the matrix
    List,
    /// Fill the cache with what the next run needs: downloads it, and builds kernels that are
    /// given as source
    Fetch(Selection),
    /// Take what the last run showed as what must be: expected/, verifier/, SUPPORT.md
    Bless(Selection),
    /// The page about a kernel of the last run
    Verdict(Selection),
}

#[derive(Args)]
pub(super) struct Selection {
    /// An id of the matrix, or files: .deb or .rpm (several with commas), a folder, a bzImage
    #[arg(long, value_name = "ID|FILE")]
    pub(super) kernel: Vec<String>,
    /// Without --kernel: which part of the matrix
    #[arg(long, value_enum, default_value = "required")]
    pub(super) suite: Part,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// What stops a change.
    Required,
    /// Everything.
    All,
}

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// Form of the result
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: Format,
    /// File for the result (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Folder of waybill-agent, waybill-collector and matrix-guest; can be given several times
    /// (default: those in WAYBILL_BIN_DIR, else beside this program)
    #[arg(long, value_name = "DIR")]
    pub(super) programs: Vec<PathBuf>,
    /// QEMU (default: a sound one of this machine, else one from packages)
    #[arg(long, value_name = "FILE")]
    pub(super) qemu: Option<PathBuf>,
    /// Use the host's CPU; many hosts in clouds cannot boot common kernels so
    #[arg(long)]
    pub(super) kvm: bool,
    /// Guests at a time (default: one per core)
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Only these checks (default: those of matrix.toml)
    #[arg(long = "check", value_name = "NAME")]
    pub(super) checks: Vec<String>,
    /// Force these injection modes instead of letting the agent choose
    #[arg(long = "mode", value_name = "MODE")]
    pub(super) modes: Vec<String>,
    /// Memory of the guests
    #[arg(long, value_name = "MIB")]
    pub(super) memory: Option<u32>,
    /// CPUs of the guests; more than one take QEMU 10 or newer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(super) cpus: Option<u32>,
    /// Install the BTF packs of this folder with the agent, to try one that you made
    #[arg(long, value_name = "DIR")]
    pub(super) packs: Option<PathBuf>,
    /// Added to the kernels' command lines
    #[arg(long, value_name = "WORDS")]
    pub(super) append: Option<String>,
    /// Break something on purpose, to see the right cell turn red
    #[arg(long = "fault", value_name = "NAME")]
    pub(super) faults: Vec<String>,
}

/// Groups of checks that a guest knows (`guest/src/order.rs`; a test compares).
const CHECKS: [&str; 7] = [
    "doctor",
    "edges",
    "harm",
    "listeners",
    "loss",
    "residue",
    "jail",
];
/// Faults that a guest knows.
const FAULTS: [&str; 4] = ["lost-row", "leaked-filter", "leaked-program", "dead-agent"];
/// Modes that a guest knows (`guest/src/checks/mod.rs`).
const MODES: [&str; 6] = [
    "auto", "observe", "sockops", "tc-clone", "kprobes", "sockets",
];
/// Digits of the content in the name of a user's kernel.
const CONTENT_DIGITS: usize = 8;

/// Folders in which built programs are looked for.
pub(super) fn programs(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    if let Some(folders) = std::env::var_os("WAYBILL_BIN_DIR") {
        return Ok(std::env::split_paths(&folders).collect());
    }
    let own = std::env::current_exe().context("find this program")?;
    Ok(vec![own.parent().context("find this program")?.to_owned()])
}

/// What the command line says beyond the matrix.
pub(super) fn adjust(kernel: &mut Kernel, args: &Run) {
    if let Some(memory) = args.memory {
        kernel.memory_mib = Some(memory);
    }
    if args.cpus.is_some() {
        kernel.cpus = args.cpus;
    }
    if let Some(words) = &args.append {
        kernel.command_line = format!("{} {words}", kernel.command_line);
    }
    if !args.modes.is_empty() {
        kernel.modes = Some(args.modes.clone());
    }
}

/// Where a kernel is from, and what is unusual about how it is booted.
pub(super) fn as_booted(origin: &str, kernel: &Kernel) -> String {
    let words = kernel.command_line.trim();
    let words = (!words.is_empty()).then(|| format!(", booted with {words}"));
    let memory = kernel
        .memory_mib
        .map(|mib| format!(", with {mib} MiB of memory"));
    let cpus = kernel.cpus.map(|cpus| format!(", with {cpus} CPUs"));
    [Some(origin.to_owned()), words, memory, cpus]
        .into_iter()
        .flatten()
        .collect()
}

/// A name for files that a user gave, by which results are kept: their content is in it, because
/// every kernel's image is called alike.
///
/// # Errors
/// A file cannot be read.
pub(super) fn id_of(files: &[PathBuf]) -> Result<String> {
    let contents = files
        .iter()
        .map(|file| fingerprint(file))
        .collect::<Result<Vec<_>>>()?;
    let content = cache::key(contents.iter().map(String::as_str));
    let content = content.get(..CONTENT_DIGITS).unwrap_or(&content);
    let first = files.first().and_then(|file| file.file_name());
    let name = first.map_or_else(|| "kernel".into(), |name| name.to_string_lossy());
    let name = name.trim_end_matches(".deb").trim_end_matches(".rpm");
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    Ok(format!("own-{plain}-{content}"))
}

/// What is wrong with what a run is asked for, before anything is looked for or booted.
///
/// # Errors
/// Names the option.
pub(super) fn refuse(args: &Run) -> Result<()> {
    for (option, given, known) in [
        ("--check", &args.checks, CHECKS.as_slice()),
        ("--fault", &args.faults, FAULTS.as_slice()),
    ] {
        if let Some(name) = given.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("{option} {name}: none of {}", known.join(", "));
        }
    }
    for mode in args.modes.iter().flat_map(|mode| mode.split('+')) {
        ensure!(
            MODES.contains(&mode),
            "--mode {mode}: none of {}, nor two of them with + between",
            MODES.join(", ")
        );
    }
    if let Some(packs) = &args.packs {
        ensure!(packs.is_dir(), "--packs {}: no folder", packs.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CHECKS, Cli, Command, FAULTS, Run, id_of, refuse};
    use clap::Parser as _;
    use std::path::PathBuf;

    fn run(words: &[&str]) -> Run {
        let all = ["compat-matrix", "run"].iter().chain(words);
        match Cli::parse_from(all).command {
            Command::Run(run) => *run,
            _ => unreachable!("it is run"),
        }
    }

    #[test]
    fn what_no_guest_knows_is_a_mistake_of_the_command_line() {
        let refused = |words: &[&str]| refuse(&run(words)).unwrap_err().to_string();
        assert!(refused(&["--check", "nope"]).contains("--check nope: none of doctor, edges"));
        assert!(refused(&["--fault", "nope"]).contains("--fault nope: none of lost-row"));
        assert!(refused(&["--mode", "auto+nope"]).contains("--mode nope: none of auto"));
        assert!(refused(&["--packs", "/nonexist"]).contains("--packs /nonexist: no folder"));
        let fine = [
            "--check",
            "edges",
            "--mode",
            "sockops+tc-clone",
            "--packs",
            "/",
        ];
        refuse(&run(&fine)).unwrap();
    }

    #[test]
    fn the_checks_and_faults_are_those_of_the_guest() {
        let order = include_str!("../../guest/src/order.rs");
        let of = |kind: &str| -> Vec<String> {
            let (_, rest) = order.split_once(&format!("enum {kind} {{")).unwrap();
            let (body, _) = rest.split_once("\n}").unwrap();
            let names = body.lines().map(|line| line.trim().trim_end_matches(','));
            let names = names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
            names
                .map(|name| {
                    let mut kebab = String::new();
                    for c in name.chars() {
                        if c.is_ascii_uppercase() && !kebab.is_empty() {
                            kebab.push('-');
                        }
                        kebab.push(c.to_ascii_lowercase());
                    }
                    kebab
                })
                .collect()
        };
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(of("Check")), sorted(CHECKS.map(String::from).into()));
        assert_eq!(sorted(of("Fault")), sorted(FAULTS.map(String::from).into()));
    }

    #[test]
    fn kernels_of_one_name_have_results_of_their_own() {
        let id = |content: &str| {
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("bzImage");
            std::fs::write(&image, content).unwrap();
            id_of(&[image]).unwrap()
        };
        assert!(id("one").starts_with("own-bzImage-"));
        assert_eq!(id("one"), id("one"));
        assert_ne!(id("one"), id("another"));
        assert!(id_of(&[PathBuf::from("/nonexist")]).is_err());
    }
}
