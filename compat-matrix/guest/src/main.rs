//! What runs in a guest of the compatibility matrix.
//!
//! ```text
//! init (process 1)          checks (its child)                         over a serial port
//! boot: mounts, modules --> doctor, edges, harm, loss, residue, jail --> one JSON line each
//! reap, deadline <--------- ends
//! power off
//! ```
//!
//! Everything below the checks is that of the end-to-end tests: the same labs, the same traffic
//! programs, the agent that ships. `--here` runs the checks as an ordinary program, for developers.

#![forbid(unsafe_code)]

mod boot;
mod checks;
mod fault;
mod init;
mod kernel;
mod order;
mod report;
mod say;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use say::say;

/// Runs the checks of a matrix guest.
#[derive(Parser)]
struct Arguments {
    /// Run as an ordinary program: nothing is mounted or loaded, results go to standard output
    #[arg(long)]
    here: bool,
    /// Where the shipped root directory, the programs and the order are
    #[arg(long, default_value = "/payload")]
    payload: PathBuf,
}

fn main() -> ExitCode {
    // The launcher, the traffic programs and the faults are this very binary.
    if let Some(code) = tests::program::dispatch().or_else(fault::dispatch) {
        return code;
    }
    // The kernel hands words of its command line to process 1, so only ours count there.
    let first = std::env::args().nth(1).unwrap_or_default();
    if std::process::id() == 1 && first != "--here" {
        init::main();
    }
    let arguments = Arguments::parse();
    match checks::run(&arguments.payload, arguments.here) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("matrix-guest: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
