//! Who is logged in: sessions, and links that begin one.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};
use super::revoked::{NAME_BYTES, named};
use super::user::{NotChanged, rank, row};
use crate::auth::CredentialId;
use crate::digest::{hex, sha256};
use crate::rank::Rank;

/// Most sessions of one user: for one more the one that was used longest ago ends.
const OF_USER: u32 = 20;
/// Most sessions of all users, likewise.
const OF_ALL: u32 = 2000;
/// Most links of one user.
const LINKS: u32 = 20;

/// How a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By name and password.
    Password,
    /// By a link that was made for the user.
    Link,
}

impl Method {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Link => "link",
        }
    }
}

/// How long sessions go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// While nobody uses them, milliseconds.
    pub idle_ms: i64,
    /// However much they are used, milliseconds.
    pub longest_ms: i64,
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of what the browser has.
    pub id: CredentialId,
    /// Whose.
    pub user: String,
    /// What the user may do.
    pub rank: Rank,
    /// Since when, Unix milliseconds.
    pub begun_ms: i64,
    /// When it was last used, to the minute, Unix milliseconds.
    pub used_ms: i64,
    /// When it ends, however much it is used, Unix milliseconds.
    pub expires_ms: i64,
    /// From where it began.
    pub source: String,
    /// `password` or `link`.
    pub method: String,
}

const COLUMNS: &str = "SELECT session.id, user, role, begun_ms, used_ms, expires_ms, source, method
     FROM session JOIN user ON user.name = session.user
     WHERE expires_ms > ?1 AND used_ms > ?2 AND is_disabled = 0";

impl Access {
    /// Begins a session of a user, by this secret. `None` where there is no such user any more, or it
    /// is disabled.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_session(
        &self,
        (user, method): (&str, Method),
        secret: &str,
        lasting: Lasting,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<Option<Session>, Error> {
        self.change(actor, now_ms, |db| {
            begin(db, (user, method), secret, lasting, (actor, now_ms))
        })
    }

    /// Remembers a link that begins one session of a user.
    ///
    /// # Errors
    /// There is no such user or it is disabled, or the database cannot be written.
    pub fn make_link(
        &self,
        user: &str,
        secret: &str,
        expires_ms: i64,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<(), NotChanged> {
        self.change(actor, now_ms, |db| {
            let found = row(db, user).map_err(Error::read)?;
            if found.is_none_or(|(_, is_disabled)| is_disabled) {
                return Err(NotChanged::Unknown);
            }
            let make = || -> rusqlite::Result<u32> {
                db.execute("DELETE FROM login_link WHERE expires_ms <= ?1", [now_ms])?;
                let count = "SELECT count(*) FROM login_link WHERE user = ?1";
                let count: u32 = db.query_row(count, [user], |row| row.get(0))?;
                if count < LINKS {
                    db.execute(
                        "INSERT INTO login_link (id, user, expires_ms) VALUES (?1, ?2, ?3)",
                        params![sha256(secret.as_bytes()), user, expires_ms],
                    )?;
                }
                Ok(count)
            };
            if make().map_err(Error::write)? >= LINKS {
                return Err(NotChanged::TooMany(LINKS));
            }
            let entry = Entry::new(Action::LoginLinkMade, user);
            Ok(((), vec![entry.after(json!({ "expires_ms": expires_ms }))]))
        })
    }

    /// Begins a session by the secret of a link, which is of no use any more then. `None` where it is
    /// none, or too old, or its user is disabled. `actor` is made of the user's name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn follow_link(
        &self,
        link: &str,
        secret: &str,
        lasting: Lasting,
        actor: impl FnOnce(&str) -> Actor,
        now_ms: i64,
    ) -> Result<Option<Session>, Error> {
        let id = sha256(link.as_bytes());
        let user: Option<String> = self.ask(|db| {
            db.prepare_cached("SELECT user FROM login_link WHERE id = ?1 AND expires_ms > ?2")?
                .query_row(params![id, now_ms], |row| row.get(0))
                .optional()
        })?;
        let Some(user) = user else {
            return Ok(None);
        };
        let actor = actor(&user);
        self.change(&actor, now_ms, |db| {
            // Somebody else may have used it meanwhile.
            let used = db
                .prepare_cached("DELETE FROM login_link WHERE id = ?1")
                .and_then(|mut delete| delete.execute([id]))
                .map_err(Error::write)?;
            if used == 0 {
                return Ok((None, Vec::new()));
            }
            begin(db, (&user, Method::Link), secret, lasting, (&actor, now_ms))
        })
    }

    /// The session of this secret that goes on.
    ///
    /// # Errors
    /// When the database cannot be read: nobody may be let in then.
    pub fn session(
        &self,
        secret: &str,
        idle_ms: i64,
        now_ms: i64,
    ) -> Result<Option<Session>, Error> {
        let id = sha256(secret.as_bytes());
        self.ask(|db| {
            db.prepare_cached(&format!("{COLUMNS} AND session.id = ?3"))?
                .query_row(params![now_ms, now_ms.saturating_sub(idle_ms), id], session)
                .optional()
        })
    }

    /// Remembers that a session is used now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn use_session(&self, id: CredentialId, now_ms: i64) -> Result<(), Error> {
        self.note(|db| {
            db.prepare_cached("UPDATE session SET used_ms = max(used_ms, ?2) WHERE id = ?1")?
                .execute(params![id.0, now_ms])
                .map(drop)
        })
    }

    /// Sessions that go on, of one user or of all, the last begun first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sessions(
        &self,
        of: Option<&str>,
        idle_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Session>, Error> {
        self.ask(|db| {
            db.prepare_cached(&format!(
                "{COLUMNS} AND (?3 IS NULL OR user = ?3) ORDER BY begun_ms DESC, session.id"
            ))?
            .query_map(params![now_ms, now_ms.saturating_sub(idle_ms), of], session)?
            .collect()
        })
    }

    /// Ends the session that is named so, of this user alone where one is given; false where there
    /// is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end_session(
        &self,
        name: [u8; NAME_BYTES],
        of: Option<&str>,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<bool, Error> {
        self.change(actor, now_ms, |db| {
            let user: Option<String> = db
                .prepare_cached(
                    "DELETE FROM session WHERE substr(id, 1, 8) = ?1 AND (?2 IS NULL OR user = ?2)
                     RETURNING user",
                )
                .and_then(|mut delete| {
                    let user = |row: &Row<'_>| row.get(0);
                    delete.query_row(params![name, of], user).optional()
                })
                .map_err(Error::write)?;
            let entry = user.as_ref().map(|user| {
                Entry::new(Action::SessionEnded, user.as_str())
                    .before(json!({ "session": hex(&name) }))
            });
            Ok((user.is_some(), entry.into_iter().collect()))
        })
    }
}

fn begin(
    db: &Connection,
    (user, method): (&str, Method),
    secret: &str,
    lasting: Lasting,
    (actor, now_ms): (&Actor, i64),
) -> Result<(Option<Session>, Vec<Entry>), Error> {
    let Some((rank, false)) = row(db, user).map_err(Error::read)? else {
        return Ok((None, Vec::new()));
    };
    let session = Session {
        id: CredentialId(sha256(secret.as_bytes())),
        user: user.to_owned(),
        rank,
        begun_ms: now_ms,
        used_ms: now_ms,
        expires_ms: now_ms.saturating_add(lasting.longest_ms),
        source: actor.source.clone(),
        method: method.name().to_owned(),
    };
    let displaced = make_room(db, user, lasting.idle_ms, now_ms)
        .and_then(|displaced| insert(db, &session).map(|()| displaced))
        .map_err(Error::write)?;
    let name = hex(&named(session.id));
    let entry = Entry::new(Action::SessionBegun, user).after(json!({
        "session": name, "by": method.name(), "expires_ms": session.expires_ms,
        "displaced": displaced,
    }));
    Ok((Some(session), vec![entry]))
}

/// Deletes what has ended by itself, and what is too much for one more; the number of the latter.
fn make_room(db: &Connection, user: &str, idle_ms: i64, now_ms: i64) -> rusqlite::Result<usize> {
    db.execute(
        "DELETE FROM session WHERE expires_ms <= ?1 OR used_ms <= ?2",
        [now_ms, now_ms.saturating_sub(idle_ms)],
    )?;
    let own = db.execute(
        "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE user = ?1
         ORDER BY used_ms DESC, id LIMIT -1 OFFSET ?2)",
        params![user, OF_USER - 1],
    )?;
    let others = db.execute(
        "DELETE FROM session WHERE id IN (SELECT id FROM session
         ORDER BY used_ms DESC, id LIMIT -1 OFFSET ?1)",
        [OF_ALL - 1],
    )?;
    Ok(own + others)
}

fn insert(db: &Connection, session: &Session) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO session (id, user, begun_ms, used_ms, expires_ms, source, method)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            session.id.0,
            session.user,
            session.begun_ms,
            session.used_ms,
            session.expires_ms,
            session.source,
            session.method
        ],
    )?;
    db.execute(
        "UPDATE user SET login_ms = ?2 WHERE name = ?1",
        params![session.user, session.begun_ms],
    )
    .map(drop)
}

fn session(found: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: CredentialId(found.get(0)?),
        user: found.get(1)?,
        rank: rank(found, 2)?,
        begun_ms: found.get(3)?,
        used_ms: found.get(4)?,
        expires_ms: found.get(5)?,
        source: found.get(6)?,
        method: found.get(7)?,
    })
}
