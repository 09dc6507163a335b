//! A table of a file.

/// A sheet: its name, headings, and rows.
pub(super) struct Sheet {
    pub(super) name: &'static str,
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}
