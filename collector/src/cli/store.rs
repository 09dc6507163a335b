//! `store`: what an operator does with the file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::output::{Format, load, show};
use super::source::failed;
use crate::config::DEFAULT_PATH;
use crate::escape::Shown;
use crate::exit::Failure;
use crate::store::upkeep;

/// Which file.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Configuration file, for the path of the store
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "store")]
    config: PathBuf,
    /// The store
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Read every page, index and row, and name what is damaged; also while `serve` writes to it
    Check {
        #[command(flatten)]
        which: Which,
    },
    /// Copy the store as it is now into a new file; also while `serve` writes to it
    Backup {
        /// File to write; it must not be there
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Put a backup where the store is to be, once it is checked; stop `serve` and move the old
    /// store away before
    Restore {
        /// Backup to read
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Give the room of what was deleted back to the file system; batches wait meanwhile, and as
    /// much room as the store takes is needed
    Vacuum {
        #[command(flatten)]
        which: Which,
    },
}

impl Which {
    fn path(&self) -> Result<PathBuf, Failure> {
        match &self.store {
            Some(store) => Ok(store.clone()),
            None => Ok(load(&self.config)?.store.path),
        }
    }
}

/// Runs the command.
pub(super) fn run(command: &StoreCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        StoreCommand::Check { which } => {
            let path = which.path()?;
            let checked = upkeep::check(&path).map_err(|error| failed(&path, error))?;
            told(out, which.format, &path, &checked)
        }
        StoreCommand::Backup { file, which } => {
            let path = which.path()?;
            upkeep::backup(&path, file).map_err(|error| failed(&path, error))?;
            let bytes = file.metadata().map_or(0, |file| file.len());
            let answer = serde_json::json!({ "file": file, "bytes": bytes });
            let human =
                |out: &mut dyn Write, _: &_| writeln!(out, "{}: {bytes} bytes", file.display());
            show(out, which.format, &answer, human)
        }
        StoreCommand::Restore { file, which } => {
            let path = which.path()?;
            let checked = upkeep::restore(&path, file).map_err(|error| failed(&path, error))?;
            told(out, which.format, file, &checked)
        }
        StoreCommand::Vacuum { which } => {
            let path = which.path()?;
            let shrunk = upkeep::vacuum(&path).map_err(|error| failed(&path, error))?;
            let human = |out: &mut dyn Write, shrunk: &upkeep::Shrunk| {
                let (before, after) = (shrunk.before_bytes, shrunk.after_bytes);
                writeln!(out, "{}: {before} bytes, now {after}", path.display())
            };
            show(out, which.format, &shrunk, human)
        }
    }
}

/// Prints what a check found; fails where it found anything.
fn told(
    out: &mut dyn Write,
    format: Format,
    path: &Path,
    checked: &upkeep::Checked,
) -> Result<(), Failure> {
    let human = |out: &mut dyn Write, checked: &upkeep::Checked| {
        for fault in &checked.faults {
            writeln!(out, "{}", Shown(fault))?;
        }
        let (batches, blocks) = (checked.batches, checked.blocks);
        writeln!(
            out,
            "{}: {batches} batches, {blocks} blocks",
            path.display()
        )
    };
    show(out, format, checked, human)?;
    match checked.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::store(anyhow!(
            "{}: {faults} faults",
            path.display()
        ))),
    }
}
