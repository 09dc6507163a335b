//! `tables` and `rows`: what is stored by its description.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::output::{Format, show};
use super::source::{asked, failed, store_of};
use crate::config::DEFAULT_PATH;
use crate::exit::Failure;
use crate::store::Which;
use crate::{query, table, time};

/// Which store to read.
#[derive(Debug, Args)]
struct Stored {
    /// Configuration file, for the path of the store
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "store")]
    config: PathBuf,
    /// Store to read; also while `serve` writes to it
    #[arg(long, value_name = "PATH")]
    store: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Where the tables are.
#[derive(Debug, Args)]
pub(super) struct TablesArgs {
    #[command(flatten)]
    stored: Stored,
}

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct RowsArgs {
    /// Name of the table, as `tables` lists it
    #[arg(value_name = "TABLE")]
    table: String,
    /// Begin: a UTC time (2026-01-02T03:04:05Z), a duration before now (90m) or a Unix time in
    /// seconds or milliseconds; by default an hour before the end
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End, written like --from; by default now
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only of the host of this name, or whose id begins so
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Each interval of a series by itself, not their sum
    #[arg(long)]
    intervals: bool,
    /// Also series that told nothing in the window while their agent reported
    #[arg(long)]
    silent: bool,
    /// Most rows to print; says how many were left out
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    stored: Stored,
}

pub(super) fn tables(args: TablesArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let Stored {
        config,
        store,
        format,
    } = args.stored;
    let (store, _) = store_of(store, &config)?;
    let tables = query::tables(&store).map_err(|error| failed(&store, error))?;
    show(out, format, &tables, table::tables)
}

pub(super) fn rows(args: RowsArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let now_ms = time::now_ms();
    let asked = asked(args.from.as_deref(), args.to.as_deref(), now_ms)?;
    let Stored {
        config,
        store,
        format,
    } = args.stored;
    let (store, meter) = store_of(store, &config)?;
    if let Some(command) = query::shown_by(&args.table) {
        let name = args.table;
        let why = anyhow!("table {name} is shown by `waybill-collector {command}`");
        return Err(Failure::usage(why));
    }
    let which = Which {
        table: args.table,
        host: args.host,
        intervals: args.intervals,
        silent: args.silent,
        most: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    let answer = query::rows(&store, &which, asked, now_ms, meter);
    let answer = answer.map_err(|error| failed(&store, error))?;
    if answer.tables.is_empty() && !query::is_known(&which.table) {
        let why = anyhow!(
            "no table {:?}; `waybill-collector tables` lists them",
            which.table
        );
        return Err(Failure::usage(why));
    }
    show(out, format, &answer, table::rows)
}
