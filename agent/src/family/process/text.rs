//! Names as processes give them, made fit for logs, tables and pages.
//!
//! Escaping for a format stays the business of whoever writes that format; this only takes away
//! what no reader can want: bytes that are not UTF-8, control characters (a terminal obeys them),
//! characters that reorder text, and endless length.

/// Longest name in characters; task names have 15, file names at most 255 bytes.
const MAX_NAME: usize = 255;
/// Longest path in characters: enough to tell programs and cgroups apart.
const MAX_PATH: usize = 1024;

/// A single name.
pub(super) fn name(bytes: &[u8]) -> String {
    clean(bytes, MAX_NAME)
}

/// A path of any kind.
pub(super) fn path(bytes: &[u8]) -> String {
    clean(bytes, MAX_PATH)
}

fn clean(bytes: &[u8], max: usize) -> String {
    // A character has at most four bytes: more than that is never looked at.
    let bytes = &bytes[..bytes.len().min(4 * max)];
    String::from_utf8_lossy(bytes)
        .chars()
        .take(max)
        .map(|c| {
            if misleads(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Control characters, and the invisible ones that change the order in which text is shown.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, name, path};
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(name(b"a\x1b[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(name("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(name(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(path("/opt/µservice".as_bytes()), "/opt/µservice");
    }

    proptest! {
        #[test]
        fn any_bytes_become_bounded_printable_text(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let text = name(&bytes);
            prop_assert!(text.chars().count() <= MAX_NAME);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
