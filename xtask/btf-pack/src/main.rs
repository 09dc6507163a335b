//! `cargo xtask btf`: a BTF pack for one kernel, from whatever of it has types.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use btf_pack::{Order, make};
use clap::Parser;

/// Makes a BTF pack: the type information that a kernel without BTF lacks
#[derive(Parser)]
#[command(name = "cargo xtask btf", bin_name = "cargo xtask btf")]
struct Cli {
    /// vmlinux with DWARF or BTF (from the kernel's debug package), a file of raw BTF, or what
    /// `waybill-agent doctor --collect` wrote on a host
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// What `uname -r` says on the hosts (default: what vmlinux says)
    #[arg(long)]
    release: Option<String>,
    /// The kernel's GNU build id in hexadecimal digits (default: that of vmlinux)
    #[arg(long, value_name = "HEX")]
    build_id: Option<String>,
    /// Architecture of the kernel (default: as collected, or that of this machine)
    #[arg(long)]
    arch: Option<String>,
    /// Folder of the packs
    #[arg(long, value_name = "DIR", default_value = "target/btf")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let order = Order {
        from: cli.from,
        release: cli.release,
        build_id: cli.build_id,
        arch: cli.arch,
        out: cli.out,
    };
    match make(&order) {
        Ok(made) => {
            let path = made.path.display();
            let line = format!("{path}: {} bytes, {} compressed", made.bytes, made.packed);
            writeln!(std::io::stdout(), "{line}").ok();
            ExitCode::SUCCESS
        }
        Err(error) => {
            writeln!(std::io::stderr(), "btf: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
