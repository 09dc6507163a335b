//! The `waybill-collector` command: parse, run, say what went wrong, exit.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use collector::cli::{self, Cli};
use collector::escape::Shown;
use collector::exit::{Exit, Failure};

fn main() -> ExitCode {
    let exit = match cli::run(Cli::parse(), &mut std::io::stdout().lock()) {
        Ok(()) => Exit::Ok,
        Err(Failure { exit, error }) => {
            // A configuration has a line for each mistake.
            for line in format!("{error:#}").lines() {
                let line = Shown(line);
                // Without stderr there is nobody to tell, and the exit code says it too.
                drop(writeln!(std::io::stderr(), "waybill-collector: {line}"));
            }
            exit
        }
    };
    ExitCode::from(exit as u8)
}
