//! `credential`: which host each credential speaks for.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Subcommand;
use serde::Serialize;

use super::output::{Format, load, show};
use crate::config::DEFAULT_PATH;
use crate::digest::hex;
use crate::exit::Failure;
use crate::store::{self, Binding, Bounds, MIN_DIGITS, Store};
use crate::time::rfc3339;

#[derive(Debug, Subcommand)]
pub(super) enum CredentialCommand {
    /// Show the credentials that were used, the host of each, and what was refused under them
    List {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Let a credential speak for another host: the next one that uses it
    Release {
        /// The 16 digits by which `list` names it, or a host id for all that speak for that host
        #[arg(value_name = "ID")]
        id: String,
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, Serialize)]
struct Shown {
    credential: String,
    host: String,
    bound_ms: i64,
    refused: u64,
    refused_host: Option<String>,
    refused_ms: Option<i64>,
}

impl From<Binding> for Shown {
    fn from(binding: Binding) -> Self {
        let (refused_host, refused_ms) = binding.last_refused.unzip();
        Self {
            credential: binding.id.to_string(),
            host: hex(&binding.host),
            bound_ms: binding.bound_ms,
            refused: binding.refused,
            refused_host: refused_host.map(|host| hex(&host)),
            refused_ms,
        }
    }
}

/// Runs one of the commands.
pub(super) fn run(command: CredentialCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        CredentialCommand::List { config, format } => {
            let path = load(&config)?.store.path;
            let list = store::Reader::open(&path)
                .and_then(|reader| reader.credentials(false))
                .map_err(|e| Failure::store(anyhow::Error::new(e).context(shown(&path))))?;
            let list: Vec<Shown> = list.into_iter().map(Shown::from).collect();
            show(out, format, &list, |out, list| table(out, list))
        }
        CredentialCommand::Release { id, config, format } => {
            if id.len() < MIN_DIGITS || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Failure::usage(anyhow!(
                    "{id:?}: expected {MIN_DIGITS} hexadecimal digits of a credential, or the 32 \
                     of a host id"
                )));
            }
            let config = load(&config)?;
            let path = &config.store.path;
            let released = Store::open(path, Bounds::from(&config))
                .and_then(|mut store| store.release_credentials(&id))
                .map_err(|e| Failure::store(anyhow::Error::new(e).context(shown(path))))?;
            if released.is_empty() {
                return Err(Failure::from(anyhow!("{id}: no credential was used so")));
            }
            let released: Vec<Shown> = released.into_iter().map(Shown::from).collect();
            show(out, format, &released, |out, released| {
                released.iter().try_for_each(|one| {
                    let Shown {
                        credential, host, ..
                    } = one;
                    writeln!(out, "{credential}: no longer of host {host}")
                })
            })
        }
    }
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn table(out: &mut dyn Write, list: &[Shown]) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<18}{:<34}{:<22}{:>8}  LAST REFUSED",
        "CREDENTIAL", "HOST", "SINCE", "REFUSED"
    )?;
    for one in list {
        let last = one.refused_ms.zip(one.refused_host.as_ref());
        let last = last.map_or(String::from("-"), |(ms, host)| {
            format!("{} {host}", rfc3339(ms))
        });
        writeln!(
            out,
            "{:<18}{:<34}{:<22}{:>8}  {last}",
            one.credential,
            one.host,
            rfc3339(one.bound_ms),
            one.refused,
        )?;
    }
    Ok(())
}
