//! `cargo xtask bench governor`: what each level of the governor saves.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of the lab's programs is this very binary.
    tests::program::dispatch().unwrap_or_else(tests::governed::main)
}
