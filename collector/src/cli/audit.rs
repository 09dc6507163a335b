//! `audit`: who changed what, and when.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::output::{Format, load, show};
use crate::access::{Access, Actor, AuditQuery, AuditRecord, Entry};
use crate::config::{Config, DEFAULT_PATH};
use crate::escape::Shown;
use crate::exit::Failure;
use crate::time;

/// Which records.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Begin: a UTC time (2026-01-02T03:04:05Z), a duration before now (90m) or a Unix time in
    /// seconds or milliseconds; by default the oldest record
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End, written like --from; by default now
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
    /// At most so many records, the last ones; up to 10000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Opens the database of credentials that a configuration names.
pub(super) fn open(config: &Config) -> Result<Access, Failure> {
    let path = &config.auth.database;
    Access::open(path, config.auth.audit_retention).map_err(|error| failed(config, error))
}

/// That it could not be read or written.
pub(super) fn failed(config: &Config, error: crate::access::Error) -> Failure {
    let path = config.auth.database.display().to_string();
    Failure::store(anyhow::Error::new(error).context(path))
}

/// Writes down what this command did.
pub(super) fn record(config: &Config, entry: Entry) -> Result<(), Failure> {
    open(config)?
        .record(&Actor::command(), entry, time::now_ms())
        .map_err(|error| failed(config, error))
}

/// Runs the command.
pub(super) fn run(args: &AuditArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&args.config)?;
    let now_ms = time::now_ms();
    let at = |option: &str, text: &Option<String>| {
        let parse = |text: &String| {
            time::parse_point(text, now_ms)
                .map_err(|expected| Failure::usage(anyhow!("{option} {text:?}: {expected}")))
        };
        text.as_ref().map(parse).transpose()
    };
    let asked = AuditQuery {
        from_ms: at("--from", &args.from)?,
        to_ms: at("--to", &args.to)?,
        before_id: None,
        limit: Some(args.limit),
    };
    let mut records = open(&config)?
        .audit(&asked)
        .map_err(|error| failed(&config, error))?;
    // As it happened.
    records.reverse();
    show(out, args.format, &records, |out, records| {
        records.iter().try_for_each(|one| line(out, one))
    })
}

fn line(out: &mut dyn Write, one: &AuditRecord) -> std::io::Result<()> {
    write!(
        out,
        "{}  {}  {} from {}  {}",
        time::rfc3339(one.at_ms),
        one.action,
        Shown(&one.actor),
        Shown(&one.source),
        Shown(&one.subject),
    )?;
    for (name, value) in [("before", &one.before), ("after", &one.after)] {
        if let Some(value) = value {
            write!(out, "  {name} {}", Shown(&value.to_string()))?;
        }
    }
    writeln!(out)
}
