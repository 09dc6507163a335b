//! `waybill-agent`: reads the arguments, runs one command, says once what went wrong.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use agent::cli::{Cli, Command};
use agent::exit::{Exit, is_broken_pipe};
use agent::{collect, doctor, enroll, export, host, jail, reports, startup, verify};
use clap::Parser as _;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let command = Cli::parse().command;
    // Before there are threads and anything looks for cgroups. Where it cannot be done, the plan says
    // that only a branch is seen.
    host::first_cgroups(Path::new("/proc")).and_then(|whole| jail::see_cgroups_of(&whole).ok());
    let done = match command {
        Command::Run(args) => {
            // Held by the reports below, not by an agent that runs for months.
            drop(out);
            startup::run(&args.file.config, args.seccomp)
        }
        Command::Doctor(args) => match &args.collect {
            Some(file) => collect::run(&args.report, file, &mut out),
            None => doctor::run(&args.report, &mut out),
        },
        Command::Enroll(args) => enroll::run(&args, &mut out),
        Command::CheckConfig(args) => reports::check_config(&args, &mut out),
        Command::Spool { command } => reports::spool(&command, &mut out),
        Command::Export(args) => export::run(&args, &mut out),
        Command::Receipt(args) => export::receipt(&args, &mut out),
        Command::Clean => reports::clean(&mut out),
        Command::Verify(args) => verify::run(&args, &mut out),
        Command::Version(args) => reports::version(&args, &mut out),
    };
    match done {
        Ok(()) => Exit::Ok.into(),
        Err(failure) if is_broken_pipe(&failure.error) => Exit::Ok.into(),
        Err(failure) => {
            // When standard error is gone too, the exit code has to do.
            writeln!(std::io::stderr(), "waybill-agent: {:#}", failure.error).ok();
            failure.exit.into()
        }
    }
}
