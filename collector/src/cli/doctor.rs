//! `doctor`: whether the collector can do what it is asked for.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::output::{Format, show};
use crate::config::DEFAULT_PATH;
use crate::doctor::{self, Report};
use crate::exit::{Exit, Failure};

/// What is looked at, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the report; fails where anything does not work.
pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let report = doctor::examine(&args.config);
    show(out, args.format, &report, |out, report: &Report| {
        report.table(out)
    })?;
    let exit = match report.failed() {
        None => return Ok(()),
        Some("configuration") => Exit::Usage,
        Some("store") => Exit::Store,
        Some(_) => Exit::Runtime,
    };
    Err(Failure {
        exit,
        error: anyhow!("something does not work: see above"),
    })
}
