//! One TOML table at a time, with every mistake kept instead of only the first.
//!
//! The reader walks the parsed table itself instead of deriving `Deserialize`, because a derived
//! one stops at the first mistake; this one reports all of them with line and key path.

use std::fmt::Write as _;

pub(super) use program::problems::{Place, Problems};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
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
