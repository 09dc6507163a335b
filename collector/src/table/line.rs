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

/// Cuts what is escaped already.
fn shorten_shown(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['~']).collect()
}
