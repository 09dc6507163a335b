//! `store`: what an operator does with the file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Format, load, show};
use super::source::failed;
use crate::clickhouse::{Cluster, Copied};
use crate::config::DEFAULT_PATH;
use crate::escape::Shown;
use crate::exit::Failure;
use crate::store::{Contents, Error, upkeep};
use crate::{stores, time};

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
    /// Copy everything of the database to the servers of the configuration, count it on both sides and
    /// name what is not as it should be; what is there already is not written again, so that a copy
    /// that was ended goes on. Nothing may write to the database meanwhile
    Copy {
        /// Where it is
        #[arg(long, value_enum)]
        from: From,
        /// Where it goes
        #[arg(long, value_enum)]
        to: To,
        /// Configuration file, for both
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Give the room of what was deleted back to the file system; batches wait meanwhile, and as
    /// much room as the store takes is needed
    Vacuum {
        #[command(flatten)]
        which: Which,
    },
}

/// A store that can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum From {
    /// The database at store.path
    Sqlite,
}

/// One that takes copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum To {
    /// The servers of store.clickhouse, whichever store.kind is
    Clickhouse,
}

impl Which {
    fn path(&self) -> Result<PathBuf, Failure> {
        match &self.store {
            Some(store) => Ok(store.clone()),
            None => {
                let config = load(&self.config)?;
                stores::in_a_file(&config.store, "this").map_err(Failure::usage)?;
                Ok(config.store.path)
            }
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
        StoreCommand::Copy {
            from: From::Sqlite,
            to: To::Clickhouse,
            config,
            format,
        } => copy(config, *format, out),
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

/// How often a copy says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

fn copy(config: &Path, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(config)?;
    let path = &config.store.path;
    let Some(servers) = &config.store.clickhouse else {
        return Err(Failure::usage(anyhow!("store.clickhouse: missing")));
    };
    let cluster = Cluster::open(servers)
        .map_err(|error| Failure::store(anyhow::Error::new(error).context(servers.name())))?;
    let mut contents = Contents::open(path).map_err(|error| failed(path, error))?;
    let mut last = None;
    let mut tell = |copied: &Copied| {
        let now = time::monotonic();
        let due = last.is_none_or(|last| now.duration_since(last) >= TELL_EVERY);
        if due && format == Format::Table {
            last = Some(now);
            progress(&mut *out, copied).map_err(Error::Open)?;
        }
        Ok(())
    };
    let copied = cluster
        .copy(&mut contents, time::now_ms(), &mut tell)
        .map_err(|error| failed(path, error))?;
    show(out, format, &copied, |out, copied: &Copied| {
        for (table, rows) in &copied.rows {
            writeln!(out, "{table}: {rows} rows on both sides")?;
        }
        for fault in &copied.faults {
            writeln!(out, "{}", Shown(fault))?;
        }
        let (batches, before) = (copied.batches_done, copied.batches_before);
        let slices = copied.slices;
        writeln!(
            out,
            "{batches} batches, {before} of them before, {slices} slices of what was joined"
        )
    })?;
    match copied.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::store(anyhow!("{faults} faults"))),
    }
}

fn progress(out: &mut dyn Write, copied: &Copied) -> std::io::Result<()> {
    let Copied {
        runs,
        runs_done,
        batches,
        batches_done,
        ..
    } = copied;
    writeln!(
        out,
        "{batches_done} of {batches} batches, {runs_done} of {runs} runs of agents"
    )?;
    out.flush()
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
