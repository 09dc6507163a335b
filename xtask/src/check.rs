//! `cargo xtask check`: everything that must hold before a change is merged, short of the tests.

use std::process::ExitCode;

use anyhow::Result;
use clap::Command;

use crate::stage::{say, stage};
use crate::{child, fmt, licences, shell, tidy, web};

/// Options of `check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these checks, by name (default: all)
    names: Vec<String>,
}

/// One check: the name a developer can ask for, and what it runs, given the commands of this program.
type Check = (&'static str, fn(&Command) -> Result<()>);

/// Cheap ones first.
const CHECKS: [Check; 7] = [
    ("format", |_| fmt::check()),
    ("tidy", tidy::run),
    ("licences", |_| licences::check()),
    ("scripts", |_| shell::check()),
    ("page", |_| web::check()),
    ("lints", |_| lints()),
    ("documents", |_| documents()),
];

/// Runs every check, also after one failed, and names the failed ones at the end.
///
/// # Errors
/// When a name is unknown or nothing can be written.
pub(crate) fn run(args: &Args, commands: &Command) -> Result<ExitCode> {
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| !CHECKS.iter().any(|(known, _)| known == name))
    {
        let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
        anyhow::bail!(
            "no check is named {unknown}; there are: {}",
            known.join(", ")
        );
    }
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if !args.names.is_empty() && !args.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        if let Err(error) = stage(name, || check(commands)) {
            say(&format!("{error:#}"))?;
            failed.push(name);
        }
    }
    if failed.is_empty() {
        say("check: everything holds")?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("check: failed: {}", failed.join(", ")))?;
    Ok(ExitCode::FAILURE)
}

/// Every lint of the workspace is an error here; a developer's build only warns.
fn lints() -> Result<()> {
    child::run(&mut child::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Broken links and malformed examples in doc comments.
fn documents() -> Result<()> {
    child::run(
        child::cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}
