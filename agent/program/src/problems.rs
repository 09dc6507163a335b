//! What is wrong in a configuration: every mistake, each with its file, line and key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Where a value stands and how it was written.
#[derive(Clone, Debug)]
pub struct Place {
    /// Dotted path such as `option.kind` or `service[1].name`.
    pub key: String,
    /// Line number, from 1.
    line: usize,
    /// The value as the operator wrote it, shortened.
    found: String,
}

/// Every mistake so far.
#[derive(Debug)]
pub struct Problems<'t> {
    file: String,
    text: &'t str,
    /// One line each.
    pub list: Vec<String>,
}

impl<'t> Problems<'t> {
    /// None yet, in the text of that file.
    #[must_use]
    pub fn new(file: String, text: &'t str) -> Self {
        Self {
            file,
            text,
            list: Vec::new(),
        }
    }

    /// The document, or nothing where it is no TOML.
    pub fn document(&mut self) -> Option<DeTable<'t>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let line = self.line_of(error.span().map_or(0, |span| span.start));
            let (file, message) = (&self.file, error.message());
            let unseen = self.unseen(line);
            self.list.push(format!("{file}:{line}: {message}{unseen}"));
        }
        errors.is_empty().then(|| document.into_inner())
    }

    /// A value that is not what it should be.
    pub fn wrong(&mut self, place: &Place, expected: &str) {
        let Place { line, found, .. } = place;
        let why = format!("expected {expected}, found {found}{}", self.unseen(*line));
        self.unusable(place, &why);
    }

    /// A value that is well-formed but does not work, with the reason.
    pub fn unusable(&mut self, place: &Place, why: &str) {
        let Place { key, line, .. } = place;
        self.list
            .push(format!("{}:{line}: {key}: {why}", self.file));
    }

    /// A value that could not be read, with the reason.
    pub fn unread(&mut self, place: &Place, why: &str) {
        self.unusable(place, &format!("{why}{}", self.unseen(place.line)));
    }

    /// Something that is not there.
    pub fn missing(&mut self, key: &str, expected: &str) {
        self.about(key, &format!("missing, expected {expected}"));
    }

    /// A mistake that stands in no one line.
    pub fn about(&mut self, key: &str, why: &str) {
        self.list.push(format!("{}: {key}: {why}", self.file));
    }

    /// True when something was already said about `key`.
    #[must_use]
    pub fn mentions(&self, key: &str) -> bool {
        self.list
            .iter()
            .any(|problem| problem.contains(&format!(": {key}")))
    }

    /// What on a line does not show and may be what is wrong with it.
    fn unseen(&self, line: usize) -> String {
        let written = self.text.lines().nth(line.saturating_sub(1));
        let what = written.and_then(|text| follow::unseen(text.as_bytes()));
        what.map_or_else(String::new, |what| format!(" (on the line is {what})"))
    }

    fn line_of(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }

    /// The place of a key that has that span.
    #[must_use]
    pub fn place(&self, key: String, span: Range<usize>) -> Place {
        let line = self.line_of(span.start);
        let written = self.text.get(span).unwrap_or("").trim();
        let first = written.lines().next().unwrap_or("");
        let mut found: String = first.chars().take(60).collect();
        if found.len() < written.len() {
            found.push_str("...");
        }
        Place { key, line, found }
    }
}

/// Takes what stands at a place of the text out of a document, so that the rest can be read: the
/// innermost key there, with its path. `None` where nothing does.
pub fn take_out(table: &mut DeTable<'_>, at: usize) -> Option<String> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        let inner = match value.get_mut() {
            DeValue::Table(table) => take_out(table, at),
            _ => None,
        };
        if let Some(inner) = inner {
            return Some(format!("{name}.{inner}"));
        }
        let is_table = value.get_ref().is_table();
        if key.span().contains(&at) || !is_table && value.span().contains(&at) {
            found = Some(name);
        }
    }
    let found = found?;
    table.remove(found.as_str());
    Some(found)
}

/// Takes the value of a dotted path out of a document; returns where it stood.
pub fn take_path(table: &mut DeTable<'_>, path: &str) -> Option<Range<usize>> {
    match path.split_once('.') {
        Some((first, rest)) => match table.get_mut(first)?.get_mut() {
            DeValue::Table(inner) => take_path(inner, rest),
            _ => None,
        },
        None => table.remove(path).map(|value| value.span()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[a]\nx = 1\ny = [\n  2,\n]\n[a.b]\nz = \"three\"\n";

    #[test]
    fn what_is_wrong_is_taken_out_and_the_rest_stays() {
        let mut problems = Problems::new(String::from("f"), TEXT);
        let mut document = problems.document().unwrap();
        let at = |part: &str| TEXT.find(part).unwrap();
        assert_eq!(take_out(&mut document, at("2,")).as_deref(), Some("a.y"));
        assert_eq!(
            take_out(&mut document, at("three")).as_deref(),
            Some("a.b.z")
        );
        assert_eq!(take_out(&mut document, at("three")), None);
        let span = take_path(&mut document, "a.x").unwrap();
        let place = problems.place(String::from("a.x"), span);
        problems.wrong(&place, "0");
        assert_eq!(problems.list, ["f:2: a.x: expected 0, found 1"]);
        assert!(problems.mentions("a.x") && !problems.mentions("a.y"));
        assert_eq!(take_path(&mut document, "a.x"), None);
    }

    #[test]
    fn every_line_that_is_no_toml_is_told() {
        let text = "a = \nb = 1\nc = \n";
        let mut problems = Problems::new(String::from("f"), text);
        assert!(problems.document().is_none());
        assert_eq!(problems.list.len(), 2, "{:?}", problems.list);
        assert!(problems.list[1].starts_with("f:3: "));
    }
}
