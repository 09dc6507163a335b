//! An export as plain tables: one Apache Arrow IPC file per family, which any Arrow reader opens.
//!
//! The columns are those of [`wire::family`], each row with its host, run of the agent, number and
//! interval in front. Addresses, names of enumerations and ids are text, lists of pairs are JSON, a
//! counter that its host cannot measure is null.

mod columns;

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Field, Schema, SchemaRef};
use serde::Serialize;
use wire::export::Export;
use wire::{Batch, Limits};

use crate::accept;
use crate::files;
use columns::Column;

/// One table that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: u64,
}

/// Makes the columns of one family.
type Make = fn(&Batch) -> Vec<Column>;

/// Every family and its columns.
const FAMILIES: [(&str, Make); 6] = [
    ("edge", columns::edges),
    ("sighting", columns::sightings),
    ("process", columns::processes),
    ("host", columns::hosts),
    ("event", columns::events),
    ("nat", columns::nats),
];

/// Writes `edge.arrow` and so on into a folder, which is made; files that are there are replaced.
///
/// # Errors
/// A batch cannot be read, or a file cannot be written.
pub fn arrow(export: &Export<'_>, folder: &Path) -> Result<Vec<Table>> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let writers = FAMILIES
        .iter()
        .map(|(name, make)| Writing::open(folder.join(format!("{name}.arrow")), *make));
    let mut writers = writers.collect::<Result<Vec<_>>>()?;
    for (number, bytes) in export.batches.iter().enumerate() {
        let opened = accept::open_of(bytes, &export.head.host, &Limits::default())
            .map_err(|refusal| anyhow!("batch {}: {}", number + 1, refusal.detail))?;
        for writing in &mut writers {
            writing.add(&opened.batch)?;
        }
    }
    writers.into_iter().map(Writing::finish).collect()
}

struct Writing {
    make: Make,
    schema: SchemaRef,
    writer: FileWriter<BufWriter<File>>,
    table: Table,
}

impl Writing {
    fn open(file: PathBuf, make: Make) -> Result<Self> {
        // Of a batch without rows: the same columns, whatever is in the file.
        let fields = make(&Batch::default()).into_iter();
        let fields =
            fields.map(|(name, values)| Field::new(name, values.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut options = OpenOptions::new();
        let made = files::make(options.truncate(true), &file, files::PRIVATE)
            .with_context(|| format!("make {}", file.display()))?;
        let writer = FileWriter::try_new(BufWriter::new(made), &schema)
            .with_context(|| format!("write {}", file.display()))?;
        Ok(Self {
            make,
            schema,
            writer,
            table: Table { file, rows: 0 },
        })
    }

    fn add(&mut self, batch: &Batch) -> Result<()> {
        let columns = (self.make)(batch).into_iter().map(|(_, values)| values);
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
            .with_context(|| format!("rows of {}", self.table.file.display()))?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.table.rows += rows.num_rows() as u64;
        self.writer
            .write(&rows)
            .with_context(|| format!("write {}", self.table.file.display()))
    }

    fn finish(mut self) -> Result<Table> {
        self.writer
            .finish()
            .with_context(|| format!("write {}", self.table.file.display()))?;
        Ok(self.table)
    }
}
