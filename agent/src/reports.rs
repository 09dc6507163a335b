//! The short commands: `check-config`, `clean`, `spool` and `version`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::{Format, FormatArgs, ReportArgs, SpoolCommand};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::spool::{self, Entry, Reader, Stat};
use crate::{VERSION, abi, filters, jail, loader, paths, setup};

/// Prints `value` as indented JSON with a final newline.
pub(crate) fn print_json(out: &mut dyn Write, value: &impl Serialize) -> anyhow::Result<()> {
    // To memory first: serde_json hides whether the pipe broke.
    let mut text = serde_json::to_vec_pretty(value).context("make the report")?;
    text.push(b'\n');
    out.write_all(&text).context("print the report")?;
    out.flush().context("print the report")
}

/// `clean`.
///
/// # Errors
/// A running agent has the filters, the kernel refuses, or the output cannot be written.
pub fn clean(out: &mut dyn Write) -> Result<(), Failure> {
    let swept = filters::clean().or_exit(Exit::Runtime)?;
    let done = match swept {
        0 => writeln!(out, "no packet filters were left"),
        devices => writeln!(out, "removed packet filters from {devices} device(s)"),
    };
    done.context("print the report").or_exit(Exit::Runtime)?;
    let probes = loader::clean_probes().or_exit(Exit::Runtime)?;
    let done = match probes {
        0 => writeln!(out, "no probes were left"),
        probes => writeln!(out, "removed {probes} probe(s)"),
    };
    done.context("print the report").or_exit(Exit::Runtime)?;
    let done = match jail::clean_bounds().or_exit(Exit::Runtime)? {
        0 => writeln!(out, "no cgroups were left"),
        groups => writeln!(out, "removed {groups} cgroup(s)"),
    };
    done.context("print the report").or_exit(Exit::Runtime)
}

/// `version`.
///
/// # Errors
/// The output cannot be written.
pub fn version(args: &FormatArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let done = match args.format {
        Format::Human => {
            let mut lines = vec![format!("waybill-agent {VERSION}")];
            let kernel = abi::minimal_kernel();
            lines.extend(kernel.map(|kernel| format!("runs on Linux {kernel} and later")));
            print_lines(out, &lines)
        }
        Format::Json => {
            let version = serde_json::json!({
                "name": "waybill-agent",
                "version": VERSION,
                "minimal_kernel": abi::minimal_kernel(),
                // Faults of trials are possible: never in a release.
                "debug": cfg!(debug_assertions),
            });
            print_json(out, &version)
        }
    };
    done.or_exit(Exit::Runtime)
}

#[derive(Serialize)]
struct Checked<'c> {
    file: &'c Path,
    ok: bool,
    problems: Vec<String>,
    warnings: Vec<String>,
}

/// `check-config`.
///
/// # Errors
/// The configuration is wrong (exit code 2), with every mistake; or the output cannot be written.
pub fn check_config(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let file = args.file.config.as_path();
    let loaded = setup::load(file);
    if args.output.format == Format::Json {
        let (problems, warnings) = match &loaded {
            Ok(config) => (Vec::new(), config.warnings.clone()),
            Err(error) => (error.problems.clone(), Vec::new()),
        };
        let checked = Checked {
            file,
            ok: loaded.is_ok(),
            problems,
            warnings,
        };
        print_json(out, &checked).or_exit(Exit::Runtime)?;
    }
    let config = loaded.or_exit(Exit::Usage)?;
    if args.output.format == Format::Human {
        let mut lines = vec![format!("{}: right", file.display())];
        lines.extend(
            config
                .warnings
                .iter()
                .map(|warning| format!("warning: {warning}")),
        );
        print_lines(out, &lines).or_exit(Exit::Runtime)?;
    }
    Ok(())
}

pub(crate) fn print_lines(out: &mut dyn Write, lines: &[String]) -> anyhow::Result<()> {
    for line in lines {
        writeln!(out, "{line}").context("print the report")?;
    }
    out.flush().context("print the report")
}

/// Where the spool is for who looks from outside the jail.
pub(crate) fn spool_path(rootfs: &Path) -> PathBuf {
    rootfs.join(paths::SPOOL_FILE.trim_start_matches('/'))
}

/// `spool ls` and `spool stat`; both work while the agent runs.
///
/// # Errors
/// The configuration is wrong, there is no spool, or the output cannot be written.
pub fn spool(command: &SpoolCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let (SpoolCommand::Ls { report, .. } | SpoolCommand::Stat(report)) = command;
    let config = setup::load(&report.file.config).or_exit(Exit::Usage)?;
    let reader = spool::read_only(&spool_path(&config.agent.rootfs)).or_exit(Exit::Store)?;
    match command {
        SpoolCommand::Ls { limit, .. } => ls(&reader, *limit, report.output.format, out),
        SpoolCommand::Stat(_) => stat(&reader, report.output.format, out),
    }
}

fn ls(reader: &Reader, limit: usize, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let entries = reader.ls(limit).or_exit(Exit::Store)?;
    match format {
        Format::Json => print_json(out, &entries),
        Format::Human => print_lines(out, &table(&entries)),
    }
    .or_exit(Exit::Runtime)
}

fn table(entries: &[Entry]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<43} {:>13} {:>8} {:>10} {:>8} STATE",
        "BATCH", "SEALED (ms)", "ROWS", "BYTES", "ATTEMPTS"
    )];
    lines.extend(entries.iter().map(|entry| {
        let state = match entry.state {
            spool::State::Leased => "leased",
            spool::State::Stored => "stored",
        };
        format!(
            "{:<43} {:>13} {:>8} {:>10} {:>8} {state}",
            entry.id.to_string(),
            entry.sealed_ms,
            entry.rows,
            entry.bytes,
            entry.attempts
        )
    }));
    lines
}

fn stat(reader: &Reader, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let stat = reader.stat().or_exit(Exit::Store)?;
    match format {
        Format::Json => print_json(out, &stat),
        Format::Human => print_lines(out, &stat_lines(&stat)),
    }
    .or_exit(Exit::Runtime)
}

/// One line per number.
pub(crate) fn stat_lines(stat: &Stat) -> Vec<String> {
    let when = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms since 1970"));
    let mut lines = vec![
        format!("database       {}", stat.path.display()),
        format!(
            "batches        {} ({} being uploaded)",
            stat.batches, stat.leased
        ),
        format!("exported       {}", stat.exported),
        format!("payload bytes  {}", stat.payload_bytes),
        format!("file bytes     {}", stat.file_bytes),
        format!("oldest         {}", when(stat.oldest_sealed_ms)),
        format!("newest         {}", when(stat.newest_sealed_ms)),
    ];
    let aside = stat
        .quarantined
        .iter()
        .map(|path| format!("set aside      {}", path.display()));
    lines.extend(aside);
    lines
}
