//! Writes the columns that a reader asks for.

use std::borrow::Cow;

use wire::DecodeError;
use wire::format1::{BITS, Column, Expect, Half, LONG, LONG_BITS, Source};
use wire::stream::{ArrowColumn, ArrowTable, Kind, Values};

use crate::columns::Columns;
use crate::token::{Bits, Token};

/// Collects tables.
#[derive(Debug)]
pub(crate) struct Writer {
    columns: Columns,
    tables: Vec<(ArrowTable, Bits)>,
    current: usize,
    name: &'static str,
}

impl Writer {
    pub(crate) fn new(columns: Columns) -> Self {
        Self {
            columns,
            tables: Vec::new(),
            current: 0,
            name: "",
        }
    }

    /// All tables in the order in which they began, and the one of their bit strings.
    pub(crate) fn finish(self) -> Vec<ArrowTable> {
        let (mut tables, bits): (Vec<_>, Vec<_>) = self.tables.into_iter().unzip();
        if tables.is_empty() {
            return tables;
        }
        let bits: Vec<_> = bits.into_iter().map(Bits::finish).collect();
        let names = Values::texts(tables.iter().map(|table: &ArrowTable| table.name.as_ref()));
        let bits = Values::blobs(bits.iter().map(Vec::as_slice));
        for table in &mut tables {
            arrange(&mut table.columns);
        }
        let column = |name, values| arrow_column(name, "", values);
        tables.push(ArrowTable {
            name: Cow::Borrowed(BITS),
            rows: tables.len(),
            columns: vec![column("table", names), column("bits", bits)],
            shares_zeros: false,
        });
        tables
    }

    fn table(&mut self) -> &mut ArrowTable {
        &mut self.tables[self.current].0
    }

    /// Puts the lower halves into a column that has the higher ones.
    fn merge(&mut self, name: &'static str, low: &[u8]) {
        let mut columns = self.table().columns.iter_mut();
        let column = columns.find(|column| column.name == name);
        let Some(Values::Bytes(bytes)) = column.map(|column| &mut column.values) else {
            unreachable!("the first half of a column is written before the second");
        };
        for (byte, low) in bytes.iter_mut().zip(low) {
            *byte |= low;
        }
    }
}

fn arrow_column(name: &'static str, note: &'static str, values: Values) -> ArrowColumn {
    ArrowColumn {
        name: Cow::Borrowed(name),
        note: Some(note),
        turns: Vec::new(),
        values,
    }
}

impl Source for Writer {
    fn knows(&self, _minor: u8) -> bool {
        true
    }

    fn table(&mut self, name: &'static str) -> usize {
        let rows = self.columns.rows(name);
        if rows > 0 {
            self.name = name;
            let known = self.tables.iter().position(|(table, _)| table.name == name);
            self.current = known.unwrap_or(self.tables.len());
            if known.is_none() {
                let table = ArrowTable {
                    name: Cow::Borrowed(name),
                    rows,
                    columns: Vec::new(),
                    shares_zeros: false,
                };
                self.tables.push((table, Bits::default()));
            }
        }
        rows
    }

    fn parameter(&mut self) -> Result<u64, DecodeError> {
        let value = self.columns.parameter();
        self.tables[self.current].1.put(value, u64::BITS);
        Ok(value)
    }

    fn numbers(&mut self, column: Column, expect: Expect<'_>) -> Result<Vec<u64>, DecodeError> {
        let values = self.columns.numbers(self.name, column);
        let bits = &mut self.tables[self.current].1;
        let write = |row: usize| {
            let mut coded = Token::of(values[row], expect(row, &values[..row]));
            if column.half != Half::Whole && coded.token >= LONG {
                bits.put(u64::from(coded.token - LONG), LONG_BITS);
                coded.token = LONG;
            }
            bits.put(coded.bits, coded.count);
            coded.token
        };
        let mut tokens: Vec<u8> = (0..values.len()).map(write).collect();
        if column.half == Half::Low {
            self.merge(column.name, &tokens);
            return Ok(values);
        }
        if column.half == Half::High {
            tokens.iter_mut().for_each(|token| *token <<= 4);
        }
        let mut written = arrow_column(column.name, column.note, Values::Bytes(tokens));
        let turns = self.columns.turns(self.name, column.name).iter();
        written.turns = turns.map(|row| (*row, Kind::Tokens)).collect();
        self.table().columns.push(written);
        Ok(values)
    }

    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, DecodeError> {
        let texts = self.columns.texts(self.name, name);
        let values = Values::texts(texts.iter().map(String::as_str));
        self.table()
            .columns
            .push(arrow_column(name, "text", values));
        Ok(texts)
    }
}

/// Columns that look alike to a compressor, found by measurement; readers do not depend on it. Tokens
/// of similar distribution share one block and so one Huffman table.
///
/// Each line is one block; columns that are not named follow in a block of their own.
const BLOCKS: [&[&str]; 9] = [
    &["subject_network"],
    &["host"],
    &["since_ms"],
    &["opened"],
    &[
        "reset_local_remote",
        "failed_refused",
        "retransmits_out_of_order",
        "bytes_sent_received",
    ],
    &["rtt_below_above", "connect_latency_below_above"],
    &["segments_sent", "segments_received"],
    &["connect_latency_sum_us", "rtt_sum_us"],
    &[
        "connect_latency_peak",
        "other_port",
        "rtt_extra",
        "rtt_peak",
        "connect_latency_extra",
        "zero_windows",
        "live",
    ],
];

fn place(column: &ArrowColumn) -> (usize, usize) {
    let find = |(block, names): (usize, &&[&str])| {
        names
            .iter()
            .position(|name| *name == column.name)
            .map(|place| (block, place))
    };
    BLOCKS
        .iter()
        .enumerate()
        .find_map(find)
        .unwrap_or((BLOCKS.len(), 0))
}

/// Puts columns that look alike side by side, and marks where another kind begins.
fn arrange(columns: &mut [ArrowColumn]) {
    columns.sort_by_key(place);
    let mut last = None;
    for column in columns {
        let block = place(column).0;
        if last.replace(block) != Some(block) && column.turns.first().is_none_or(|turn| turn.0 > 0)
        {
            column.turns.insert(0, (0, Kind::Tokens));
        }
    }
}
