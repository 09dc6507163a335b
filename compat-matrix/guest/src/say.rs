//! What is said to people: in a guest, on its console.

use std::io::Write;

/// Writes one line for people to standard error.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}
