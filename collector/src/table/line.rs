//! Lines of a terminal.

use std::io::{self, Write};

/// Width of every line.
pub(super) const WIDTH: usize = 100;

/// Items with commas between them, as many per line as fit.
pub(super) fn write_items(out: &mut dyn Write, indent: &str, items: &[String]) -> io::Result<()> {
    let mut line = String::from(indent);
    for (at, item) in items.iter().enumerate() {
        let comma = if at + 1 < items.len() { "," } else { "" };
        let item = format!("{}{comma}", shorten_shown(item, WIDTH - indent.len() - 1));
        let used = line.chars().count();
        if used > indent.len() && used + 1 + item.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = String::from(indent);
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(&item);
    }
    writeln!(out, "{line}")
}

/// A text broken between words, and within those that are longer than a line; further lines are
/// indented like the first one.
pub(super) fn write_text(out: &mut dyn Write, indent: &str, text: &str) -> io::Result<()> {
    let width = WIDTH - indent.chars().count();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > width {
            writeln!(out, "{indent}{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while word.len() > width {
            let rest = word.split_off(width);
            writeln!(out, "{indent}{}", word.iter().collect::<String>())?;
            word = rest;
        }
        line.extend(word);
    }
    writeln!(out, "{indent}{line}")
}

/// Cuts what is escaped already.
fn shorten_shown(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['~']).collect()
}
