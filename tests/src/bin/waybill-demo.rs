//! `cargo xtask demo`: a client, a NAT gateway and two backends, and the topology that is found.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The launcher of the lab's programs is this very binary.
    tests::program::dispatch().unwrap_or_else(tests::demo::main)
}
