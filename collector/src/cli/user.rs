//! `user`: people who log in with a password. The first admin is made here.

use std::io::Write;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::login_link::{self, LinkArgs};
use super::output::show;
use super::people::{Common, Opened, name, rank};
use super::{audit, prompt};
use crate::access::{Actor, Change, Hashed, User, check_password, made_up_password};
use crate::escape::Shown;
use crate::exit::Failure;
use crate::rank::Rank;
use crate::time::{self, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; a password is made and shown this once, unless one is read
    Add {
        /// The name: letters, digits and . _ @ + -
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        /// What the user may do: viewer, operator or admin
        #[arg(long, value_name = "ROLE", default_value = "viewer", value_parser = rank)]
        role: Rank,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        common: Common,
    },
    /// Show all users
    List(Common),
    /// Give a user another role; its sessions end
    SetRole {
        /// The user
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        /// viewer, operator or admin
        #[arg(value_name = "ROLE", value_parser = rank)]
        role: Rank,
        #[command(flatten)]
        common: Common,
    },
    /// Let a user do nothing any more; its sessions end, also on connections that are open
    Disable {
        /// The user
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Let a user that was disabled in again
    Enable {
        /// The user
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Give a user another password, which is made and shown this once, unless one is read; its
    /// sessions end
    Passwd {
        /// The user
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a user with its sessions and tokens
    Remove {
        /// The user
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Make a link that logs a user in once, without a password
    LoginLink(LinkArgs),
}

/// Which password.
#[derive(Debug, Args)]
pub(super) struct Password {
    /// Read the password from standard input: a line of a pipe, or typed at a terminal
    #[arg(long)]
    password_stdin: bool,
}

/// What was done to a user.
#[derive(Debug, Serialize)]
struct Done {
    user: String,
    /// What was made and is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    sessions_ended: u32,
    tokens_revoked: u32,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    role: Rank,
    is_disabled: bool,
    made_ms: i64,
    password_ms: i64,
    login_ms: Option<i64>,
    sessions: u32,
    tokens: u32,
}

impl From<User> for Listed {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            role: user.rank,
            is_disabled: user.is_disabled,
            made_ms: user.made_ms,
            password_ms: user.password_ms,
            login_ms: user.login_ms,
            sessions: user.sessions,
            tokens: user.tokens,
        }
    }
}

/// Runs the command.
pub(super) fn run(command: UserCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let change = Change::default();
    match command {
        UserCommand::Add {
            name,
            role,
            password,
            common,
        } => add((&name, role), &password, &common, out),
        UserCommand::List(common) => list(&common, out),
        UserCommand::SetRole { name, role, common } => {
            let rank = Some(role);
            alter(&name, &Change { rank, ..change }, None, &common, out)
        }
        UserCommand::Disable { name, common } => {
            let is_disabled = Some(true);
            let to = Change {
                is_disabled,
                ..change
            };
            alter(&name, &to, None, &common, out)
        }
        UserCommand::Enable { name, common } => {
            let is_disabled = Some(false);
            let to = Change {
                is_disabled,
                ..change
            };
            alter(&name, &to, None, &common, out)
        }
        UserCommand::Passwd {
            name,
            password,
            common,
        } => {
            let (hashed, made) = kept(&name, &password)?;
            let password = Some(hashed);
            let to = Change { password, ..change };
            alter(&name, &to, made, &common, out)
        }
        UserCommand::Remove { name, common } => remove(name, &common, out),
        UserCommand::LoginLink(args) => login_link::run(&args, out),
    }
}

/// What is kept of the password, and the password where it was made here.
fn kept(name: &str, password: &Password) -> Result<(Hashed, Option<String>), Failure> {
    let failed = |error| Failure::from(anyhow::Error::new(error));
    if !password.password_stdin {
        let made = made_up_password().map_err(failed)?;
        return Ok((Hashed::of(&made).map_err(failed)?, Some(made)));
    }
    let given = prompt::password()?;
    check_password(&given, name).map_err(|why| Failure::usage(anyhow!(why)))?;
    Ok((Hashed::of(&given).map_err(failed)?, None))
}

fn add(
    (name, role): (&str, Rank),
    password: &Password,
    common: &Common,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let (hashed, made) = kept(name, password)?;
    let added = opened
        .access
        .add_user(name, role, &hashed, &Actor::command(), time::now_ms());
    added.map_err(|why| opened.failed(why, name))?;
    let done = Done {
        user: name.to_owned(),
        password: made,
        sessions_ended: 0,
        tokens_revoked: 0,
    };
    say(&done, common, out)
}

fn alter(
    name: &str,
    change: &Change,
    password: Option<String>,
    common: &Common,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let changed = opened
        .access
        .change_user(name, change, &Actor::command(), time::now_ms());
    let done = Done {
        user: name.to_owned(),
        password,
        sessions_ended: changed.map_err(|why| opened.failed(why, name))?,
        tokens_revoked: 0,
    };
    say(&done, common, out)
}

fn remove(name: String, common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let removed = opened
        .access
        .remove_user(&name, &Actor::command(), time::now_ms());
    let (sessions_ended, tokens_revoked) = removed.map_err(|why| opened.failed(why, &name))?;
    let done = Done {
        user: name,
        password: None,
        sessions_ended,
        tokens_revoked,
    };
    say(&done, common, out)
}

fn say(done: &Done, common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    show(out, common.format, done, |out, done| {
        match (&done.password, done.sessions_ended, done.tokens_revoked) {
            // To be written into a file as it is.
            (Some(password), ..) => writeln!(out, "{password}"),
            (None, 0, 0) => writeln!(out, "{}: done", done.user),
            (None, sessions, tokens) => writeln!(
                out,
                "{}: done; ended sessions: {sessions}, revoked tokens: {tokens}",
                done.user
            ),
        }
    })
}

fn list(common: &Common, out: &mut dyn Write) -> Result<(), Failure> {
    let opened = Opened::new(common)?;
    let idle_ms = time::whole_ms(opened.config.auth.session_idle);
    let users = opened.access.users(idle_ms, time::now_ms());
    let users = users.map_err(|error| audit::failed(&opened.config, error))?;
    let users: Vec<Listed> = users.into_iter().map(Listed::from).collect();
    show(out, common.format, &users, |out, users| {
        writeln!(
            out,
            "{:<10}{:<26}{:<10}{:<8}NAME",
            "ROLE", "LAST LOGIN", "SESSIONS", "TOKENS"
        )?;
        users.iter().try_for_each(|user| {
            let login = user.login_ms.map_or(String::from("never"), rfc3339);
            let disabled = if user.is_disabled { "  disabled" } else { "" };
            writeln!(
                out,
                "{:<10}{login:<26}{:<10}{:<8}{}{disabled}",
                user.role.name(),
                user.sessions,
                user.tokens,
                Shown(&user.name)
            )
        })
    })
}
