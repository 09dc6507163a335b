//! An export as plain tables: one Apache Arrow IPC file per table, which any Arrow reader opens.
//!
//! The columns are those of the table's description, each row with its host, run of the agent, number
//! and interval in front. Addresses, names of enumerations and ids are text, lists of pairs are JSON,
//! what a host cannot measure is null.

mod columns;

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Schema, SchemaRef};
use serde::Serialize;
use wire::export::Export;
use wire::schema::Table as Description;
use wire::{BatchHeader, DynamicTable, Limits};

use crate::accept;
use crate::files;

/// One table that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: u64,
}

/// Most files of one export: tables, and descriptions of them.
const MAX_FILES: usize = 256;

/// Writes `edge.arrow` and so on into a folder, which is made; files that are there are replaced.
///
/// There is a file for each table that this program knows, and for each other one with rows; hosts
/// that describe such a table in another way get `NAME-2.arrow` and so on.
///
/// # Errors
/// A batch cannot be read, or a file cannot be written.
pub fn arrow(export: &Export<'_>, folder: &Path) -> Result<Vec<Table>> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut writers = Vec::new();
    for table in wire::tables() {
        open(&mut writers, folder, table)?;
    }
    for (number, bytes) in export.batches.iter().enumerate() {
        let opened = accept::open_of(bytes, &export.head.host, &Limits::default())
            .map_err(|refusal| anyhow!("batch {}: {}", number + 1, refusal.detail))?;
        for table in opened.batch.described(|_| true) {
            let is_its = |writing: &Writing| writing.is_of(&table.table);
            let at = match writers.iter().position(is_its) {
                Some(at) => at,
                None => open(&mut writers, folder, &table.table)?,
            };
            writers[at].add(&opened.batch.header, &table)?;
        }
    }
    writers.into_iter().map(Writing::finish).collect()
}

/// One more file.
fn open(writers: &mut Vec<Writing>, folder: &Path, table: &Description) -> Result<usize> {
    if writers.len() >= MAX_FILES {
        bail!("more than {MAX_FILES} tables");
    }
    let of_name = |writing: &&Writing| writing.description.name == table.name;
    let name = match writers.iter().filter(of_name).count() {
        0 => format!("{}.arrow", table.name),
        others => format!("{}-{}.arrow", table.name, others + 1),
    };
    writers.push(Writing::open(folder.join(name), table)?);
    Ok(writers.len() - 1)
}

/// A file of one table that is being written.
pub(crate) struct Writing {
    description: Description,
    schema: SchemaRef,
    writer: FileWriter<BufWriter<File>>,
    table: Table,
}

impl Writing {
    pub(crate) fn open(file: PathBuf, table: &Description) -> Result<Self> {
        let schema = Arc::new(Schema::new(columns::fields(table)));
        let mut options = OpenOptions::new();
        let made = files::make(options.truncate(true), &file, files::PRIVATE)
            .with_context(|| format!("make {}", file.display()))?;
        let writer = FileWriter::try_new(BufWriter::new(made), &schema)
            .with_context(|| format!("write {}", file.display()))?;
        Ok(Self {
            description: table.clone(),
            schema,
            writer,
            table: Table { file, rows: 0 },
        })
    }

    /// Whether its columns are those of this description.
    pub(crate) fn is_of(&self, table: &Description) -> bool {
        self.description == *table
    }

    /// The table's name.
    pub(crate) fn table_name(&self) -> &str {
        &self.description.name
    }

    /// Bytes that were written to it so far.
    pub(crate) fn size(&self) -> u64 {
        let file = self.writer.get_ref().get_ref();
        file.metadata().map_or(0, |file| file.len())
    }

    /// Appends the rows of a batch.
    pub(crate) fn add(&mut self, header: &BatchHeader, table: &DynamicTable) -> Result<()> {
        if table.rows == 0 {
            return Ok(());
        }
        let arrays = columns::arrays(header, table);
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .with_context(|| format!("rows of {}", self.table.file.display()))?;
        self.table.rows += rows.num_rows() as u64;
        self.writer
            .write(&rows)
            .with_context(|| format!("write {}", self.table.file.display()))
    }

    /// The end of the file; it is on disk then.
    pub(crate) fn finish(mut self) -> Result<Table> {
        self.writer
            .finish()
            .with_context(|| format!("write {}", self.table.file.display()))?;
        let synced = self.writer.get_ref().get_ref().sync_all();
        synced.with_context(|| format!("sync {}", self.table.file.display()))?;
        Ok(self.table)
    }
}
