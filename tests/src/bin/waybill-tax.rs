//! `cargo xtask bench tax`: what an agent costs those that it has no business with.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of the lab's programs is this very binary.
    tests::program::dispatch().unwrap_or_else(tests::tax::main)
}
