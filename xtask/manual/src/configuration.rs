//! The page of a configuration file: the packaged example, which documents every key.

use std::fmt::Write as _;

use crate::roff::{plain, title};

/// One line of an example.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// `# text`
    Words(&'a str),
    /// `[table]` or `[[table]]`; `#` before it: is not there by default.
    Table(&'a str),
    /// `key = value`, with `#` before it where that is a default or an example.
    Key { text: &'a str, given: bool },
    /// Nothing, or what goes on with the value above.
    Other,
}

fn read(line: &str) -> Line<'_> {
    if let Some(words) = line.strip_prefix("# ") {
        return Line::Words(words);
    }
    if line == "#" {
        return Line::Words("");
    }
    let (text, given) = match line.strip_prefix('#') {
        Some(text) => (text, false),
        None => (line, true),
    };
    if text.starts_with('[') {
        return Line::Table(text);
    }
    match text.split_once(" = ") {
        Some((key, _)) if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
            Line::Key { text, given }
        }
        _ => Line::Other,
    }
}

/// The page of the configuration of `program`, whose file is `/etc/waybill/<file>`.
pub(crate) fn page(program: &str, file: &str, example: &str, date: &str) -> String {
    let name = format!("{program}.toml");
    let mut page = title(&name, 5, date);
    let shown = plain(&name);
    let program = plain(program);
    writeln!(page, ".SH NAME\n{shown} \\- configuration of {program}").ok();
    writeln!(page, ".SH SYNOPSIS\n.I /etc/waybill/{}", plain(file)).ok();
    page += ".SH DESCRIPTION\n";
    let mut words: Vec<&str> = Vec::new();
    let mut in_table = false;
    for line in example.lines() {
        match read(line) {
            Line::Words(text) => words.push(text),
            Line::Table(text) => {
                if !in_table {
                    page += ".SH TABLES\n";
                    in_table = true;
                }
                writeln!(page, ".SS {}", plain(text)).ok();
                page += &paragraph(&words);
                words.clear();
            }
            Line::Key { text, given } => {
                let note = if given { " (in the packaged file)" } else { "" };
                writeln!(
                    page,
                    ".TP\n\\fB{}\\fR{note}\n{}",
                    plain(text),
                    paragraph(&words).trim_end()
                )
                .ok();
                words.clear();
            }
            Line::Other => {
                if !words.is_empty() {
                    writeln!(page, ".PP\n{}", paragraph(&words).trim_end()).ok();
                    words.clear();
                }
            }
        }
    }
    if !words.is_empty() {
        writeln!(page, ".PP\n{}", paragraph(&words).trim_end()).ok();
    }
    writeln!(
        page,
        ".SH FILES\n.TP\n.I /etc/waybill/{}\nkept by upgrades.\n.SH SEE ALSO\n.BR {program} (8)",
        plain(file)
    )
    .ok();
    page.replace(".SH DESCRIPTION\n.PP\n", ".SH DESCRIPTION\n")
}

/// Words, each line as it is; an empty one begins a paragraph.
fn paragraph(words: &[&str]) -> String {
    let lines = words.iter().map(|line| match line.trim() {
        "" => ".PP\n".to_owned(),
        line => plain(line) + "\n",
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{Line, page, read};

    const EXAMPLES: [(&str, &str, &str); 2] = [
        (
            "waybill-agent",
            "agent.toml",
            include_str!("../../../packaging/config/agent.toml.example"),
        ),
        (
            "waybill-collector",
            "collector.toml",
            include_str!("../../../packaging/config/collector.toml.example"),
        ),
    ];

    #[test]
    fn lines_of_an_example_are_told_apart() {
        assert_eq!(read("# a = b, say"), Line::Words("a = b, say"));
        assert_eq!(read("#[upload]"), Line::Table("[upload]"));
        assert_eq!(read("[[key]]"), Line::Table("[[key]]"));
        let given = |text, given| Line::Key { text, given };
        assert_eq!(read("#a_1 = \"x\""), given("a_1 = \"x\"", false));
        assert_eq!(read("epoch = 1"), given("epoch = 1", true));
        assert_eq!(read(""), Line::Other);
    }

    /// What tells that the parsers' own keys are all in the examples is tested beside the parsers.
    #[test]
    fn every_key_of_an_example_is_on_the_page_with_its_value_and_words() {
        for (program, file, example) in EXAMPLES {
            let page = page(program, file, example, "2001-02-03");
            let mut keys = 0;
            for line in example.lines() {
                match read(line) {
                    Line::Key { text, .. } => {
                        keys += 1;
                        let entry = format!(".TP\n\\fB{}\\fR", super::plain(text));
                        assert!(page.contains(&entry), "{entry} is not in {page}");
                    }
                    Line::Table(text) => assert!(page.contains(&format!(".SS {text}\n"))),
                    Line::Words(text) => assert!(page.contains(&super::plain(text.trim()))),
                    Line::Other => {}
                }
            }
            assert!(keys > 10, "{program}: {keys}");
        }
    }
}
