//! The command line: `serve`, `topology`, `hosts`, `search`, `chain`, `edge`, `matrix`, `alerts`, `rules`, `tables`, `rows`, `fleet`, `credential`, `user`, `token`, `ca`, `enroll`, `audit`, `import`, `unpack`, `store`, `check-config`, `doctor`, `version`.

mod alerts;
mod ask;
mod audit;
mod carried;
mod credential;
mod doctor;
mod enroll;
mod fleet;
mod login_link;
mod matrix;
mod output;
mod people;
mod prompt;
mod rows;
mod rules;
mod source;
mod store;
mod token;
mod user;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use notify::Notifier;

use crate::config::DEFAULT_PATH;
use crate::exit::Failure;
use crate::fleet::{Fleet, FleetText};
use crate::query::{self, Asked, Hosts};
use crate::remote::Remote;
use crate::server::{self, Secrets};
use crate::topology::Topology;
use crate::{log as logging, table, time};
use output::{Format, load, print, show, unwritten};
use source::{Place, Source, asked, failed};

/// Waybill collector: takes batches from agents and shows who talks to whom.
#[derive(Debug, Parser)]
#[command(name = "waybill-collector", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Listen for batches and questions until SIGTERM or SIGINT
    Serve {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Show who talks to whom, through what, and how well
    Topology {
        #[command(flatten)]
        source: Source,
        /// Begin: a UTC time (2026-01-02T03:04:05Z), a duration before now (90m) or a Unix time in
        /// seconds or milliseconds; by default an hour before the end
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        from: Option<String>,
        /// End, written like --from; by default now
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        to: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show the hosts: agent, kernel, mode and why, what was lost, spool, last seen
    Hosts {
        #[command(flatten)]
        source: Source,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Find services, hosts, addresses, ports and connections by a text
    Search(ask::SearchArgs),
    /// Show every hop of a connection by its two ends
    Chain(ask::ChainArgs),
    /// Show one edge: how it went on, how fast it is, what broke
    Edge(ask::EdgeArgs),
    /// Say what is wrong with an edge or a connection: what is ruled out, likely, and not known
    Diagnose(ask::DiagnoseArgs),
    /// Hold a declared communication matrix against what was seen; propose, compare, convert one
    Matrix {
        #[command(subcommand)]
        command: matrix::MatrixCommand,
    },
    /// What is wrong: alerts, who knows of them, and what is not to be told
    Alerts {
        #[command(subcommand)]
        command: alerts::AlertsCommand,
    },
    /// What alerts are made by: check files of rules, list and show them
    Rules {
        #[command(subcommand)]
        command: rules::RulesCommand,
    },
    /// List the tables that agents fill, with their columns
    Tables(rows::TablesArgs),
    /// Show the rows of a table of any family: sums of a window, what holds, or events
    Rows(rows::RowsArgs),
    /// Tell the agents what to leave out: the option, destinations, families, samples
    Fleet {
        #[command(subcommand)]
        command: fleet::FleetCommand,
    },
    /// Show which host each credential speaks for, let one speak for another, or lock one out
    Credential {
        #[command(subcommand)]
        command: credential::CredentialCommand,
    },
    /// People who log in: add, list, disable or remove them, give them roles and passwords
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Tokens with which programs ask in the name of a user: make, list or revoke them
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Make the authority that signs certificates of agents
    Ca {
        #[command(subcommand)]
        command: enroll::CaCommand,
    },
    /// Let hosts get certificates by themselves: make tokens for it, list what was issued
    Enroll {
        #[command(subcommand)]
        command: enroll::EnrollCommand,
    },
    /// Show who changed what: credentials, enrolment, orders, retention
    Audit(audit::AuditArgs),
    /// Store what agents exported into files, and write receipts that let them delete it
    Import(carried::ImportArgs),
    /// Write what is in an exported file as plain tables, for other programs
    Unpack(carried::UnpackArgs),
    /// Check the store, back it up, put a backup in its place, or give its free room back
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Check a configuration file and every file it names
    CheckConfig {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Look whether everything that the configuration names is there and works: store, disk, address,
    /// certificates, files with secrets, outputs, limits, clock; also while `serve` runs
    Doctor(doctor::DoctorArgs),
    /// Show the version
    Version {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Runs a command; what it shows goes to `out`.
///
/// # Errors
/// A [`Failure`] with the exit code it leads to. A reader that went away is no failure.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command {
        Command::Serve { config } => serve(&config),
        Command::Topology {
            source,
            from,
            to,
            format,
        } => {
            let now_ms = time::now_ms();
            let asked = asked(from.as_deref(), to.as_deref(), now_ms)?;
            topology(source, asked, now_ms, format, out)
        }
        Command::Hosts { source, format } => hosts(source, format, out),
        Command::Search(args) => ask::search(args, out),
        Command::Chain(args) => ask::chain(args, out),
        Command::Diagnose(args) => ask::diagnose(args, out),
        Command::Edge(args) => ask::edge(args, out),
        Command::Matrix { command } => matrix::run(command, out),
        Command::Alerts { command } => alerts::run(command, out),
        Command::Rules { command } => rules::run(command, out),
        Command::Tables(args) => rows::tables(args, out),
        Command::Rows(args) => rows::rows(args, out),
        Command::Fleet { command } => fleet::run(command, out),
        Command::Credential { command } => credential::run(command, out),
        Command::User { command } => user::run(command, out),
        Command::Token { command } => token::run(command, out),
        Command::Ca { command } => enroll::ca(command, out),
        Command::Enroll { command } => enroll::run(command, out),
        Command::Audit(args) => audit::run(&args, out),
        Command::Import(args) => carried::import(&args, out),
        Command::Unpack(args) => carried::unpack(&args, out),
        Command::Store { command } => store::run(&command, out),
        Command::CheckConfig { config, format } => {
            let checked = load(&config)?;
            Secrets::load(&checked)?;
            let advice = checked.auth.advice();
            let answer = serde_json::json!({ "file": config, "valid": true, "advice": advice });
            let human = |out: &mut dyn Write, _: &_| {
                writeln!(out, "{}: valid", config.display())?;
                advice
                    .iter()
                    .try_for_each(|text| writeln!(out, "note: {text}"))
            };
            show(out, format, &answer, human)
        }
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Version { format } => {
            let version = env!("CARGO_PKG_VERSION");
            let answer = serde_json::json!({ "name": "waybill-collector", "version": version });
            let human = |out: &mut dyn Write, _: &_| writeln!(out, "waybill-collector {version}");
            show(out, format, &answer, human)
        }
    }
}

fn serve(config: &Path) -> Result<(), Failure> {
    let config = load(config)?;
    logging::init(config.log_level);
    let notifier = Notifier::from_environment();
    Ok(server::start_as_service(&config, notifier)?.until_signal()?)
}

fn topology(
    source: Source,
    asked: Asked,
    now_ms: i64,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let (store, meter) = match source.place()? {
        Place::Remote(remote) => {
            let topology: Topology = remote.ask(&Remote::topology_path(asked))?;
            return show(out, format, &topology, table::topology);
        }
        Place::Store(store, meter) => (store, meter),
    };
    let picture = query::topology(&store, asked, now_ms, meter).map_err(|e| failed(&store, e))?;
    match format {
        // Edge by edge: the whole document is much larger.
        Format::Json => show(out, format, &picture, |_, _| Ok(())),
        Format::Table => show(out, format, &picture.document(), table::topology),
    }
}

fn hosts(source: Source, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let store = match source.place()? {
        Place::Remote(remote) => {
            let fleet: Fleet = remote.ask("/api/v1/hosts")?;
            return show(out, format, &fleet, table::hosts);
        }
        Place::Store(store, _) => store,
    };
    let mut pages = Hosts::of(&store).map_err(|e| failed(&store, e))?;
    // Page by page, as the collector answers.
    let mut written = FleetText::default();
    let mut drawn = table::Hosts::default();
    loop {
        let page = pages.next_page().map_err(|e| failed(&store, e))?;
        let over = page.is_none();
        let mut text = Vec::new();
        for host in page.into_iter().flatten() {
            match format {
                Format::Json => written.host(host, &mut text),
                Format::Table => drawn.host(&mut text, &host).map_err(unwritten)?,
            }
        }
        if over {
            let rest = pages.rest().map_err(|e| failed(&store, e))?;
            match format {
                Format::Json => {
                    written.end(&rest, &mut text);
                    text.push(b'\n');
                }
                Format::Table => drawn.end(&mut text, &rest).map_err(unwritten)?,
            }
            return print(out, &text);
        }
        print(out, &text)?;
    }
}
