//! Format 2: plain columns, each table with its description.

mod head;
mod layout;
mod read;
mod write;

use self::head::MAX_TABLES;
pub use self::head::SCHEMA;
pub(crate) use self::head::VERSION;
use self::layout::{describe, descriptions};
use self::read::Reader;
use crate::batch::{Batch, tables};
use crate::bounds::{self, Limits};
use crate::compress::{self, Dictionary};
use crate::envelope::{Envelope, OTHER};
use crate::error::DecodeError;
use crate::stream::{self, Kind};
use crate::table::DynamicTable;

/// The dictionary that new batches are compressed with.
const DICTIONARY: u8 = 3;

/// Seals rows into bytes of format 2.
///
/// The order of rows within a table is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB, or there are more than 64 tables.
pub(crate) fn encode(batch: &Batch) -> Vec<u8> {
    let (raw, kinds, rows) = arrow(batch);
    let envelope = Envelope {
        batch: batch.header.clone(),
        raw: u32::try_from(raw.len()).expect("a batch is far below 4 GiB"),
        rows,
    };
    head::seal(&envelope, DICTIONARY, &compress::compress(&raw, &kinds))
}

/// The Arrow IPC streams of a batch before compression.
///
/// For tools that look inside, such as the trainer of dictionaries.
///
/// # Panics
/// As [`crate::encode`].
#[must_use]
pub fn arrow_streams(batch: &Batch) -> Vec<u8> {
    arrow(batch).0
}

/// The streams, where their bytes change in kind, and the rows of each table.
#[expect(
    clippy::type_complexity,
    reason = "three lists of what belongs together"
)]
fn arrow(batch: &Batch) -> (Vec<u8>, Vec<(usize, Kind)>, Vec<(u8, u32)>) {
    let (mut raw, mut kinds, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |number: u8, description: &str, table: &DynamicTable| {
        let arranged = write::arrange(table, description, &batch.header);
        rows.push((number, u32::try_from(arranged[0].rows).expect("few rows")));
        for table in arranged {
            stream::write(&table, &mut raw, &mut kinds);
        }
    };
    for (number, table) in batch.as_tables() {
        add(
            u8::try_from(number).expect("few"),
            &descriptions()[number],
            &table,
        );
    }
    for table in batch.others.iter().filter(|table| table.rows > 0) {
        add(OTHER, &describe(&table.table), table);
    }
    assert!(rows.len() <= MAX_TABLES, "{} tables in a batch", rows.len());
    (raw, kinds, rows)
}

/// Opens a batch; nothing is allocated beyond what [`memory`] says.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    let (head, dictionary, compressed) = head::open(bytes, limits)?;
    let dictionary = Dictionary::find(u16::from(dictionary))?;
    let raw = dictionary.decompress(compressed, head.raw())?;
    let reader = Reader::open(&raw, limits)?;
    bounds::check(reader.bytes().saturating_add(row_bytes(&head)), limits)?;
    let hosts = tables().iter().position(|table| table.name == "host");
    bounds::check_hosts(
        reader.text_bytes("host"),
        hosts.map_or(0, |number| head.rows_of(number)),
    )?;
    let mut batch = Batch {
        header: head.batch.clone(),
        ..Batch::default()
    };
    let mut left = head.rows.iter();
    for table in reader.tables(&head.batch) {
        let table = table?;
        let known = tables()
            .iter()
            .position(|known| known.name == table.table.name);
        let number = known.map_or(OTHER, |number| u8::try_from(number).unwrap_or(OTHER));
        let expected = left.next().map(|(number, rows)| (*number, *rows as usize));
        if expected != Some((number, table.rows)) {
            let what = format!(
                "{} rows of {}, which its head does not say",
                table.rows, table.table.name
            );
            return Err(DecodeError::Malformed(what));
        }
        batch.put(table)?;
    }
    match left.next() {
        Some(_) => Err(DecodeError::Malformed(String::from(
            "a table of the head is missing",
        ))),
        None => Ok(batch),
    }
}

/// The most bytes of memory that [`decode`] takes.
pub(crate) fn memory(bytes: &[u8], limits: &Limits) -> usize {
    head::open(bytes, limits).map_or(0, |(head, ..)| head.memory(row_bytes(&head), limits))
}

/// Bytes of the rows once they are unpacked, as structs and as columns, without their texts.
fn row_bytes(head: &Envelope) -> usize {
    let sizes = Batch::row_bytes();
    head.row_bytes(|number| {
        let table = tables().get(number).copied();
        let columns = table.map_or(bounds::MAX_OTHER_ROW, read::row_bytes);
        sizes.get(number).map_or(0, |size| *size) + columns
    })
}
