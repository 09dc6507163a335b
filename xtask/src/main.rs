//! Every developer command of Waybill: `cargo xtask --help`.
//!
//! One file per command. Commands start the tools (cargo, clang-format, the project's own
//! binaries); they hold no product logic and depend on nothing that takes long to build.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod child;
mod clean_lab;
mod demo;
mod deps;
mod doctor;
mod faults;
mod fmt;
mod idle;
mod licences;
mod matrix;
mod package;
mod rootfs;
mod shell;
mod stage;
mod test;
mod tidy;
mod userland;
mod web;
mod workspace;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what it does: a client, a NAT gateway, two backends, and the topology that is found
    Demo(demo::Args),
    /// Run every test, from units to agent and collector in network namespaces
    Test(test::Args),
    /// Look for what must not be merged: format, lints, architecture, documents, licences
    Check(check::Args),
    /// Check the architecture rules alone
    Tidy,
    /// Format Rust and BPF C
    Fmt,
    /// Install what this machine lacks (Debian), or say what it is
    Deps,
    /// Say what the agent would do on this machine, and why not more
    Doctor(doctor::Args),
    /// Build the collector's web page, which it embeds the next time it is built
    Web,
    /// Assemble the directory that the agent is confined to
    Rootfs(rootfs::Args),
    /// Make deb, rpm and tar.gz of agent and collector, reproducibly
    Package(package::Args),
    /// Make the one signed file from which a host without network is installed
    Bundle(package::BundleArgs),
    /// Measure what the project promises
    Bench(bench::Args),
    /// Try real kernels under QEMU, with the agent that ships
    Matrix(matrix::Args),
    /// Make a BTF pack for a kernel that has no type information
    #[command(disable_help_flag = true)]
    Btf {
        /// Passed on; `cargo xtask btf --help` lists all
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Try the agent in the file systems of several Debian releases
    Userland,
    /// Break the agent on purpose, and see the matrix notice
    Faults(faults::Args),
    /// Remove what a killed demo or test left behind
    CleanLab,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when even this cannot be written.
            writeln!(std::io::stderr(), "xtask: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args, &Cli::command()),
        Command::Tidy => tidy::run(&Cli::command()).map(|()| ExitCode::SUCCESS),
        Command::Fmt => fmt::run().map(|()| ExitCode::SUCCESS),
        Command::Deps => deps::run().map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => doctor::run(&args),
        Command::Web => web::run().map(|()| ExitCode::SUCCESS),
        Command::Rootfs(args) => rootfs::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Package(args) => package::run(&args),
        Command::Bundle(args) => package::bundle(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Btf { args } => {
            let mut make = child::cargo(&["run", "--quiet", "-p", "btf-pack", "--"]);
            child::become_program(make.args(args))
        }
        Command::Userland => userland::run(),
        Command::Faults(args) => faults::run(&args),
        Command::CleanLab => clean_lab::run(),
    }
}

/// True when whoever read our output went away, as `head` does; that is not a failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}
