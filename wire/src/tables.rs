//! All tables of a batch: what the families write to and read from.

use std::collections::HashMap;

use crate::address::{self, Addresses};
use crate::overflow::{self, Overflow};
use crate::stream::{self, ArrowTable, ReadTable};
use crate::table::{TableReader, TableWriter};
use crate::{DecodeError, Limits};

/// Tables of the batch being written.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) addresses: Addresses,
    overflow: Overflow,
    list: Vec<ArrowTable>,
}

impl Tables {
    pub(crate) fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            overflow: Overflow::default(),
            list: Vec::new(),
        }
    }

    /// Adds a table; one without rows is left out.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        rows: usize,
        fill: impl FnOnce(&mut TableWriter<'_>, &Addresses),
    ) {
        if rows == 0 {
            return;
        }
        let mut writer = TableWriter::new(name, rows, &mut self.overflow);
        fill(&mut writer, &self.addresses);
        let table = writer.finish();
        self.list.push(table);
    }

    /// All streams one after the other.
    pub(crate) fn write(mut self) -> Vec<u8> {
        if self.addresses.len() > 0 {
            let table = self.addresses.write(&mut self.overflow);
            self.list.insert(0, table);
        }
        if !self.overflow.is_empty() {
            self.list.insert(0, self.overflow.write());
        }
        let mut raw = Vec::new();
        for table in &self.list {
            stream::write(table, &mut raw);
        }
        raw
    }
}

/// Tables of the batch being read.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    tables: HashMap<String, ReadTable<'a>>,
    overflow: Overflow,
    pub(crate) addresses: Addresses,
}

impl<'a> Opened<'a> {
    pub(crate) fn read(mut raw: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut tables = HashMap::new();
        while !raw.is_empty() {
            let table = ReadTable::read(&mut raw)?;
            // The widest helper table holds both histograms' buckets of each edge.
            let most = limits.max_rows.saturating_mul(2 * crate::HISTOGRAM_BUCKETS);
            if table.rows > most {
                return Err(DecodeError::TooLarge {
                    what: "table rows",
                    limit: most,
                });
            }
            if let Some(twice) = tables.insert(table.name.clone(), table) {
                return Err(DecodeError::Malformed(format!(
                    "table {} comes twice",
                    twice.name
                )));
            }
        }
        let mut opened = Self {
            tables,
            overflow: Overflow::default(),
            addresses: Addresses::default(),
        };
        if let Some(reader) = opened.table(overflow::TABLE) {
            opened.overflow = Overflow::read(&reader)?;
        }
        if let Some(reader) = opened.table(address::TABLE) {
            opened.addresses = Addresses::read(&reader)?;
        }
        Ok(opened)
    }

    /// The table of that name, if it has rows.
    pub(crate) fn table(&self, name: &str) -> Option<TableReader<'_>> {
        self.tables
            .get(name)
            .map(|table| TableReader::new(table, &self.overflow))
    }

    /// The table of a family that the head says has `rows` rows.
    pub(crate) fn family(
        &self,
        name: &str,
        rows: u32,
    ) -> Result<Option<TableReader<'_>>, DecodeError> {
        let table = self.table(name);
        let found = table.as_ref().map_or(0, TableReader::rows);
        if u32::try_from(found) == Ok(rows) {
            Ok(table)
        } else {
            Err(DecodeError::Malformed(format!(
                "{found} rows of {name}, head says {rows}"
            )))
        }
    }
}
