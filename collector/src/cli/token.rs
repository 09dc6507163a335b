//! `token`: tokens with which programs ask in the name of a user.

use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use notation::parse_duration;
use serde::Serialize;

use super::audit;
use super::output::show;
use super::people::{Common, Opened, name, rank};
use crate::access::{Actor, NAME_BYTES, NewToken, TOKEN_PREFIX, named, secret, token_name};
use crate::auth::CredentialId;
use crate::digest::{hex, sha256, unhex};
use crate::escape::Shown;
use crate::exit::Failure;
use crate::rank::Rank;
use crate::time::{self, rfc3339};

/// For how long a token may be valid.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token of a user; it is shown this once
    Add(AddArgs),
    /// Show the tokens of a user, or of all users
    List {
        /// The user
        #[arg(value_name = "USER", value_parser = name)]
        user: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Refuse a token from now on
    Revoke {
        /// The 16 digits by which `list` names it
        #[arg(value_name = "ID", value_parser = id)]
        id: [u8; NAME_BYTES],
        #[command(flatten)]
        common: Common,
    },
}

/// What token to make.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The user in whose name it asks
    #[arg(value_name = "USER", value_parser = name)]
    user: String,
    /// What it is for: up to 64 characters, unique among the user's own
    #[arg(long, value_name = "TEXT", value_parser = purpose)]
    name: String,
    /// What it may do, at most what its user may: viewer, operator or admin
    #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = rank)]
    role: Rank,
    /// For how long it is valid, up to 366d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lasting)]
    expires: Duration,
    #[command(flatten)]
    common: Common,
}

fn purpose(text: &str) -> Result<String, String> {
    token_name(text).map_err(str::to_owned)
}

fn lasting(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| {
            String::from("expected a duration such as \"12h\" or \"90d\", at most \"366d\"")
        })
}

fn id(text: &str) -> Result<[u8; NAME_BYTES], String> {
    unhex(text).ok_or_else(|| String::from("expected the 16 digits by which `token list` names it"))
}

#[derive(Debug, Serialize)]
struct Made {
    id: String,
    user: String,
    name: String,
    role: Rank,
    expires_ms: i64,
    /// Shown this once.
    token: String,
}

#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    user: String,
    name: String,
    role: Rank,
    made_ms: i64,
    expires_ms: i64,
    used_ms: Option<i64>,
}

/// Runs the command.
pub(super) fn run(command: TokenCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        TokenCommand::Add(args) => add(&args, out),
        TokenCommand::List { user, common } => list(user.as_deref(), &common, out),
        TokenCommand::Revoke { id, common } => revoke(id, &common, out),
    }
}

fn add(args: &AddArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let opened = Opened::new(&args.common)?;
    let token = secret(TOKEN_PREFIX).map_err(|error| audit::failed(&opened.config, error))?;
    let now_ms = time::now_ms();
    let new = NewToken {
        user: &args.user,
        name: &args.name,
        rank: args.role,
        expires_ms: now_ms.saturating_add(time::whole_ms(args.expires)),
    };
    let added = opened
        .access
        .add_token(&new, &token, &Actor::command(), now_ms);
    added.map_err(|why| opened.failed(why, &args.user))?;
    let made = Made {
        id: hex(&named(CredentialId(sha256(token.as_bytes())))),
        user: args.user.clone(),
        name: args.name.clone(),
        role: args.role,
        expires_ms: new.expires_ms,
        token,
    };
    show(out, args.common.format, &made, |out, made| {
        // To be written into a file as it is.
        writeln!(out, "{}", made.token)
    })
}

fn list(user: Option<&str>, common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let tokens = opened.access.tokens(user);
    let tokens = tokens.map_err(|error| audit::failed(&opened.config, error))?;
    let tokens: Vec<Listed> = tokens
        .into_iter()
        .map(|token| Listed {
            id: hex(&named(token.id)),
            user: token.user,
            name: token.name,
            role: token.rank,
            made_ms: token.made_ms,
            expires_ms: token.expires_ms,
            used_ms: token.used_ms,
        })
        .collect();
    let now_ms = time::now_ms();
    show(out, common.format, &tokens, |out, tokens| {
        writeln!(
            out,
            "{:<18}{:<10}{:<26}{:<26}USER: NAME",
            "ID", "ROLE", "LAST USED", "EXPIRES"
        )?;
        tokens.iter().try_for_each(|token| {
            let used = token.used_ms.map_or(String::from("never"), rfc3339);
            let expired = if token.expires_ms <= now_ms {
                "  expired"
            } else {
                ""
            };
            writeln!(
                out,
                "{:<18}{:<10}{used:<26}{:<26}{}: {}{expired}",
                token.id,
                token.role.name(),
                rfc3339(token.expires_ms),
                Shown(&token.user),
                Shown(&token.name)
            )
        })
    })
}

fn revoke(id: [u8; NAME_BYTES], common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let revoked = opened
        .access
        .revoke_token(id, None, &Actor::command(), time::now_ms());
    if !revoked.map_err(|error| audit::failed(&opened.config, error))? {
        return Err(Failure::from(anyhow!(
            "{}: there is no such token",
            hex(&id)
        )));
    }
    let done = serde_json::json!({ "id": hex(&id), "revoked": true });
    show(out, common.format, &done, |out, _| {
        writeln!(out, "{}: revoked", hex(&id))
    })
}
