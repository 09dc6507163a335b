//! `cargo xtask bench listener`: what following listeners costs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of the lab's programs is this very binary.
    tests::program::dispatch().unwrap_or_else(tests::listening::main)
}
