//! What commands share: the configuration they read, and how they print.

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use crate::config::{self, Config};
use crate::escape;
use crate::exit::Failure;

/// Text for people, or JSON for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people
    #[default]
    #[value(alias = "human")]
    Table,
    /// JSON
    Json,
}

/// Reads the configuration.
pub(super) fn load(file: &Path) -> Result<Config, Failure> {
    config::load(file).map_err(Failure::usage)
}

/// Prints a document.
pub(super) fn show<T: Serialize>(
    out: &mut dyn Write,
    format: Format,
    document: &T,
    human: impl FnOnce(&mut dyn Write, &T) -> io::Result<()>,
) -> Result<(), Failure> {
    // Neither the table nor the text is held as a whole.
    let mut buffered = io::BufWriter::with_capacity(64 << 10, out);
    let made = match format {
        Format::Table => human(&mut buffered, document),
        Format::Json => escape::json(&mut buffered, document).and_then(|()| writeln!(buffered)),
    };
    written(made.and_then(|()| buffered.flush()))
}

pub(super) fn print(out: &mut dyn Write, text: &[u8]) -> Result<(), Failure> {
    written(out.write_all(text).and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        // `| head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(unwritten),
    }
}

pub(super) fn unwritten(error: io::Error) -> Failure {
    Failure::from(anyhow::Error::new(error).context("write the answer"))
}
