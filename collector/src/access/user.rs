//! Local users: people with a password.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::password::{Cost, Hashed};
use super::record::{Action, Entry};
use crate::rank::Rank;

/// Most users.
const MOST: u32 = 10_000;
/// Longest name, in bytes.
const NAME_BYTES: usize = 128;

/// Why a user is not as it was to be.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// There is none of that name.
    #[error("there is no such user")]
    Unknown,
    /// There is one of that name.
    #[error("there is a user of that name")]
    Exists,
    /// There are as many as there may be.
    #[error("there are as many as there may be ({0})")]
    TooMany(u32),
    /// What was asked for goes beyond the user's own role.
    #[error("the role of a token is at most that of its user, {}", .0.name())]
    Beyond(Rank),
    /// The database.
    #[error(transparent)]
    Access(#[from] Error),
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub rank: Rank,
    /// It may do nothing.
    pub is_disabled: bool,
    /// Since when there is this user, Unix milliseconds.
    pub made_ms: i64,
    /// Since when its password is this one, Unix milliseconds.
    pub password_ms: i64,
    /// When it last logged in, Unix milliseconds.
    pub login_ms: Option<i64>,
    /// Sessions that have not ended by themselves.
    pub sessions: u32,
    /// Tokens that are valid.
    pub tokens: u32,
}

/// What of a user is to change; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its role.
    pub rank: Option<Rank>,
    /// Whether it may do nothing.
    pub is_disabled: Option<bool>,
    /// What is kept of its password.
    pub password: Option<Hashed>,
}

/// A name of a user as it is kept: in small letters.
///
/// # Errors
/// What is expected.
pub fn user_name(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let begins = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && text.len() <= NAME_BYTES && text.bytes().all(fits) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(
        "expected a name of a user: up to 128 letters, digits and . _ @ + -, with a letter or digit first",
    )
}

impl Access {
    /// Adds a user.
    ///
    /// # Errors
    /// One of that name is there, there are too many, or the database cannot be written.
    pub fn add_user(
        &self,
        name: &str,
        rank: Rank,
        password: &Hashed,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<(), NotChanged> {
        self.change(actor, now_ms, |db| {
            if row(db, name).map_err(Error::read)?.is_some() {
                return Err(NotChanged::Exists);
            }
            let there: u32 = db
                .query_row("SELECT count(*) FROM user", (), |row| row.get(0))
                .map_err(Error::read)?;
            if there >= MOST {
                return Err(NotChanged::TooMany(MOST));
            }
            let Cost {
                memory_kib,
                passes,
                lanes,
            } = password.cost;
            db.prepare_cached(
                "INSERT INTO user (name, role, is_disabled, salt, hash, memory_kib, passes, lanes,
                                   made_ms, password_ms)
                 VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    name,
                    rank.name(),
                    password.salt,
                    password.hash,
                    memory_kib,
                    passes,
                    lanes,
                    now_ms
                ])
            })
            .map_err(Error::write)?;
            let entry = Entry::new(Action::UserAdded, name);
            Ok(((), vec![entry.after(json!({ "role": rank.name() }))]))
        })
    }

    /// Changes a user. Where that changes what it may do or by what it comes in, its sessions end, and
    /// what links there are to begin one; the number of sessions that ended.
    ///
    /// # Errors
    /// There is none of that name, or the database cannot be written.
    pub fn change_user(
        &self,
        name: &str,
        change: &Change,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<u32, NotChanged> {
        self.change(actor, now_ms, |db| {
            let (was, was_disabled) = row(db, name)
                .map_err(Error::read)?
                .ok_or(NotChanged::Unknown)?;
            let rank = change.rank.filter(|rank| *rank != was);
            let is_disabled = change.is_disabled.filter(|to| *to != was_disabled);
            if rank.is_none() && is_disabled.is_none() && change.password.is_none() {
                return Ok((0, Vec::new()));
            }
            let make = || -> rusqlite::Result<_> {
                if let Some(rank) = rank {
                    db.execute(
                        "UPDATE user SET role = ?2 WHERE name = ?1",
                        [name, rank.name()],
                    )?;
                }
                if let Some(to) = is_disabled {
                    db.execute(
                        "UPDATE user SET is_disabled = ?2 WHERE name = ?1",
                        params![name, to],
                    )?;
                }
                if let Some(password) = &change.password {
                    set_password(db, name, password, now_ms)?;
                }
                db.execute("DELETE FROM login_link WHERE user = ?1", [name])?;
                db.execute("DELETE FROM session WHERE user = ?1", [name])
            };
            let ended = count(make().map_err(Error::write)?);
            let mut entries = Vec::new();
            if let Some(rank) = rank {
                let entry = Entry::new(Action::UserRoleChanged, name);
                let entry = entry.before(json!({ "role": was.name() }));
                entries.push(entry.after(json!({ "role": rank.name(), "sessions_ended": ended })));
            }
            let after = || json!({ "sessions_ended": ended });
            let switched = match is_disabled {
                Some(true) => Some(Action::UserDisabled),
                Some(false) => Some(Action::UserEnabled),
                None => None,
            };
            let password = change.password.as_ref();
            let password = password.map(|_| Action::UserPasswordChanged);
            let others = switched.into_iter().chain(password);
            entries.extend(others.map(|action| Entry::new(action, name).after(after())));
            Ok((ended, entries))
        })
    }

    /// Removes a user with all that is its own; the number of sessions and of tokens.
    ///
    /// # Errors
    /// There is none of that name, or the database cannot be written.
    pub fn remove_user(
        &self,
        name: &str,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<(u32, u32), NotChanged> {
        self.change(actor, now_ms, |db| {
            let (was, _) = row(db, name)
                .map_err(Error::read)?
                .ok_or(NotChanged::Unknown)?;
            let remove = || -> rusqlite::Result<_> {
                let sessions = db.execute("DELETE FROM session WHERE user = ?1", [name])?;
                let tokens = db.execute("DELETE FROM user_token WHERE user = ?1", [name])?;
                db.execute("DELETE FROM user WHERE name = ?1", [name])?;
                Ok((count(sessions), count(tokens)))
            };
            let (sessions, tokens) = remove().map_err(Error::write)?;
            let entry = Entry::new(Action::UserRemoved, name)
                .before(json!({ "role": was.name() }))
                .after(json!({ "sessions_ended": sessions, "tokens_revoked": tokens }));
            Ok(((sessions, tokens), vec![entry]))
        })
    }

    /// What is kept of a user's password, and whether the user is disabled.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn password(&self, name: &str) -> Result<Option<(Hashed, bool)>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT salt, hash, memory_kib, passes, lanes, is_disabled FROM user WHERE name = ?1",
            )?
            .query_row([name], |row| {
                let cost = Cost {
                    memory_kib: row.get(2)?,
                    passes: row.get(3)?,
                    lanes: row.get(4)?,
                };
                let hashed = Hashed {
                    salt: row.get(0)?,
                    hash: row.get(1)?,
                    cost,
                };
                Ok((hashed, row.get(5)?))
            })
            .optional()
        })
    }

    /// Whether there is a user of this name that may do nothing, by whatever it comes in.
    ///
    /// # Errors
    /// When the database cannot be read: nobody may be let in then.
    pub fn is_disabled(&self, name: &str) -> Result<bool, Error> {
        self.ask(|db| Ok(row(db, name)?.is_some_and(|(_, is_disabled)| is_disabled)))
    }

    /// All users, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users(&self, idle_ms: i64, now_ms: i64) -> Result<Vec<User>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT name, role, is_disabled, made_ms, password_ms, login_ms,
                        (SELECT count(*) FROM session
                          WHERE user = name AND expires_ms > ?1 AND used_ms > ?2),
                        (SELECT count(*) FROM user_token
                          WHERE user = user.name AND expires_ms > ?1)
                 FROM user ORDER BY name",
            )?
            .query_map([now_ms, now_ms.saturating_sub(idle_ms)], |row| {
                Ok(User {
                    name: row.get(0)?,
                    rank: rank(row, 1)?,
                    is_disabled: row.get(2)?,
                    made_ms: row.get(3)?,
                    password_ms: row.get(4)?,
                    login_ms: row.get(5)?,
                    sessions: row.get(6)?,
                    tokens: row.get(7)?,
                })
            })?
            .collect()
        })
    }
}

fn set_password(db: &Connection, name: &str, to: &Hashed, now_ms: i64) -> rusqlite::Result<usize> {
    let Cost {
        memory_kib,
        passes,
        lanes,
    } = to.cost;
    db.execute(
        "UPDATE user SET salt = ?2, hash = ?3, memory_kib = ?4, passes = ?5, lanes = ?6,
                         password_ms = ?7
         WHERE name = ?1",
        params![name, to.salt, to.hash, memory_kib, passes, lanes, now_ms],
    )
}

/// A number of rows that is bounded.
fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// Role of a user, and whether it is disabled.
pub(super) fn row(db: &Connection, name: &str) -> rusqlite::Result<Option<(Rank, bool)>> {
    db.prepare_cached("SELECT role, is_disabled FROM user WHERE name = ?1")?
        .query_row([name], |row| Ok((rank(row, 0)?, row.get(1)?)))
        .optional()
}

/// A role in a column. What is none of the words is refused: nobody gets more than was meant.
pub(super) fn rank(row: &Row<'_>, at: usize) -> rusqlite::Result<Rank> {
    let word: String = row.get(at)?;
    Rank::of(&word).ok_or(rusqlite::Error::IntegralValueOutOfRange(at, 0))
}
