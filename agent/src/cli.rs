//! What can be typed: commands and options.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{ByteSize, DEFAULT_FILE, SeccompSetting};

/// Waybill agent: joins both ends of each TCP connection, however its addresses are rewritten
///
/// It measures connections, writes a 16-byte TCP option on their handshake, and sends what it saw
/// to a collector.
#[derive(Debug, Parser)]
#[command(name = "waybill-agent", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  waybill-agent doctor                    what this host can do, and what is missing
  waybill-agent check-config              whether the configuration is right
  waybill-agent enroll --token-file FILE  get this host's certificate from the collector
  waybill-agent run                       run in the foreground until SIGTERM
  waybill-agent spool stat --format json  what waits for the collector
  waybill-agent verify DIR --key KEY      whether a bundle is what its makers signed
  waybill-agent export --out /media/usb   the same, in files for a collector without a network

Exit codes:
  0 done   1 failed while running   2 wrong arguments or configuration
  4 privilege or jail   5 spool not usable";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure connections until SIGTERM or SIGINT, which drain; SIGUSR1 reports at once
    Run(RunArgs),
    /// Say what this host can do, what the agent would do on it, and why not more
    Doctor(DoctorArgs),
    /// Check the configuration and every file it names, and list all mistakes
    CheckConfig(ReportArgs),
    /// Get this host's certificate by a token of `waybill-collector enroll token`; the running agent
    /// takes it with its next start, and renews it by itself
    Enroll(EnrollArgs),
    /// Look into the queue of batches that wait for the collector
    Spool {
        /// Which look.
        #[command(subcommand)]
        command: SpoolCommand,
    },
    /// Write what waits in the spool into signed files, for somebody to carry; also while the agent
    /// runs. The batches stay until a receipt says that they arrived
    Export(ExportArgs),
    /// Delete exported batches that a receipt of `waybill-collector import` names
    Receipt(ReceiptArgs),
    /// Remove what a killed agent left: packet filters on the devices of this network namespace,
    /// probes, and cgroups
    Clean,
    /// Check a bundle, or one file of a release, against its signature
    Verify(VerifyArgs),
    /// Print the version
    Version(FormatArgs),
}

/// By what to enroll.
#[derive(Args, Debug)]
pub struct EnrollArgs {
    /// The collector, https://HOST:PORT; by default upload.url of the configuration
    #[arg(long, value_name = "URL")]
    pub collector: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigArgs,
}

/// What to verify.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// An unpacked bundle, or a file with its signature beside it (FILE.sig)
    pub path: PathBuf,
    /// The makers' public key, 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Unpack a bundle into this new folder, which nobody else can enter, and check it there
    #[arg(long, value_name = "DIR")]
    pub unpack: Option<PathBuf>,
    /// How output looks.
    #[command(flatten)]
    pub output: FormatArgs,
}

/// Looks into the spool.
#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// List batches, oldest first
    Ls {
        /// Common options.
        #[command(flatten)]
        report: ReportArgs,
        /// At most this many batches
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Show how much waits, and since when
    Stat(ReportArgs),
}

/// What to export.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// A folder, or the file to write; what does not fit goes to FILE.2, FILE.3 and so on
    #[arg(long, value_name = "FILE|DIR")]
    pub out: PathBuf,
    /// Bytes of one file, at least 1MiB
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = size)]
    pub max_size: u64,
    /// Also what was exported before, where a medium was lost
    #[arg(long)]
    pub again: bool,
    /// Common options.
    #[command(flatten)]
    pub report: ReportArgs,
}

fn size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|expected| format!("{expected}"))?;
    let bytes = size.bytes();
    let least = 1 << 20;
    (bytes >= least)
        .then_some(bytes)
        .ok_or("at least 1MiB".into())
}

/// What arrived.
#[derive(Args, Debug)]
pub struct ReceiptArgs {
    /// Receipts of `waybill-collector import`
    #[arg(value_name = "FILE", required_unless_present = "forget")]
    pub files: Vec<PathBuf>,
    /// Delete everything that was exported, without a receipt
    #[arg(long, conflicts_with = "files")]
    pub forget: bool,
    /// Common options.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
}

/// How the agent runs.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigArgs,
    /// System calls that are not needed: refuse, write to the kernel's audit log, or let be
    /// [default: what the configuration says]
    #[arg(long, value_enum, value_name = "MODE")]
    pub seccomp: Option<SeccompSetting>,
}

/// How output looks.
#[derive(Args, Debug)]
pub struct FormatArgs {
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of commands that report.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: ConfigArgs,
    /// How output looks.
    #[command(flatten)]
    pub output: FormatArgs,
}

/// What doctor does.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Common options.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Gather in this file what makes a BTF pack for this kernel, and list it: no addresses, names
    /// of hosts, keys or configuration
    #[arg(long, value_name = "FILE")]
    pub collect: Option<PathBuf>,
}

/// How output looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Human,
    /// For programs
    Json,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_is_taken() {
        for line in [
            "run --config /a",
            "run",
            "run --seccomp log",
            "doctor --config /a --format json",
            "doctor --collect /a",
            "check-config --format human",
            "spool ls --config /a --limit 3",
            "spool stat --format json",
            "version --format json",
            "clean",
            "enroll --collector https://c --token-file /a --config /b",
            "verify /a --key /b --format json",
            "export --out /a --max-size 1MiB --again --config /b",
            "receipt /a /b --format json",
            "receipt --forget",
        ] {
            let words = std::iter::once("waybill-agent").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "",
            "spool",
            "receipt",
            "export",
            "run now",
            "run --seccomp on",
            "doctor --format xml",
        ] {
            let words = std::iter::once("waybill-agent").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
