//! CSV, one table after the other with an empty line between them.

use std::io::Write;

use super::sheet::Sheet;

pub(super) fn write(out: &mut dyn Write, sheets: &[Sheet]) -> anyhow::Result<()> {
    out.write_all("\u{feff}".as_bytes())?;
    for (at, sheet) in sheets.iter().enumerate() {
        if at > 0 {
            out.write_all(b"\r\n")?;
        }
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(&mut *out);
        writer.write_record(&sheet.headings)?;
        for row in &sheet.rows {
            writer.write_record(row.iter().map(|text| harmless(text)))?;
        }
        writer.flush()?;
    }
    Ok(())
}

/// Text that no spreadsheet takes for a formula. Numbers stay numbers.
fn harmless(text: &str) -> String {
    let is_number = text.parse::<f64>().is_ok();
    if !is_number
        && text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'', '＝', '＋', '－', '＠'])
    {
        return format!("'{text}");
    }
    String::from(text)
}
