//! The licences and notices of everything in a program, as one text that packages carry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::component::Component;
use crate::workspace;

/// Where Debian keeps the licences that many packages name.
const COMMON: &str = "/usr/share/common-licenses";

/// Each text once, with the components it belongs to; our own licence first.
///
/// # Errors
/// When a notice cannot be read.
pub(super) fn document(program: &str, components: &[Component]) -> Result<String> {
    let mut texts = Texts::default();
    let own = read(&workspace::root().join("LICENSE"))?;
    let mut list = String::new();
    writeln!(list, "{program}  Apache-2.0  text {}", texts.number(own)).ok();
    let mut common = BTreeSet::new();
    for one in components {
        let mut numbers = BTreeSet::new();
        for file in &one.notices {
            let text = read(file)?;
            common.extend(referred(&text));
            numbers.insert(texts.number(text));
        }
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let (name, version, licence) = (&one.name, &one.version, &one.licence);
        writeln!(
            list,
            "{name} {version}  {licence}  text {}",
            numbers.join(", ")
        )
        .ok();
    }
    for name in common {
        let file = Path::new(COMMON).join(&name);
        if file.is_file() {
            let number = texts.number(read(&file)?);
            writeln!(list, "{COMMON}/{name}, which others name  text {number}").ok();
        }
    }
    let mut document = format!(
        "Licences and notices of everything that {program} is made of.\n\n\
         The program is linked statically. Its source, with which it can be linked again with\n\
         other versions of these libraries, is where the program is from.\n\n{list}"
    );
    for (at, text) in texts.in_order.iter().enumerate() {
        write!(
            document,
            "\n{}\ntext {}\n\n{}\n",
            "=".repeat(78),
            at + 1,
            text.trim_end()
        )
        .ok();
    }
    Ok(document)
}

/// Texts with their numbers, from 1 on; the same text has the same one.
#[derive(Default)]
struct Texts {
    in_order: Vec<String>,
    numbers: BTreeMap<String, usize>,
}

impl Texts {
    fn number(&mut self, text: String) -> usize {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        *self.numbers.entry(words).or_insert_with(|| {
            self.in_order.push(text);
            self.in_order.len()
        })
    }
}

/// Licences in [`COMMON`] that a text names.
fn referred(text: &str) -> Vec<String> {
    let prefix = format!("{COMMON}/");
    let places = text.match_indices(&prefix);
    let names = places.map(|(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
        rest[..end.unwrap_or(rest.len())]
            .trim_end_matches('.')
            .to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    // Of a source file, the comment at its top.
    let source = file.extension().is_some_and(|end| end == "h");
    let (text, _) = match text.split_once("*/") {
        Some(parts) if source => parts,
        _ => (text.as_str(), ""),
    };
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{document, referred};
    use crate::package::component::Component;

    #[test]
    fn licences_that_a_text_only_names_are_found() {
        let text =
            "see /usr/share/common-licenses/LGPL-2.1.\nor `/usr/share/common-licenses/GPL-2'";
        assert_eq!(referred(text), ["LGPL-2.1", "GPL-2"]);
    }

    #[test]
    fn every_component_is_listed_and_each_text_is_there_once() {
        let place = std::env::temp_dir().join(format!("waybill-notices-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a folder");
        let part = |name: &str, text: &str| {
            let file = place.join(name);
            fs::write(&file, text).expect("a notice");
            Component {
                name: name.into(),
                version: "1".into(),
                licence: "MIT".into(),
                purl: None,
                notices: vec![file],
            }
        };
        let parts = [
            part("one", "Permission  is"),
            part("two", "Permission\nis"),
            part("three", "Other"),
        ];
        let made = document("waybill-agent", &parts).expect("a document");
        fs::remove_dir_all(&place).expect("remove the folder");
        assert!(
            made.contains("one 1  MIT  text 2\ntwo 1  MIT  text 2\nthree 1  MIT  text 3\n"),
            "{made}"
        );
        assert_eq!(made.matches("Permission").count(), 1);
        assert!(made.contains("Apache License"));
    }
}
