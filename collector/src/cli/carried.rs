//! `import` and `unpack`: files of `waybill-agent export`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::audit;
use super::output::{Format, load, show};
use crate::access::{Action, Entry};
use crate::config::DEFAULT_PATH;
use crate::escape::Shown;
use crate::exit::Failure;
use crate::import::{self, Imported, Trust};
use crate::store::{Bounds, Store};
use crate::{stores, time, unpack};

/// What to import.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files of `waybill-agent export`; again does no harm
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Believe the key of hosts that were never imported before
    #[arg(long)]
    trust: bool,
    /// Believe the key of these files although their hosts had another one
    #[arg(long, conflicts_with = "trust")]
    replace_key: bool,
    /// Folder for receipts; by default each goes beside its file, as FILE.receipt
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What to unpack.
#[derive(Debug, Args)]
pub(super) struct UnpackArgs {
    /// A file of `waybill-agent export`
    file: PathBuf,
    /// Folder for the tables, one file each
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the tables are
    #[arg(long, value_enum, default_value_t)]
    format: Tables,
}

/// Formats of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Tables {
    /// Apache Arrow IPC files (Feather 2)
    #[default]
    Arrow,
}

impl ImportArgs {
    fn receipt(&self, file: &Path) -> anyhow::Result<PathBuf> {
        let mut name = file
            .file_name()
            .with_context(|| format!("{}: not a file", file.display()))?
            .to_owned();
        name.push(".receipt");
        Ok(match &self.receipts {
            Some(folder) => folder.join(name),
            None => file.with_file_name(name),
        })
    }
}

/// Imports each file; the first that is refused ends the command.
pub(super) fn import(args: &ImportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&args.config)?;
    stores::in_a_file(&config.store, "import").map_err(Failure::usage)?;
    let path = &config.store.path;
    let mut store = Store::open(path, Bounds::from(&config)).map_err(|error| {
        Failure::store(anyhow::Error::new(error).context(path.display().to_string()))
    })?;
    let trust = match (args.trust, args.replace_key) {
        (_, true) => Trust::Replaced,
        (true, false) => Trust::New,
        (false, false) => Trust::Pinned,
    };
    let limits = config.limits.wire();
    let mut refused = 0;
    for file in &args.files {
        let bytes = import::read(file)?;
        let carried = (&bytes[..], args.receipt(file)?);
        let imported = import::import(&mut store, carried, trust, &limits, time::now_ms())
            .with_context(|| file.display().to_string())?;
        refused += imported.refused.len();
        if let Some(key) = &imported.key_believed {
            let entry = Entry::new(Action::ExportsTrusted, imported.host.clone());
            audit::record(&config, entry.after(json!({ "key": key })))?;
        }
        show(out, args.format, &imported, |out, imported| {
            human(out, file, imported)
        })?;
    }
    if refused > 0 {
        let why = anyhow!("some batches were refused; their hosts keep them");
        return Err(Failure::from(why));
    }
    Ok(())
}

fn human(out: &mut dyn Write, file: &Path, imported: &Imported) -> std::io::Result<()> {
    writeln!(
        out,
        "{}: host {}, {} batches stored, {} had been before; receipt {}",
        file.display(),
        imported.host,
        imported.stored,
        imported.duplicate,
        imported.receipt.display()
    )?;
    for why in &imported.refused {
        writeln!(out, "    refused: {}", Shown(why))?;
    }
    Ok(())
}

/// Writes the tables of one file.
pub(super) fn unpack(args: &UnpackArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let bytes = import::read(&args.file)?;
    let named = || args.file.display().to_string();
    let export = import::verify(&bytes).with_context(named)?;
    let Tables::Arrow = args.format;
    let tables = unpack::arrow(&export, &args.out).with_context(named)?;
    show(out, Format::Table, &tables, |out, tables| {
        for table in tables {
            writeln!(out, "{}: {} rows", table.file.display(), table.rows)?;
        }
        Ok(())
    })
}
