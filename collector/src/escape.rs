//! Names that hosts report are data: what could steer a terminal is shown, not sent.
//!
//! A process may call itself anything, also an escape sequence or a right-to-left override.
//! Tables and log lines pass every name through [`Shown`]; JSON goes through [`json`], which
//! writes the same characters as `\u` escapes, so the data stay the same for a program.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// Bytes that are written at once.
const BUFFER: usize = 8 << 10;

/// A text for people: printable characters as they are, all others escaped.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                // Quotes need no escape here; `escape_debug` would add one.
                '"' | '\'' => f.write_char(c)?,
                // Everything Unicode calls control, format, separator or unassigned.
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// [`Shown`], cut to at most `width` characters; the cut is marked by `~`.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    let shown = Shown(text).to_string();
    if shown.chars().count() <= width {
        return shown;
    }
    let mut cut: String = shown.chars().take(width.saturating_sub(1)).collect();
    cut.push('~');
    cut
}

/// JSON with two-space indentation and every non-printable character as `\u` escape.
///
/// # Errors
/// Those of the writer.
pub fn json<T: Serialize>(out: &mut dyn io::Write, value: &T) -> io::Result<()> {
    // Of a known type: it is written to byte by byte.
    let mut buffer = io::BufWriter::with_capacity(BUFFER, out);
    let mut serializer = serde_json::Serializer::with_formatter(&mut buffer, Printable::default());
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    buffer.flush()
}

/// The pretty formatter, with stricter strings.
#[derive(Default)]
struct Printable<'a>(PrettyFormatter<'a>);

impl Formatter for Printable<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_printable(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

/// True when a terminal draws the character and does nothing else.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::{Shown, json, shorten};

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let hostile = "a\x1b[2Jb\u{9b}c\u{202e}d\ne\u{7f}";
        let shown = Shown(hostile).to_string();
        assert_eq!(shown, r"a\u{1b}[2Jb\u{9b}c\u{202e}d\ne\u{7f}");
    }

    #[test]
    fn an_ordinary_name_is_left_alone() {
        assert_eq!(
            Shown("it's \"naïve\" 服务").to_string(),
            "it's \"naïve\" 服务"
        );
    }

    #[test]
    fn json_keeps_the_data_and_shows_only_printable_characters() {
        let hostile = "a\x1b[2J\u{9b}\u{202e}\u{e0001}\"\\";
        let mut out = Vec::new();
        json(&mut out, &vec![hostile]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.chars()
                .all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic())
        );
        let back: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, [hostile]);
    }

    #[test]
    fn a_long_name_is_cut_and_says_so() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde~");
    }
}
