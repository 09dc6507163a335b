//! Reading a matrix: CSV, XLSX or TOML, whole or not at all, with every mistake in it.

mod csv;
mod table;
mod toml;
mod xlsx;

use table::Lines;
pub use table::Mistakes;

use super::flow::{Flow, MAX_FLOWS};

/// Largest file, bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// A matrix as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Its flows, in the order of the file.
    pub flows: Vec<Flow>,
    /// What was in the file and means nothing here.
    pub notes: Vec<String>,
}

/// Reads a matrix. What it is is told by its first bytes, not by a name.
///
/// # Errors
/// Every mistake, with its line and column.
pub fn read(bytes: &[u8]) -> Result<Declared, Mistakes> {
    if bytes.len() > MAX_BYTES {
        let why = format!(
            "a file of {} bytes; at most {MAX_BYTES} are read",
            bytes.len()
        );
        return Err(why.into());
    }
    // Every ZIP archive begins so, and XLSX is one.
    if bytes.starts_with(b"PK") {
        return flows(xlsx::lines(bytes)?);
    }
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        let why = "a file of an old Excel (.xls), or one with a password; save it as .xlsx";
        return Err(String::from(why).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        format!("byte {at} is no UTF-8; save it as CSV in UTF-8, or as .xlsx")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_toml(text) {
        flows(toml::lines(text)?)
    } else {
        flows(csv::lines(text)?)
    }
}

/// Whether the first line that is no comment is a table or a key of TOML.
fn is_toml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| line.starts_with("[[") || line.starts_with("flow"))
}

fn flows(read: Lines) -> Result<Declared, Mistakes> {
    let mut declared = Declared {
        notes: read.notes,
        ..Declared::default()
    };
    let mut mistakes = Vec::new();
    for line in read
        .lines
        .into_iter()
        .filter(|line| !line.fields.is_empty())
    {
        if declared.flows.len() == MAX_FLOWS {
            mistakes.push(format!("more than {MAX_FLOWS} flows"));
            break;
        }
        match Flow::parse(line.fields, line.number) {
            Ok(flow) => declared.flows.push(flow),
            Err(found) => mistakes.extend(
                found
                    .into_iter()
                    .map(|(column, why)| format!("line {}, {column}: {why}", line.number)),
            ),
        }
    }
    if mistakes.is_empty() {
        Ok(declared)
    } else {
        Err(Mistakes(mistakes))
    }
}

#[cfg(test)]
mod tests;
