//! One TOML table at a time, with every mistake kept instead of only the first.
//!
//! The reader walks the parsed table itself instead of deriving `Deserialize`, because a derived
//! one stops at the first mistake; this one reports all of them with line and key path.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Where a value stands and how it was written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Dotted path such as `option.kind` or `service[1].name`.
    pub(super) key: String,
    /// Line number, from 1.
    line: usize,
    /// The value as the operator wrote it, shortened.
    found: String,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Every mistake so far.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    file: String,
    text: &'t str,
    pub(super) list: Vec<String>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: String, text: &'t str) -> Self {
        Self {
            file,
            text,
            list: Vec::new(),
        }
    }

    /// A value that is not what it should be.
    pub(super) fn wrong(&mut self, place: &Place, expected: &str) {
        let Place { key, line, found } = place;
        self.list.push(format!(
            "{}:{line}: {key}: expected {expected}, found {found}{}",
            self.file,
            self.unseen(*line)
        ));
    }

    /// A value that is well-formed but does not work, with the reason.
    pub(super) fn unusable(&mut self, place: &Place, why: &str) {
        let Place { key, line, .. } = place;
        self.list
            .push(format!("{}:{line}: {key}: {why}", self.file));
    }

    /// Text that is not TOML.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let line = self.line_of(error.span().map_or(0, |span| span.start));
        self.list.push(format!(
            "{}:{line}: {}{}",
            self.file,
            error.message(),
            self.unseen(line)
        ));
    }

    /// What on a line does not show and may be what is wrong with it.
    fn unseen(&self, line: usize) -> String {
        let written = self.text.lines().nth(line.saturating_sub(1));
        let what = written.and_then(|text| follow::unseen(text.as_bytes()));
        what.map_or_else(String::new, |what| format!(" (on the line is {what})"))
    }

    /// Something that is not there.
    pub(super) fn missing(&mut self, key: &str, expected: &str) {
        self.list.push(format!(
            "{}: {key}: missing, expected {expected}",
            self.file
        ));
    }

    /// True when something was already said about `key`.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.list
            .iter()
            .any(|problem| problem.contains(&format!(": {key}")))
    }

    fn line_of(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }

    fn place(&self, key: String, span: std::ops::Range<usize>) -> Place {
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

/// One table, remembering which of its keys are known.
pub(super) struct Section<'a, 'i> {
    /// Dotted path of the table, empty for the whole file.
    pub(super) path: String,
    /// `None` when it is absent or not a table.
    pub(super) table: Option<&'a DeTable<'i>>,
    known: Vec<&'static str>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The whole document.
    pub(super) fn root(document: &'a DeTable<'i>) -> Self {
        Section {
            path: String::new(),
            table: Some(document),
            known: Vec::new(),
        }
    }

    fn find(&mut self, key: &'static str) -> Option<(String, &'a Spanned<DeValue<'i>>)> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        Some((self.path_of(key), value))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn scalar<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Option<At<T>> {
        let (path, value) = self.find(key)?;
        let place = problems.place(path, value.span());
        match read(value.get_ref()) {
            Some(value) => Some(At { value, place }),
            None => {
                problems.wrong(&place, expected);
                None
            }
        }
    }

    pub(super) fn string(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<At<String>> {
        self.scalar(problems, key, "a string", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    pub(super) fn boolean(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<At<bool>> {
        self.scalar(problems, key, "true or false", DeValue::as_bool)
    }

    pub(super) fn integer(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<At<i64>> {
        self.scalar(problems, key, "an integer", |value| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })
    }

    pub(super) fn strings(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<Vec<At<String>>> {
        let (path, value) = self.find(key)?;
        let place = problems.place(path.clone(), value.span());
        let Some(array) = value.get_ref().as_array() else {
            problems.wrong(&place, "a list of strings");
            return None;
        };
        let mut strings = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let place = problems.place(format!("{path}[{index}]"), item.span());
            match item.get_ref().as_str() {
                Some(text) => strings.push(At {
                    value: text.to_owned(),
                    place,
                }),
                None => problems.wrong(&place, "a string"),
            }
        }
        Some(strings)
    }

    pub(super) fn section(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Section<'a, 'i> {
        let found = self.find(key);
        let path = self.path_of(key);
        let table = found.and_then(|(path, value)| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                let place = problems.place(path, value.span());
                problems.wrong(&place, "a table");
            }
            table
        });
        Section {
            path,
            table,
            known: Vec::new(),
        }
    }

    pub(super) fn sections(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Vec<Self> {
        let Some((path, value)) = self.find(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let place = problems.place(path, value.span());
            problems.wrong(&place, &format!("one or more [[{key}]] tables"));
            return Vec::new();
        };
        Self::tables(problems, &path, array)
    }

    fn tables(problems: &mut Problems<'_>, path: &str, array: &'a DeArray<'i>) -> Vec<Self> {
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section {
                        path,
                        table: Some(table),
                        known: Vec::new(),
                    });
                }
                None => {
                    let place = problems.place(path, item.span());
                    problems.wrong(&place, "a table");
                }
            }
        }
        sections
    }

    /// Every key of a table whose keys the operator chooses.
    pub(super) fn pairs(&self, problems: &mut Problems<'_>) -> Vec<(String, At<String>)> {
        let mut pairs = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let place = problems.place(self.path_of(key.get_ref()), value.span());
            match value.get_ref().as_str() {
                Some(text) => {
                    pairs.push((
                        key.get_ref().to_string(),
                        At {
                            value: text.to_owned(),
                            place,
                        },
                    ));
                }
                None => problems.wrong(&place, "a string"),
            }
        }
        pairs
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            if self.known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let place = problems.place(self.path_of(key.get_ref()), key.span());
            let mut why = String::from("unknown key, expected one of");
            for (index, known) in self.known.iter().enumerate() {
                let _ = write!(why, "{} {known}", if index == 0 { ":" } else { "," });
            }
            problems.unusable(&place, &why);
        }
    }
}
