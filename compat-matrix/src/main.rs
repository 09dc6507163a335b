//! `compat-matrix`: does Waybill work on this kernel?
//!
//! Everything is in the library, so that its tests can run it with machines of their own.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    compat_matrix::cli::main().unwrap_or_else(|error| {
        // Nothing is left to tell when even this cannot be written.
        writeln!(std::io::stderr(), "compat-matrix: {error:#}").ok();
        ExitCode::from(compat_matrix::cli::USAGE)
    })
}
