//! `matrix`: what was declared, held against what was seen.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};

use super::ask::{self, Asked};
use super::output::{Format, show};
use crate::api::{self, Learned};
use crate::exit::Failure;
use crate::matrix::{self, Declared, Difference, Fields, Form, Report};
use crate::{files, table};

/// What to do with a communication matrix.
#[derive(Debug, Subcommand)]
pub(super) enum MatrixCommand {
    /// Hold a declared matrix against what was seen: which flows are used, unused, expired or
    /// violated, and which edges nobody declared
    ///
    /// Ends with exit code 6 where an edge is not declared or breaks the matrix.
    Check(CheckArgs),
    /// Propose a matrix that allows what was seen
    Learn(LearnArgs),
    /// Compare two matrices
    ///
    /// Ends with exit code 6 where they say something different.
    Diff(DiffArgs),
    /// Write a matrix in another form, after a look at every field
    Export(ExportArgs),
    /// Write an empty matrix with an example in each column, for a team to fill in
    Template(TemplateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The matrix: .csv, .xlsx or .toml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Edges of less confidence decide nothing alone, per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    least_confidence: u8,
    /// Most edges that are told one by one
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    limit: u32,
    /// Write the whole report to a file: .csv, .xlsx, .html or .json; may be given more than once
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// End with exit code 6 also where a verdict is undecided or a flow is not observable
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// Where to write it: .csv, .xlsx or .toml
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Leave out edges of less confidence, per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    least_confidence: u8,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The matrix before
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The matrix after
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The matrix: .csv, .xlsx or .toml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write it: .csv, .xlsx or .toml
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TemplateArgs {
    /// Where to write it: .csv, .xlsx or .toml
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(command: MatrixCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        MatrixCommand::Check(args) => check(args, out),
        MatrixCommand::Learn(args) => learn(args, out),
        MatrixCommand::Diff(args) => diff(&args, out),
        MatrixCommand::Export(args) => {
            let declared = declared(&args.file)?;
            let fields: Vec<Fields> = declared.flows.into_iter().map(|flow| flow.text).collect();
            save(&args.output, |out, form| {
                matrix::write_flows(out, form, &fields)
            })
        }
        MatrixCommand::Template(args) => {
            let fields = matrix::template();
            save(&args.output, |out, form| {
                matrix::write_flows(out, form, &fields)
            })
        }
    }
}

fn check(args: CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // Mistakes are told here also where the collector is far away.
    let bytes = bytes(&args.file)?;
    parsed(&args.file, &bytes)?;
    let forms = args.report.iter().map(|file| form(file));
    let forms = forms.collect::<Result<Vec<_>, _>>()?;
    let values = vec![
        ("least_confidence", args.least_confidence.to_string()),
        ("limit", args.limit.to_string()),
    ];
    let format = args.asked.format;
    let answer = ask::answer((&api::MATRIX_CHECK, bytes), values, args.asked)?;
    let report: Report = serde_json::from_value(answer).map_err(|e| Failure::from(anyhow!(e)))?;
    for (file, form) in args.report.iter().zip(forms) {
        write(file, |out| matrix::write_report(out, form, &report))?;
    }
    show(out, format, &report, table::matrix)?;
    let summary = &report.summary;
    let undecided = summary.undecided + summary.edges_undecided + summary.not_observable;
    if summary.is_broken() || (args.strict && undecided > 0) {
        let why = "what was seen is not as it was declared";
        return Err(Failure::differs(anyhow!(why)));
    }
    Ok(())
}

fn learn(args: LearnArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let form = form(&args.output)?;
    let values = vec![("least_confidence", args.least_confidence.to_string())];
    let format = args.asked.format;
    let answer = ask::answer((&api::MATRIX_LEARNED, Vec::new()), values, args.asked)?;
    let learned: Learned = serde_json::from_value(answer).map_err(|e| Failure::from(anyhow!(e)))?;
    let (low, unknown, attempts) = (learned.low_confidence, learned.unknown, learned.attempts);
    let fields: Vec<Fields> = learned.flows.into_iter().map(Fields::from).collect();
    write(&args.output, |out| matrix::write_flows(out, form, &fields))?;
    let document = serde_json::json!({
        "file": args.output,
        "flows": fields.len(),
        "low_confidence": low,
        "unknown": unknown,
        "attempts": attempts,
    });
    let human = |out: &mut dyn Write, _: &_| {
        let (file, flows) = (args.output.display(), fields.len());
        writeln!(out, "{file}: {flows} flows")?;
        for (many, why) in [
            (low, "have too little confidence"),
            (unknown, "have an end whose process is not known"),
            (attempts, "are attempts that all failed"),
        ] {
            if many > 0 {
                writeln!(out, "left out: {many} edges that {why}")?;
            }
        }
        Ok(())
    };
    show(out, format, &document, human)
}

fn diff(args: &DiffArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (before, after) = (declared(&args.before)?, declared(&args.after)?);
    let difference = matrix::diff(&before.flows, &after.flows);
    show(out, args.format, &difference, human)?;
    if difference.is_empty() {
        Ok(())
    } else {
        Err(Failure::differs(anyhow!("the matrices differ")))
    }
}

fn human(out: &mut dyn Write, difference: &Difference) -> io::Result<()> {
    use crate::escape::Shown;
    for flow in &difference.removed {
        writeln!(out, "- {}", Shown(flow))?;
    }
    for flow in &difference.added {
        writeln!(out, "+ {}", Shown(flow))?;
    }
    for changed in &difference.changed {
        writeln!(out, "~ {}", Shown(&changed.flow))?;
        for (column, old, new) in &changed.fields {
            writeln!(out, "    {column}: {:?} -> {:?}", old, new)?;
        }
    }
    if difference.is_empty() {
        writeln!(out, "both say the same")?;
    }
    Ok(())
}

fn bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = files::read(file, matrix::MAX_BYTES as u64);
    let read = read.with_context(|| format!("read {}", file.display()));
    read.map_err(Failure::usage)
}

fn parsed(file: &Path, bytes: &[u8]) -> Result<Declared, Failure> {
    matrix::read(bytes)
        .map_err(|mistakes| Failure::usage(anyhow!("{}: {mistakes}", file.display())))
}

fn declared(file: &Path) -> Result<Declared, Failure> {
    parsed(file, &bytes(file)?)
}

fn form(file: &Path) -> Result<Form, Failure> {
    let name = file.to_string_lossy();
    Form::of_name(&name).ok_or_else(|| {
        let expected = "expected a name that ends in .csv, .xlsx, .toml, .html or .json";
        Failure::usage(anyhow!("{}: {expected}", file.display()))
    })
}

fn save(
    file: &Path,
    content: impl FnOnce(&mut dyn Write, Form) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    let form = form(file)?;
    write(file, |out| content(out, form))
}

/// Writes a file whole or not at all.
fn write(
    file: &Path,
    content: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    content(&mut bytes).map_err(Failure::usage)?;
    let new = file.with_extension("new~");
    let written = fs::write(&new, &bytes).and_then(|()| fs::rename(&new, file));
    written.map_err(|error| {
        drop(fs::remove_file(&new));
        Failure::from(anyhow!(error).context(format!("write {}", file.display())))
    })
}
