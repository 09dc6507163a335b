//! Programs that labs run inside their hosts: the launcher and exact traffic.
//!
//! They live in the binary of the test or demo itself, which runs itself again with
//! [`MARKER`] as first argument; so nothing has to be built or found beside it.

pub mod bridge;
pub mod calls;
pub mod connect;
pub mod exec;
mod marker;
pub mod pattern;
pub mod serve;
pub mod talk;
pub mod userland;
pub mod wire;
pub mod without;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use marker::MARKER;

#[derive(Parser)]
#[command(
    name = "lab-program",
    about = "Programs that Waybill's labs run inside their hosts"
)]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// Join a network namespace and a cgroup, then become another program.
    Exec(exec::Arguments),
    /// Delay, lose and reorder what passes between two devices.
    Bridge(bridge::Arguments),
    /// Accept connections, answer as their headers ask, log each one.
    Serve(serve::Arguments),
    /// Open connections in a row or side by side and report each one.
    Connect(connect::Arguments),
    /// Time calls that no agent has anything to do with.
    Calls(calls::Arguments),
    /// Open, use and end connections as told on standard input.
    Talk(talk::Arguments),
    /// Enter the file system of a distribution, then become another program.
    Userland(userland::Arguments),
    /// Take abilities of the host away, then become another program.
    Without(without::Arguments),
}

/// Runs a lab program if this process was started as one, and returns its exit code.
///
/// `None` means that the process is not a lab program and its own `main` goes on.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_none_or(|first| first != MARKER) {
        return None;
    }
    arguments.remove(1);
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            report(&format!("{error}"));
            return Some(ExitCode::from(2));
        }
    };
    let result = match parsed.program {
        Program::Exec(arguments) => exec::run(&arguments),
        Program::Bridge(arguments) => bridge::run(&arguments),
        Program::Userland(arguments) => userland::run(&arguments),
        Program::Without(arguments) => without::run(&arguments),
        Program::Calls(arguments) => calls::run(&arguments),
        Program::Serve(arguments) => serve::run(&arguments),
        Program::Connect(arguments) => connect::run(&arguments, &mut std::io::stdout()),
        Program::Talk(arguments) => talk::run(
            &arguments,
            &mut std::io::stdin().lock(),
            &mut std::io::stdout().lock(),
        ),
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("lab-program: {error:#}"));
            ExitCode::FAILURE
        }
    })
}

/// Writes one line to standard error; a closed one is nobody's loss.
fn report(line: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{line}").ok();
}
