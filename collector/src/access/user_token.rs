//! Tokens with which programs ask in the name of a user.

use rusqlite::{OptionalExtension as _, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};
use super::revoked::NAME_BYTES;
use super::user::{NotChanged, rank, row};
use crate::auth::CredentialId;
use crate::digest::{hex, sha256};
use crate::rank::Rank;

/// Begins every token of a user, so that one is known where it should not be.
pub const TOKEN_PREFIX: &str = "wbu_";
/// Most tokens of one user.
const OF_USER: u32 = 100;
/// How long one is listed after it expired.
const LISTED_MS: i64 = 30 * 86_400_000;

/// A token of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// SHA-256 of it.
    pub id: CredentialId,
    /// Whose.
    pub user: String,
    /// What it is for, in the user's words.
    pub name: String,
    /// What it may do: the least of what it was made for and what the user may.
    pub rank: Rank,
    /// Since when, Unix milliseconds.
    pub made_ms: i64,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
    /// When it was last used, to the minute, Unix milliseconds.
    pub used_ms: Option<i64>,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// Whose.
    pub user: &'a str,
    /// What it is for.
    pub name: &'a str,
    /// What it may do.
    pub rank: Rank,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
}

const COLUMNS: &str = "SELECT user_token.id, user, user_token.name, user_token.role, user.role,
            user_token.made_ms, expires_ms, used_ms
     FROM user_token JOIN user ON user.name = user_token.user";

/// A name of a token.
///
/// # Errors
/// What is expected.
pub fn token_name(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let fits = fits && text.len() <= 256;
    fits.then(|| text.to_owned())
        .ok_or("expected a name of a token: up to 64 characters that say what it is for")
}

impl Access {
    /// Makes a token of a user, which is this secret.
    ///
    /// # Errors
    /// There is no such user, it may less than the token, or it has one of that name or too many; or
    /// the database cannot be written.
    pub fn add_token(
        &self,
        new: &NewToken<'_>,
        secret: &str,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<(), NotChanged> {
        let id = sha256(secret.as_bytes());
        self.change(actor, now_ms, |db| {
            let found = row(db, new.user).map_err(Error::read)?;
            let (rank, _) = found.ok_or(NotChanged::Unknown)?;
            if new.rank > rank {
                return Err(NotChanged::Beyond(rank));
            }
            let make = || -> rusqlite::Result<_> {
                db.execute(
                    "DELETE FROM user_token WHERE expires_ms < ?1",
                    [now_ms.saturating_sub(LISTED_MS)],
                )?;
                let count = "SELECT count(*) FROM user_token WHERE user = ?1";
                let count: u32 = db.query_row(count, [new.user], |row| row.get(0))?;
                if count >= OF_USER {
                    return Ok((count, 0));
                }
                let made = db.execute(
                    "INSERT INTO user_token (id, user, name, role, made_ms, expires_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (user, name) DO NOTHING",
                    params![
                        id,
                        new.user,
                        new.name,
                        new.rank.name(),
                        now_ms,
                        new.expires_ms
                    ],
                )?;
                Ok((count, made))
            };
            match make().map_err(Error::write)? {
                (OF_USER.., _) => return Err(NotChanged::TooMany(OF_USER)),
                (_, 0) => return Err(NotChanged::Exists),
                _ => {}
            }
            let entry = Entry::new(Action::TokenMade, new.user).after(json!({
                "token": hex(&id[..NAME_BYTES]), "name": new.name, "role": new.rank.name(),
                "expires_ms": new.expires_ms,
            }));
            Ok(((), vec![entry]))
        })
    }

    /// The token of a user that this is, if it is one that is valid and the user not disabled.
    ///
    /// # Errors
    /// When the database cannot be read: nobody may be let in then.
    pub fn user_token(&self, secret: &str, now_ms: i64) -> Result<Option<UserToken>, Error> {
        if !secret.starts_with(TOKEN_PREFIX) {
            return Ok(None);
        }
        let id = sha256(secret.as_bytes());
        self.ask(|db| {
            db.prepare_cached(&format!(
                "{COLUMNS} WHERE user_token.id = ?1 AND expires_ms > ?2 AND is_disabled = 0"
            ))?
            .query_row(params![id, now_ms], token)
            .optional()
        })
    }

    /// Remembers that a token is used now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn use_token(&self, id: CredentialId, now_ms: i64) -> Result<(), Error> {
        self.note(|db| {
            db.prepare_cached("UPDATE user_token SET used_ms = ?2 WHERE id = ?1")?
                .execute(params![id.0, now_ms])
                .map(drop)
        })
    }

    /// Tokens of one user or of all, by user and name; also those that expired of late.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tokens(&self, of: Option<&str>) -> Result<Vec<UserToken>, Error> {
        self.ask(|db| {
            db.prepare_cached(&format!(
                "{COLUMNS} WHERE ?1 IS NULL OR user = ?1 ORDER BY user, user_token.name"
            ))?
            .query_map([of], token)?
            .collect()
        })
    }

    /// Revokes the token that is named so, of this user alone where one is given; false where there is
    /// none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn revoke_token(
        &self,
        id: [u8; NAME_BYTES],
        of: Option<&str>,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<bool, Error> {
        self.change(actor, now_ms, |db| {
            let find = "SELECT user, name, id FROM user_token
                        WHERE substr(id, 1, 8) = ?1 AND (?2 IS NULL OR user = ?2)";
            let found: Option<(String, String, [u8; 32])> = db
                .query_row(find, params![id, of], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
                .map_err(Error::read)?;
            let Some((user, name, whole)) = found else {
                return Ok((false, Vec::new()));
            };
            db.execute("DELETE FROM user_token WHERE id = ?1", [whole])
                .map_err(Error::write)?;
            let entry = Entry::new(Action::TokenRevoked, user)
                .before(json!({ "token": hex(&id), "name": name }));
            Ok((true, vec![entry]))
        })
    }
}

fn token(found: &rusqlite::Row<'_>) -> rusqlite::Result<UserToken> {
    Ok(UserToken {
        id: CredentialId(found.get(0)?),
        user: found.get(1)?,
        name: found.get(2)?,
        rank: rank(found, 3)?.min(rank(found, 4)?),
        made_ms: found.get(5)?,
        expires_ms: found.get(6)?,
        used_ms: found.get(7)?,
    })
}
