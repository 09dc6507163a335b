//! `cargo xtask test`: every test, and one line at the end that a program can read.

mod programs;
mod tally;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::stage::{say, stage};
use crate::{child, deps, matrix, package, web, workspace};
use programs::Program;
pub(crate) use tally::Tally;

/// What builds, trials and the disks of the guests take from a clean tree (5.4 GiB before the kernels),
/// with room to spare.
const NEEDED_DISK: u64 = 8 << 30;

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose name contains this
    filter: Option<String>,
    /// Run only these: everything but end to end (`unit`), agent and collector in network
    /// namespaces (`e2e`), what an operator does with packages (`packages`), or the required
    /// kernels of the matrix (`kernels`)
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the tests that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Unit, property and golden tests of every crate.
    Unit,
    /// The trials of crate `tests`: the shipped programs, real networks, real clients.
    E2e,
    /// Packages and bundle in the file systems of several releases.
    Packages,
    /// The shipped programs on real kernels under QEMU.
    Kernels,
}

impl Args {
    /// The trials of `userland` alone.
    pub(crate) fn userland() -> Self {
        Self {
            filter: Some("userland::".into()),
            only: Some(Part::E2e),
        }
    }

    /// Whether a part is wanted.
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Runs the tests; the last line of standard output is `N passed, N failed, N skipped`.
///
/// # Errors
/// Only when nothing can be written: whatever else goes wrong is counted as a failed test and
/// told before that line.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    run_with(args, &[])
}

/// The same with these paths in the environment of the trials.
///
/// # Errors
/// As of [`run`].
pub(crate) fn run_with(args: &Args, given: &[(&str, &Path)]) -> Result<ExitCode> {
    let started = Instant::now();
    let free = free_disk();
    if free.is_some_and(|free| free < NEEDED_DISK) {
        say(&format!(
            "== {} of disk are free, and a whole run from a clean tree takes up to {}: what fails \
             from now on may fail for that",
            gib(free),
            gib(Some(NEEDED_DISK))
        ))?;
    }
    let mut total = Tally::default();
    if let Err(error) = run_stages(args, given, &mut total) {
        total.fail(&format!("{error:#}"));
    }
    if total.is_empty() {
        total.fail("no test was run");
    }
    for (title, names) in [
        ("skipped", &total.skips),
        ("failed beside others, passed alone", &total.unsteady),
        ("failed", &total.failures),
    ] {
        if !names.is_empty() {
            say(&format!("{title}:\n  {}", names.join("\n  ")))?;
        }
    }
    say(&format!(
        "== all in {:.1} s; disk free: {} before, {} after",
        started.elapsed().as_secs_f64(),
        gib(free),
        gib(free_disk())
    ))?;
    say(&total.to_string())?;
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Bytes that are free where the build goes; `None` where the file system does not tell.
fn free_disk() -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(&workspace::root()).ok()?;
    disk.blocks_available().checked_mul(disk.fragment_size())
}

fn gib(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "unknown".into(),
        |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    )
}

fn run_stages(args: &Args, given: &[(&str, &Path)], total: &mut Tally) -> Result<()> {
    stage("tools of this machine", deps::run)?;
    stage("web page", || web::run_where_npm_is(&workspace::root()))?;
    let programs = stage("build", || {
        // End-to-end trials start the shipped programs, so these are built as well.
        child::run(&mut child::cargo(&["build", "--bins"]))?;
        programs::build()
    })?;
    let (e2e, unit): (Vec<_>, Vec<_>) = programs.into_iter().partition(Program::is_end_to_end);
    if args.wants(Part::Unit) {
        for program in &unit {
            if program.starts_servers() {
                run_trials(program, &program.name, given, args, total)?;
                continue;
            }
            let tally = run_one(&program.name, &mut program.command(), args)?;
            total.add(tally);
        }
    }
    if args.wants(Part::E2e) {
        for program in &e2e {
            run_trials(program, &program.name, given, args, total)?;
        }
    }
    let packages = args
        .filter
        .as_ref()
        .is_none_or(|name| name.contains("package"));
    if args.wants(Part::Packages) && packages {
        let trials = Args {
            filter: args.filter.clone().or_else(|| Some("packages::".into())),
            only: None,
        };
        if let Some(made) = stage("packages", || package::trial(total))? {
            for program in &e2e {
                let name = format!("{} of packages", program.name);
                run_trials(program, &name, &made.variables(), &trials, total)?;
            }
        }
    }
    // A name is one of a test program, which a kernel has not.
    if args.wants(Part::Kernels) && args.filter.is_none() {
        stage("kernels", || matrix::tally(total))?;
    }
    Ok(())
}

/// Runs the trials of a program, and the few that fail once more, each alone: they share a small
/// machine with each other and with whatever else runs there. Which these were is told in any case.
fn run_trials(
    program: &Program,
    name: &str,
    given: &[(&str, &Path)],
    args: &Args,
    total: &mut Tally,
) -> Result<()> {
    let binaries = workspace::binaries("debug")?;
    let command = || {
        let mut command = program.command();
        command.env("WAYBILL_BIN_DIR", &binaries);
        command.envs(given.iter().copied());
        command
    };
    let mut tally = run_one(name, &mut command(), args)?;
    for trial in tally.to_repeat() {
        let mut alone = command();
        alone.args(["--exact", &trial]);
        let name = format!("{trial}, once more and alone");
        let again = stage(&name, || Ok(tallied(&mut alone)?.0))?;
        tally.repeated(&trial, &again);
    }
    total.add(tally);
    Ok(())
}

/// Runs one test program and returns what it counted.
fn run_one(name: &str, command: &mut Command, args: &Args) -> Result<Tally> {
    command.args(&args.filter);
    stage(name, || {
        let (mut tally, succeeded) = tallied(command)?;
        if !succeeded && tally.failed == 0 {
            // A test program that was killed prints no summary.
            tally.fail(&format!("{name}: ended without a result"));
        }
        Ok(tally)
    })
}

/// Runs a command, copies its standard output at once and counts the results in it.
fn tallied(command: &mut Command) -> Result<(Tally, bool)> {
    let skipped = workspace::binaries("debug")?.join(format!("skipped-{}", std::process::id()));
    let mut child = command
        .env("WAYBILL_SKIPPED", &skipped)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let mut output = child.stdout.take().context("read the output of a test")?;
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = output
            .read(&mut chunk)
            .context("read the output of a test")?;
        if read == 0 {
            break;
        }
        // Not by line: the name of a running test is seen before its result.
        let mut out = io::stdout().lock();
        out.write_all(&chunk[..read])?;
        out.flush()?;
        for &byte in &chunk[..read] {
            if byte == b'\n' {
                tally.line(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    tally.line(&String::from_utf8_lossy(&line));
    let status = child.wait().context("wait for a test")?;
    // There is none where nothing was skipped.
    if let Ok(late) = fs::read_to_string(&skipped) {
        fs::remove_file(&skipped).context("remove the list of skipped tests")?;
        late.lines().for_each(|what| tally.skipped_late(what));
    }
    Ok((tally, status.success()))
}
