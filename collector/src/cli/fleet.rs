//! `fleet`: what the agents are told, and what came of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;
use wire::orders::{Orders, families};

use super::audit;
use super::output::{Format, load, show};
use crate::access::{Action, Entry};
use crate::config::{Config, DEFAULT_PATH};
use crate::escape::Shown;
use crate::exit::Failure;
use crate::fleet::Host;
use crate::orders::{Change, EVERYBODY, SigningKey, next};
use crate::query::Hosts;
use crate::store::{self, SignedOrders, Source};
use crate::stores;
use crate::time;

#[derive(Debug, Subcommand)]
pub(super) enum FleetCommand {
    /// Turn writing of the option off, or on again where a host's own configuration has it on
    Option {
        /// `default` says nothing about it any more
        state: Switch,
        #[command(flatten)]
        target: Target,
    },
    /// Change what agents send, and to which destinations they write the option
    Set {
        #[command(flatten)]
        values: Values,
        #[command(flatten)]
        target: Target,
    },
    /// Show what the fleet is told, and which hosts have it in force
    Show {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make a key that signs orders, and the public half for the agents in FILE.pub
    Keygen {
        /// Where the private half goes; `[fleet] signing_key_file` names it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// As the host's own configuration has it
    On,
    /// Not
    Off,
    /// Nothing is said
    Default,
}

/// Where, and by what configuration.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Only hosts whose name or id matches: `*` is any text, `?` one character
    #[arg(long, value_name = "GLOB", default_value = EVERYBODY)]
    hosts: String,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

/// Each of them is text, or `default` for nothing said.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Values {
    /// Networks the option may be written to, at most those of the host's own configuration:
    /// 10.0.0.0/8,fc00::/7, or `none`
    #[arg(long, value_name = "LIST")]
    destinations: Option<String>,
    /// Tokens seen: on or off
    #[arg(long, value_name = "SWITCH")]
    sightings: Option<String>,
    /// Abnormal connections one by one: on or off
    #[arg(long, value_name = "SWITCH")]
    events: Option<String>,
    /// A family of signals, by its name: listener=off
    #[arg(long, value_name = "NAME=SWITCH")]
    family: Vec<String>,
    /// What it was called when there was one: nat=SWITCH
    #[arg(long, hide = true)]
    nat: Option<String>,
    /// At most so many sightings in one interval
    #[arg(long, value_name = "N")]
    sightings_per_interval: Option<String>,
    /// Keep at most one token in 2^N
    #[arg(long, value_name = "N")]
    sample_level: Option<String>,
}

impl Values {
    fn change(&self) -> Result<Change, Failure> {
        let given = [
            ("destinations", &self.destinations),
            ("sightings", &self.sightings),
            ("events", &self.events),
            ("nat", &self.nat),
            ("sightings_per_interval", &self.sightings_per_interval),
            ("sample_level", &self.sample_level),
        ];
        let mut change = Change::default();
        for (key, value) in given {
            let option = key.replace('_', "-");
            if let Some(value) = value {
                set(&mut change, key, value)
                    .map_err(|why| Failure::usage(anyhow!("--{option} {value:?}: {why}")))?;
            }
        }
        for given in &self.family {
            let named = given.split_once('=');
            let named = named.filter(|(name, _)| families().contains(name));
            named
                .ok_or_else(|| {
                    let known: Vec<_> = families().into_iter().collect();
                    let known = known.join(", ");
                    format!("expected NAME=SWITCH with one of the families {known}")
                })
                .and_then(|(name, value)| set(&mut change, name, value))
                .map_err(|why| Failure::usage(anyhow!("--family {given:?}: {why}")))?;
        }
        Ok(change)
    }
}

/// Says what is said of one key from now on.
fn set(change: &mut Change, key: &str, value: &str) -> Result<(), String> {
    if value == "default" {
        change.clear.push(key.to_owned());
        return Ok(());
    }
    let read = change.set.read(key, &value.replace(',', " "));
    read.map_err(|why| format!("expected {why}, or default"))
}

/// What `fleet show` says, and what every change answers.
#[derive(Debug, Serialize)]
struct Document {
    /// `null` before the first orders.
    version: Option<u64>,
    /// Unix milliseconds.
    made_ms: Option<i64>,
    rules: Vec<ShownRule>,
    /// By name, then id.
    hosts: Vec<ShownHost>,
}

#[derive(Debug, Serialize)]
struct ShownRule {
    hosts: String,
    says: Vec<(&'static str, String)>,
}

#[derive(Debug, Serialize)]
struct ShownHost {
    host: String,
    hostname: String,
    /// Whether the newest version is in force there.
    in_force: bool,
    /// In its own words; `null` when it takes no orders or has not said.
    orders: Option<String>,
}

/// Runs one of the commands.
pub(super) fn run(command: FleetCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        FleetCommand::Option { state, target } => {
            let mut change = Change::default();
            match state {
                Switch::On => change.set.option = Some(true),
                Switch::Off => change.set.option = Some(false),
                Switch::Default => change.clear.push("option".to_owned()),
            }
            apply(&target, &change, out)
        }
        FleetCommand::Set { values, target } => apply(&target, &values.change()?, out),
        FleetCommand::Show { config, format } => {
            let config = load(&config)?;
            let source = stores::source(&config.store).map_err(|error| {
                Failure::store(anyhow::Error::new(error).context(config.store.name()))
            })?;
            let shown = shown(&source)?;
            show(out, format, &shown, human)
        }
        FleetCommand::Keygen { out: file } => {
            let public = SigningKey::make(&file)?;
            let answer = serde_json::json!({ "signing_key_file": file, "public_key_file": public });
            show(out, Format::Table, &answer, |out, _| {
                writeln!(
                    out,
                    "{}: for [fleet] signing_key_file of the collector, keep it secret\n\
                     {}: for [fleet] public_key_file of every agent",
                    file.display(),
                    public.display()
                )
            })
        }
    }
}

/// An error of either kind, until the command ends.
enum Wrong {
    Store(store::Error),
    Other(anyhow::Error),
}

impl From<store::Error> for Wrong {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

fn apply(target: &Target, change: &Change, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&target.config)?;
    let key = signing_key(&config)?;
    let named = |error| {
        let error = anyhow::Error::new(error).context(config.store.name());
        Failure::store(error)
    };
    let now_ms = time::now_ms();
    let mut was = None;
    let made = stores::change_orders(&config, |before: Option<SignedOrders>| {
        was = before.as_ref().map(|before| before.body.clone());
        let before = before
            .as_ref()
            .map(parse)
            .transpose()
            .map_err(Wrong::Other)?;
        let orders = next(before.as_ref(), &target.hosts, change, now_ms).map_err(Wrong::Other)?;
        Ok(key.sign(&orders, now_ms))
    });
    let made = made.map_err(|wrong| match wrong {
        Wrong::Store(error) => named(error),
        Wrong::Other(error) => Failure::usage(error),
    })?;
    let mut entry = Entry::new(Action::OrdersChanged, format!("version {}", made.version))
        .after(json!(made.body));
    entry.before = was.map(|was| json!(was));
    audit::record(&config, entry)?;
    show(out, Format::Table, &made.version, |out, version| {
        writeln!(
            out,
            "version {version}: goes out with the next answer to each agent; see `fleet show`"
        )
    })
}

fn signing_key(config: &Config) -> Result<SigningKey, Failure> {
    let file = config.signing_key_file.as_ref().with_context(|| {
        format!(
            "{}: fleet.signing_key_file: missing, expected the file that `fleet keygen` made",
            config.file.display()
        )
    });
    file.and_then(|file| SigningKey::load(file))
        .map_err(Failure::usage)
}

fn parse(signed: &SignedOrders) -> anyhow::Result<Orders> {
    Orders::parse(signed.body.as_bytes()).context("the orders in the store cannot be read")
}

fn shown(source: &dyn Source) -> Result<Document, Failure> {
    let failed =
        |error: store::Error| Failure::store(anyhow::Error::new(error).context(source.name()));
    let newest = source.open().and_then(|reader| reader.newest_orders());
    let newest = newest.map_err(failed)?;
    let orders = newest.as_ref().map(parse).transpose()?.unwrap_or_default();
    let version = newest.as_ref().map(|orders| orders.version);
    let begins = version.map(|version| format!("version {version}:"));
    let host = |host: Host| {
        let mut said = host.report.plan.into_iter();
        let said = said.find(|(name, _)| name == "orders");
        let said = said.map(|(_, said)| said);
        ShownHost {
            host: host.host,
            hostname: host.hostname,
            in_force: begins
                .as_ref()
                .zip(said.as_ref())
                .is_some_and(|(begins, said)| said.starts_with(begins)),
            orders: said,
        }
    };
    // Page by page, for a host's report is much longer than what is shown of it.
    let mut pages = Hosts::of(source).map_err(failed)?;
    let mut hosts = Vec::new();
    while let Some(page) = pages.next_page().map_err(failed)? {
        hosts.extend(page.into_iter().map(host));
    }
    Ok(Document {
        version,
        made_ms: newest.map(|orders| orders.made_ms),
        hosts,
        rules: orders
            .rules
            .into_iter()
            .map(|rule| ShownRule {
                says: rule.directive.lines(),
                hosts: rule.hosts,
            })
            .collect(),
    })
}

fn human(out: &mut dyn Write, shown: &Document) -> std::io::Result<()> {
    match (shown.version, shown.made_ms) {
        (Some(version), Some(made)) => {
            writeln!(out, "version {version}, made {}", time::rfc3339(made))?;
        }
        _ => writeln!(out, "no orders yet")?,
    }
    for rule in &shown.rules {
        writeln!(out, "hosts {}", Shown(&rule.hosts))?;
        for (key, value) in &rule.says {
            writeln!(out, "    {key} {value}")?;
        }
    }
    let done = shown.hosts.iter().filter(|host| host.in_force).count();
    writeln!(out, "\nin force on {done} of {} hosts", shown.hosts.len())?;
    for host in shown.hosts.iter().filter(|host| !host.in_force) {
        let name = if host.hostname.is_empty() {
            &host.host
        } else {
            &host.hostname
        };
        let said = host.orders.as_deref().unwrap_or("takes no orders");
        writeln!(out, "    {}: {}", Shown(name), Shown(said))?;
    }
    Ok(())
}
