//! `ca` and `enroll`: the authority that signs certificates of agents, and the tokens with which hosts
//! come for one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use notation::parse_duration;
use serde::Serialize;
use serde_json::json;

use super::audit;
use super::output::{Format, load, show};
use crate::access::{Action, Actor, ENROL_LONGEST, ENROL_PREFIX, Entry, Invitation, secret};
use crate::authority::{Authority, is_name};
use crate::config::{Config, DEFAULT_PATH, Enroll};
use crate::digest::{hex, sha256};
use crate::exit::Failure;
use crate::files;
use crate::time::{self, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Make the authority: its certificate and key, in the files that [enroll] names. What is there
    /// is never overwritten
    Init {
        /// Its name, which the certificates say
        #[arg(long, value_name = "TEXT", default_value = "Waybill agents")]
        name: String,
        /// How long it is valid
        #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = duration)]
        lifetime: Duration,
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EnrollCommand {
    /// Make a token with which a host gets its certificate by `waybill-agent enroll`; it is shown
    /// this once
    Token(TokenArgs),
    /// Show the certificates of hosts, and until when they are valid
    List {
        /// Configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// What token to make.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// The host's name, which its certificate will have whatever the host asks for; given several
    /// times, a token is made for each
    #[arg(long = "for", value_name = "NAME", required = true, value_parser = name)]
    names: Vec<String>,
    /// How often it can be used
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
    /// For how long it can be used, up to 366d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| String::from("expected a duration such as \"30m\", \"12h\" or \"90d\""))
}

fn name(text: &str) -> Result<String, String> {
    is_name(text)
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| String::from("expected the name of a host, such as \"db1.example\""))
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    certificate: String,
    issued_ms: i64,
    expires_ms: i64,
    revoked: bool,
}

/// The section of the configuration.
fn section(config: &Config) -> Result<&Enroll, Failure> {
    config.enroll.as_ref().ok_or_else(|| {
        Failure::usage(anyhow!(
            "{}: enroll.ca_cert_file: missing, expected the file of the authority's certificate, \
             and its key in enroll.ca_key_file",
            config.file.display()
        ))
    })
}

/// Runs `ca`.
pub(super) fn ca(command: CaCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let CaCommand::Init {
        name,
        lifetime,
        config,
    } = command;
    let config = load(&config)?;
    let enroll = section(&config)?;
    let made = init(&config, enroll, &name, lifetime)?;
    let entry = Entry::new(Action::AuthorityMade, name).after(json!({ "certificate": made }));
    audit::record(&config, entry)?;
    let (certificate, key) = (enroll.ca_cert_file.display(), enroll.ca_key_file.display());
    writeln!(
        out,
        "{certificate}: the authority {made}\n{key}: its key, for the collector's account alone; \
         who has it can report as any host"
    )
    .map_err(super::output::unwritten)
}

/// What names the certificate that was made.
fn init(
    config: &Config,
    enroll: &Enroll,
    name: &str,
    lifetime: Duration,
) -> anyhow::Result<String> {
    for file in [&enroll.ca_cert_file, &enroll.ca_key_file] {
        if file.symlink_metadata().is_ok() {
            bail!(
                "{}: is there already. Hosts that an authority enrolled are refused once it is gone: \
                 to replace it, move its files away, make the new one, and append the old \
                 certificate to the new one's file",
                file.display()
            );
        }
    }
    let (certificate, key) = Authority::create(name, lifetime, time::now_ms())?;
    let lives = config.store.path.parent();
    write(&enroll.ca_key_file, &key, files::PRIVATE, lives)?;
    write(&enroll.ca_cert_file, &certificate, 0o644, lives)?;
    let made = crate::tls::certificates(&enroll.ca_cert_file)?;
    Ok(hex(&sha256(&made[0])[..8]))
}

/// A new file, for the account that the collector runs as: that of its store.
fn write(path: &Path, text: &str, mode: u32, lives: Option<&Path>) -> anyhow::Result<()> {
    let make = || {
        let mut file = files::make(&mut OpenOptions::new(), path, mode)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match lives {
            Some(directory) if directory.is_dir() => files::give_to_owner_of(directory, path),
            _ => Ok(()),
        }
    };
    make().with_context(|| format!("write {}", path.display()))
}

/// Runs `enroll`.
pub(super) fn run(command: EnrollCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        EnrollCommand::Token(args) => token(&args, out),
        EnrollCommand::List { config, format } => list(&config, format, out),
    }
}

fn token(args: &TokenArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if args.expires > ENROL_LONGEST {
        return Err(Failure::usage(anyhow!("--expires: expected at most 366d")));
    }
    let config = load(&args.config)?;
    section(&config)?;
    let access = audit::open(&config)?;
    let now_ms = time::now_ms();
    let mut made = Vec::new();
    for name in &args.names {
        let invitation = Invitation {
            name: name.clone(),
            token: secret(ENROL_PREFIX).map_err(|error| audit::failed(&config, error))?,
            expires_ms: now_ms.saturating_add(time::whole_ms(args.expires)),
        };
        access
            .invite(&invitation, args.uses, &Actor::command(), now_ms)
            .map_err(|error| audit::failed(&config, error))?;
        made.push(invitation);
    }
    show(out, args.format, &made, |out, made| match &made[..] {
        // To be written into a file as it is.
        [one] => writeln!(out, "{}", one.token),
        several => several
            .iter()
            .try_for_each(|one| writeln!(out, "{} {}", one.name, one.token)),
    })
}

fn list(config: &Path, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(config)?;
    let access = audit::open(&config)?;
    let mut list = Vec::new();
    let failed = |error| audit::failed(&config, error);
    for one in access.enrolled(time::now_ms()).map_err(failed)? {
        list.push(Listed {
            revoked: access.is_revoked(one.id).map_err(failed)?,
            name: one.name,
            certificate: one.id.to_string(),
            issued_ms: one.issued_ms,
            expires_ms: one.expires_ms,
        });
    }
    show(out, format, &list, |out, list| {
        writeln!(
            out,
            "{:<18}{:<26}{:<26}NAME",
            "CERTIFICATE", "ISSUED", "EXPIRES"
        )?;
        list.iter().try_for_each(|one| {
            let (issued, expires) = (rfc3339(one.issued_ms), rfc3339(one.expires_ms));
            let revoked = if one.revoked { "  revoked" } else { "" };
            writeln!(
                out,
                "{:<18}{issued:<26}{expires:<26}{}{revoked}",
                one.certificate, one.name
            )
        })
    })
}
