//! What is being done, on standard error: a large fleet takes half an hour.

use std::io::Write as _;

/// Says it.
pub(crate) fn progress(what: &str) {
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{what}"));
}
