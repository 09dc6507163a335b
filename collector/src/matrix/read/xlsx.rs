//! XLSX: the first sheet, with headings in its first row that has any.
//!
//! The archive is read through once before it is opened, so that what unpacks to more than
//! [`MAX_UNPACKED`] is refused and not held.

use std::io::{Cursor, Read as _};

use calamine::{Data, Reader as _, Xlsx};
use zip::ZipArchive;

use super::table::{Line, Lines, Mistakes, headings};
use crate::matrix::flow::{Fields, MAX_FLOWS};

/// Most bytes that an archive may unpack to.
const MAX_UNPACKED: u64 = 64 << 20;
/// Most files in it.
const MAX_FILES: usize = 1000;
/// Most columns of a sheet.
const MAX_COLUMNS: usize = 64;

pub(super) fn lines(bytes: &[u8]) -> Result<Lines, Mistakes> {
    check(bytes)?;
    let not_xlsx = |why: String| format!("not an .xlsx file: {why}");
    let mut book: Xlsx<_> =
        Xlsx::new(Cursor::new(bytes)).map_err(|error| not_xlsx(error.to_string()))?;
    let names = book.sheet_names();
    let Some(name) = names.first() else {
        return Err(not_xlsx(String::from("no sheet in it")).into());
    };
    let sheet = book.worksheet_range(name);
    let sheet = sheet.map_err(|error| not_xlsx(error.to_string()))?;
    let (first, _) = sheet.start().unwrap_or_default();
    if sheet.width() > MAX_COLUMNS || sheet.height() > 2 * MAX_FLOWS {
        let why = format!(
            "sheet {name:?} has {} rows and {} columns; at most {MAX_FLOWS} flows and \
             {MAX_COLUMNS} columns are read",
            sheet.height(),
            sheet.width()
        );
        return Err(why.into());
    }
    let mut read = Lines::default();
    let mut mistakes = Vec::new();
    let mut columns = None;
    for (number, row) in (u64::from(first) + 1..).zip(sheet.rows()) {
        if row.iter().all(|cell| matches!(cell, Data::Empty)) {
            continue;
        }
        let Some(columns) = &columns else {
            let found: Vec<String> = row
                .iter()
                .map(|cell| text(cell).unwrap_or_default())
                .collect();
            let (named, notes) = headings(&found)?;
            read.notes = notes;
            columns = Some(named);
            continue;
        };
        let mut fields = Fields::default();
        for (column, cell) in columns.iter().zip(row) {
            let Some(column) = column else { continue };
            match text(cell) {
                Ok(text) => *fields.field(column) = text,
                Err(why) => mistakes.push(format!("line {number}, {column}: {why}")),
            }
        }
        read.lines.push(Line { number, fields });
    }
    if columns.is_none() {
        let why = format!("nothing in sheet {name:?}; its first row names the columns");
        return Err(why.into());
    }
    if names.len() > 1 {
        let note = format!("only the first of {} sheets is read, {name:?}", names.len());
        read.notes.push(note);
    }
    if mistakes.is_empty() {
        Ok(read)
    } else {
        Err(Mistakes(mistakes))
    }
}

/// Whether it unpacks to little enough.
fn check(bytes: &[u8]) -> Result<(), Mistakes> {
    let refused = |error: zip::result::ZipError| format!("not an .xlsx file: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(refused)?;
    if archive.len() > MAX_FILES {
        return Err(format!("an archive of {} files is no .xlsx file", archive.len()).into());
    }
    let mut left = MAX_UNPACKED;
    for at in 0..archive.len() {
        let file = archive.by_index(at).map_err(refused)?;
        let mut limited = file.take(left + 1);
        let read = std::io::copy(&mut limited, &mut std::io::sink());
        let read = read.map_err(|error| format!("not an .xlsx file: {error}"))?;
        if read > left {
            let why = format!("an archive that unpacks to more than {MAX_UNPACKED} bytes");
            return Err(why.into());
        }
        left -= read;
    }
    Ok(())
}

fn text(cell: &Data) -> Result<String, String> {
    Ok(match cell {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) => String::from(text.trim()),
        Data::Int(number) => number.to_string(),
        // Ports and numbers are floating-point in every sheet.
        Data::Float(number) => number.to_string(),
        Data::DateTime(at) => {
            let (year, month, day, ..) = at.to_ymd_hms_milli();
            format!("{year:04}-{month:02}-{day:02}")
        }
        Data::Error(error) => return Err(format!("a formula that failed ({error})")),
        Data::Bool(_) | Data::DurationIso(_) => return Err(String::from("expected text")),
        #[expect(unreachable_patterns, reason = "kinds that later versions add")]
        _ => return Err(String::from("expected text")),
    })
}
