//! `cargo xtask package` calls this: manual pages and shell completions of both programs.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

/// Writes manual pages (man5, man8) and shell completions (bash, zsh, fish)
#[derive(clap::Parser)]
struct Arguments {
    /// Where they go, in a folder each
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The root of the workspace, whose packaging/ is read
    #[arg(long, value_name = "DIR")]
    workspace: PathBuf,
    /// The date of the pages, YYYY-MM-DD
    #[arg(long)]
    date: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match manual::write(&arguments.workspace, &arguments.date, &arguments.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "manual: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
