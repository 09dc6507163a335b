//! `credential`: which host each credential speaks for, and who is locked out.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::audit;
use super::output::{Format, load, show};
use crate::access::{Action, Actor, Entry, NAME_BYTES, Revocation, identity, named};
use crate::config::{Config, DEFAULT_PATH};
use crate::digest::hex;
use crate::escape;
use crate::exit::Failure;
use crate::store::{self, Binding, MIN_DIGITS};
use crate::stores;
use crate::time::{self, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum CredentialCommand {
    /// Show the credentials that were used, the host of each, what was refused under them, and those
    /// that were revoked
    List(Common),
    /// Let a credential speak for another host: the next one that uses it
    Release {
        /// The 16 digits by which `list` names it, a host id for all that speak for that host, or
        /// the name of a host that was enrolled
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Refuse a credential from now on, also on connections that are open
    Revoke(RevokeArgs),
    /// Take a revocation back
    Reinstate {
        /// The 16 digits by which `list` names it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Where, and how to print.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What to revoke.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The first 16 digits of the SHA-256 of a token or certificate, as `list` names it
    #[arg(value_name = "ID", required_unless_present = "host")]
    id: Option<String>,
    /// All credentials that speak for the host of this id, or that were or may be issued for a host
    /// of this name
    #[arg(long, value_name = "HOST", conflicts_with = "id")]
    host: Option<String>,
    /// Why, for whoever reads the list and the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Shown {
    credential: String,
    /// The name under which its host was enrolled.
    name: Option<String>,
    /// `None`: it was never used.
    host: Option<String>,
    bound_ms: Option<i64>,
    refused: u64,
    refused_host: Option<String>,
    refused_ms: Option<i64>,
    revoked: Option<Revoked>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    at_ms: i64,
    by: String,
    why: String,
}

impl From<Binding> for Shown {
    fn from(binding: Binding) -> Self {
        let (refused_host, refused_ms) = binding.last_refused.unzip();
        Self {
            credential: binding.id.to_string(),
            name: None,
            host: Some(hex(&binding.host)),
            bound_ms: Some(binding.bound_ms),
            refused: binding.refused,
            refused_host: refused_host.map(|host| hex(&host)),
            refused_ms,
            revoked: None,
        }
    }
}

impl From<Revocation> for Revoked {
    fn from(revocation: Revocation) -> Self {
        Self {
            at_ms: revocation.at_ms,
            by: revocation.actor,
            why: revocation.why,
        }
    }
}

/// Runs one of the commands.
pub(super) fn run(command: CredentialCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        CredentialCommand::List(common) => list(&common, out),
        CredentialCommand::Release { id, common } => release(&id, &common, out),
        CredentialCommand::Revoke(args) => revoke(&args, out),
        CredentialCommand::Reinstate { id, common } => reinstate(&id, &common, out),
    }
}

fn list(common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&common.config)?;
    let access = audit::open(&config)?;
    let failed = |error| audit::failed(&config, error);
    let (revoked, names) = (
        access.revocations().map_err(failed)?,
        access.enrolled_names().map_err(failed)?,
    );
    let mut list: Vec<Shown> = bindings(&config)?.into_iter().map(Shown::from).collect();
    for name in &names {
        let id = identity(name).to_string();
        if let Some(one) = list.iter_mut().find(|one| one.credential == id) {
            one.name = Some(name.clone());
        }
    }
    for revocation in revoked {
        let id = hex(&revocation.id);
        match list.iter_mut().find(|one| one.credential == id) {
            Some(one) => one.revoked = Some(revocation.into()),
            None => list.push(Shown {
                name: revocation
                    .spoke_for
                    .clone()
                    .filter(|name| names.contains(name)),
                credential: id,
                host: None,
                bound_ms: None,
                refused: 0,
                refused_host: None,
                refused_ms: None,
                revoked: Some(revocation.into()),
            }),
        }
    }
    show(out, common.format, &list, |out, list| table(out, list))
}

fn bindings(config: &Config) -> Result<Vec<Binding>, Failure> {
    stores::source(&config.store)
        .and_then(|source| source.open()?.credentials(false))
        .map_err(|error| failed(config, error))
}

fn failed(config: &Config, error: store::Error) -> Failure {
    let path = config.store.name();
    Failure::store(anyhow::Error::new(error).context(path))
}

fn release(id: &str, common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&common.config)?;
    let names = audit::open(&config)?.enrolled_names();
    let names = names.map_err(|error| audit::failed(&config, error))?;
    let of_name = names.iter().find(|name| name.eq_ignore_ascii_case(id));
    let of_name = of_name.map(|name| identity(name).to_string());
    let id = of_name.as_deref().unwrap_or(id);
    if id.len() < MIN_DIGITS || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage(anyhow!(
            "{id:?}: expected {MIN_DIGITS} hexadecimal digits of a credential, the 32 of a host id, \
             or the name of a host that was enrolled"
        )));
    }
    let released = stores::release_credentials(&config, id, time::now_ms())
        .map_err(|error| failed(&config, error))?;
    if released.is_empty() {
        return Err(Failure::from(anyhow!("{id}: no credential was used so")));
    }
    for one in &released {
        let entry = Entry::new(Action::CredentialReleased, one.id.to_string())
            .before(json!({ "host": hex(&one.host) }));
        audit::record(&config, entry)?;
    }
    let released: Vec<Shown> = released.into_iter().map(Shown::from).collect();
    show(out, common.format, &released, |out, released| {
        released.iter().try_for_each(|one| {
            let host = one.host.as_deref().unwrap_or("-");
            writeln!(out, "{}: no longer of host {host}", one.credential)
        })
    })
}

fn revoke(args: &RevokeArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = load(&args.common.config)?;
    let access = audit::open(&config)?;
    let failed = |error| audit::failed(&config, error);
    let bound = match &args.host {
        Some(_) => bindings(&config)?,
        // Whom it spoke for is worth knowing, and no condition.
        None => bindings(&config).unwrap_or_default(),
    };
    let names = access.enrolled_names().map_err(failed)?;
    let target = match (&args.id, &args.host) {
        (Some(id), _) => Target::of_id(parse(id)?, &bound, &names),
        (None, host) => Target::of_host(host.as_deref().unwrap_or_default(), &bound, &names),
    };
    let (actor, now_ms) = (Actor::command(), time::now_ms());
    let mut revoked: Vec<_> = target.ids.iter().map(|(id, _)| *id).collect();
    access
        .revoke(&target.ids, &args.why, &actor, now_ms)
        .map_err(failed)?;
    let mut is_known = !revoked.is_empty();
    for name in &target.names {
        let of_name = access.revoke_name(name, &args.why, &actor, now_ms);
        let of_name = of_name.map_err(failed)?;
        is_known |= of_name.is_some();
        revoked.extend(of_name.into_iter().flatten());
    }
    if !is_known {
        let host = args.host.as_deref().unwrap_or_default();
        return Err(Failure::from(anyhow!(
            "{host}: no credential speaks for a host of this id or name; `credential list` and \
             `enroll list` show them"
        )));
    }
    let revoked: Vec<String> = revoked.iter().map(|id| hex(id)).collect();
    show(out, args.common.format, &revoked, |out, revoked| {
        if revoked.is_empty() {
            return writeln!(
                out,
                "its tokens for enrolment are void; it has no certificate"
            );
        }
        let mut ids = revoked.iter();
        ids.try_for_each(|id| writeln!(out, "{id}: refused from now on"))
    })
}

/// Credentials to revoke, and names under which hosts were enrolled, with every certificate of each.
#[derive(Debug, Default)]
struct Target {
    ids: Vec<([u8; NAME_BYTES], Option<String>)>,
    names: Vec<String>,
}

impl Target {
    fn of_id(id: [u8; NAME_BYTES], bound: &[Binding], names: &[String]) -> Self {
        let mut target = Self::default();
        // What binds the host of a name is shown in the list, and is no certificate itself.
        if let Some(name) = names.iter().find(|name| named(identity(name)) == id) {
            target.names.push(name.clone());
        } else {
            let known = bound.iter().find(|binding| named(binding.id) == id);
            target.ids.push((id, known.map(|known| hex(&known.host))));
        }
        target
    }

    fn of_host(host: &str, bound: &[Binding], names: &[String]) -> Self {
        let host = host.to_ascii_lowercase();
        let mut target = Self::default();
        for binding in bound.iter().filter(|binding| hex(&binding.host) == host) {
            let its = Self::of_id(named(binding.id), bound, names);
            target.ids.extend(its.ids);
            target.names.extend(its.names);
        }
        // Also one that has a token and no certificate yet.
        target.names.push(host);
        target
    }
}

fn reinstate(id: &str, common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let name = parse(id)?;
    let config = load(&common.config)?;
    let was = audit::open(&config)?
        .reinstate(name, &Actor::command(), time::now_ms())
        .map_err(|error| audit::failed(&config, error))?;
    if !was {
        return Err(Failure::from(anyhow!("{id}: is not revoked")));
    }
    show(out, common.format, &hex(&name), |out, name| {
        writeln!(out, "{name}: no longer revoked")
    })
}

/// What names a credential, out of at least 16 digits.
fn parse(id: &str) -> Result<[u8; NAME_BYTES], Failure> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE
        .decode(id.as_bytes())
        .ok();
    bytes
        .as_deref()
        .and_then(|bytes| bytes.first_chunk())
        .copied()
        .ok_or_else(|| {
            Failure::usage(anyhow!(
                "{id:?}: expected the first {MIN_DIGITS} hexadecimal digits of the SHA-256 of a \
                 token or certificate"
            ))
        })
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
            one.host.as_deref().unwrap_or("-"),
            one.bound_ms.map_or(String::from("-"), rfc3339),
            one.refused,
        )?;
        if let Some(name) = &one.name {
            writeln!(out, "  enrolled as {name}")?;
        }
        if let Some(revoked) = &one.revoked {
            writeln!(
                out,
                "  revoked {} by {}: {}",
                rfc3339(revoked.at_ms),
                escape::Shown(&revoked.by),
                escape::Shown(&revoked.why)
            )?;
        }
    }
    Ok(())
}
