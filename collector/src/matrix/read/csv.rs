//! CSV: a first line of headings, with commas, semicolons or tabs between fields.

use csv::{ReaderBuilder, StringRecord};

use super::table::{Line, Lines, Mistakes, headings};
use crate::matrix::flow::{Fields, MAX_FLOWS};

/// What may stand between fields; whichever the first line has most of.
const BETWEEN: [u8; 3] = [b',', b';', b'\t'];

pub(super) fn lines(text: &str) -> Result<Lines, Mistakes> {
    let begin = text.trim_start_matches(|c: char| c.is_whitespace() && c != '\t');
    let first = begin.lines().next().unwrap_or_default();
    let many = |byte: &&u8| first.bytes().filter(|found| found == *byte).count();
    let between = BETWEEN.iter().rev().max_by_key(many).unwrap_or(&b',');
    let mut reader = ReaderBuilder::new()
        .delimiter(*between)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut read = Lines::default();
    let mut columns = None;
    for record in reader.records() {
        let record = record.map_err(|error| format!("not CSV: {error}"))?;
        let number = line(text, &record);
        if record
            .get(0)
            .is_some_and(|first| first.trim_start().starts_with('#'))
        {
            continue;
        }
        let Some(columns) = &columns else {
            let found: Vec<String> = record.iter().map(String::from).collect();
            let (named, notes) = headings(&found)?;
            read.notes = notes;
            columns = Some(named);
            continue;
        };
        if record.len() > columns.len() && record.iter().skip(columns.len()).any(|t| !t.is_empty())
        {
            let why = format!(
                "line {number}: {} fields, and {} headings; a field with {:?} in it stands in \
                 double quotes",
                record.len(),
                columns.len(),
                char::from(*between)
            );
            return Err(why.into());
        }
        read.lines.push(Line {
            number,
            fields: fields(&record, columns),
        });
        if read.lines.len() > 2 * MAX_FLOWS {
            return Err(format!("more than {MAX_FLOWS} flows").into());
        }
    }
    if columns.is_none() {
        return Err(String::from("nothing in it; the first line names the columns").into());
    }
    Ok(read)
}

/// The line on which a record begins, from 1: its position is that of the empty lines before it.
fn line(text: &str, record: &StringRecord) -> u64 {
    let Some(position) = record.position() else {
        return 0;
    };
    let begin = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(begin..).unwrap_or_default();
    let empty = rest
        .bytes()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + empty.filter(|byte| *byte == b'\n').count() as u64
}

fn fields(record: &StringRecord, columns: &[Option<&str>]) -> Fields {
    let mut fields = Fields::default();
    for (column, text) in columns.iter().zip(record) {
        if let Some(column) = column {
            // What was written so that no program takes it for a formula.
            let text = text.trim();
            let plain = text.strip_prefix('\'').unwrap_or(text);
            *fields.field(column) = String::from(plain);
        }
    }
    fields
}
