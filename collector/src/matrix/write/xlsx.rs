//! XLSX, a sheet for each table.

use std::io::Write;

use rust_xlsxwriter::{Format, Workbook};

use super::sheet::Sheet;

/// Most characters of a cell, as Excel has it.
const MAX_CELL: usize = 32_767;

pub(super) fn write(out: &mut dyn Write, sheets: &[Sheet]) -> anyhow::Result<()> {
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    for sheet in sheets {
        let page = book.add_worksheet();
        page.set_name(sheet.name)?;
        for (column, heading) in (0..).zip(&sheet.headings) {
            page.write_string_with_format(0, column, *heading, &bold)?;
        }
        for (row, texts) in (1..).zip(&sheet.rows) {
            for (column, text) in (0..).zip(texts) {
                // Not `write`: what begins like a formula stays a text.
                page.write_string(row, column, cut(text))?;
            }
        }
        page.set_freeze_panes(1, 0)?;
        let last = u16::try_from(sheet.headings.len().saturating_sub(1))?;
        page.autofilter(0, 0, u32::try_from(sheet.rows.len())?, last)?;
        page.autofit();
    }
    out.write_all(&book.save_to_buffer()?)?;
    Ok(())
}

/// As much of a text as fits: Excel counts in UTF-16.
fn cut(text: &str) -> String {
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= MAX_CELL
    };
    text.chars().take_while(fits).collect()
}
