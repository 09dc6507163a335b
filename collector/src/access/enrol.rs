//! Hosts that are enrolled: tokens that are used once, and the certificates that came of them.

use std::net::IpAddr;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};
use super::revoked::{NAME_BYTES, insert as insert_revoked, named};
use crate::auth::CredentialId;
use crate::authority::{self, Issued};
use crate::digest::{hex, sha256};

/// How long a token is remembered after it expired, to say so to who comes with it.
const REMEMBERED_MS: i64 = 30 * 86_400_000;

/// Begins every token for enrolment, so that one is known where it should not be.
pub const ENROL_PREFIX: &str = "wbe_";
/// For how long a token may be valid.
pub const ENROL_LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Why a host gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotEnrolled {
    /// Not a token that was made here for enrolment.
    #[error("the token is unknown: it was not made by `enroll token` of this collector")]
    Unknown,
    /// It was used as often as it may be.
    #[error("the token for {name:?} has been used")]
    Used {
        /// For which host.
        name: String,
    },
    /// It is too old.
    #[error("the token for {name:?} has expired")]
    Expired {
        /// For which host.
        name: String,
    },
    /// The request, or the authority.
    #[error(transparent)]
    Authority(#[from] authority::Error),
    /// The database.
    #[error(transparent)]
    Access(#[from] Error),
}

/// A token that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Invitation {
    /// For which host.
    pub name: String,
    /// What it shows, this once.
    pub token: String,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Its SHA-256.
    pub id: CredentialId,
    /// The host.
    pub name: String,
    /// When, Unix milliseconds.
    pub issued_ms: i64,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
}

/// What binds a host to a name under which it was enrolled, whatever its certificate is by now.
#[must_use]
pub fn identity(name: &str) -> CredentialId {
    CredentialId(sha256(format!("enrolled\0{name}").as_bytes()))
}

impl Access {
    /// Remembers a token by which hosts get certificates for a name, as often as `uses` says.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn invite(
        &self,
        invitation: &Invitation,
        uses: u32,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<(), Error> {
        let Invitation {
            name,
            token,
            expires_ms,
        } = invitation;
        let id = sha256(token.as_bytes());
        self.change(actor, now_ms, |db| {
            let made = || -> rusqlite::Result<()> {
                db.execute(
                    "DELETE FROM enrol_token WHERE expires_ms < ?1",
                    [now_ms.saturating_sub(REMEMBERED_MS)],
                )?;
                db.execute(
                    "INSERT INTO enrol_token (id, name, uses_left, made_ms, expires_ms, actor)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![id, name, uses, now_ms, expires_ms, actor.who],
                )
                .map(drop)
            };
            made().map_err(Error::write)?;
            let entry = Entry::new(Action::EnrolmentInvited, name.as_str()).after(json!({
                "token": hex(&id[..NAME_BYTES]), "uses": uses, "expires_ms": expires_ms
            }));
            Ok(((), vec![entry]))
        })
    }

    /// Gives a host its first certificate, which `issue` makes for the name that the token was made
    /// for; also that name.
    ///
    /// # Errors
    /// See [`NotEnrolled`]; the token can be used again then.
    pub fn enrol(
        &self,
        token: &str,
        issue: impl FnOnce(&str) -> Result<Issued, authority::Error>,
        source: Option<IpAddr>,
        now_ms: i64,
    ) -> Result<(String, Issued), NotEnrolled> {
        let id = sha256(token.as_bytes());
        let actor = Actor::remote("enrolment", &hex(&id[..NAME_BYTES]), source);
        self.change(&actor, now_ms, |db| {
            let found = invited(db, &id).map_err(Error::read)?;
            let (name, uses_left, expires_ms) = found.ok_or(NotEnrolled::Unknown)?;
            if uses_left == 0 {
                return Err(NotEnrolled::Used { name });
            }
            if now_ms >= expires_ms {
                return Err(NotEnrolled::Expired { name });
            }
            let issued = issue(&name)?;
            db.prepare_cached("UPDATE enrol_token SET uses_left = uses_left - 1 WHERE id = ?1")
                .and_then(|mut used| used.execute([id]))
                .map_err(Error::write)?;
            insert(db, &name, &issued, false).map_err(Error::write)?;
            let entry = entry(Action::EnrolmentDone, &name, &issued);
            Ok(((name, issued), vec![entry]))
        })
    }

    /// Gives a host its next certificate.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn renew(
        &self,
        name: &str,
        issued: &Issued,
        before: CredentialId,
        source: Option<IpAddr>,
        now_ms: i64,
    ) -> Result<(), Error> {
        let actor = Actor::remote("agent", name, source);
        self.change(&actor, now_ms, |db| {
            insert(db, name, issued, true).map_err(Error::write)?;
            let entry = entry(Action::EnrolmentRenewed, name, issued)
                .before(json!({ "certificate": before.to_string() }));
            Ok(((), vec![entry]))
        })
    }

    /// The name for which a certificate was issued here that has not expired.
    ///
    /// # Errors
    /// When the database cannot be read: nobody may be let in then.
    pub fn enrolled_name(&self, id: CredentialId, now_ms: i64) -> Result<Option<String>, Error> {
        self.ask(|db| {
            db.prepare_cached("SELECT name FROM enrolled WHERE id = ?1 AND expires_ms > ?2")?
                .query_row(params![id.0, now_ms], |row| row.get(0))
                .optional()
        })
    }

    /// Certificates that are valid, by name, the last of each name first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn enrolled(&self, now_ms: i64) -> Result<Vec<Enrolled>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT id, name, issued_ms, expires_ms FROM enrolled WHERE expires_ms > ?1
                 ORDER BY name, issued_ms DESC",
            )?
            .query_map([now_ms], |row| {
                Ok(Enrolled {
                    id: CredentialId(row.get(0)?),
                    name: row.get(1)?,
                    issued_ms: row.get(2)?,
                    expires_ms: row.get(3)?,
                })
            })?
            .collect()
        })
    }

    /// Every name for which there are certificates.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn enrolled_names(&self) -> Result<Vec<String>, Error> {
        self.ask(|db| {
            db.prepare_cached("SELECT DISTINCT name FROM enrolled ORDER BY name")?
                .query_map((), |row| row.get(0))?
                .collect()
        })
    }

    /// Revokes every certificate of a name, and what tokens for it are left; what names the
    /// certificates. `None` where nobody was enrolled or invited so.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn revoke_name(
        &self,
        name: &str,
        why: &str,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<Option<Vec<[u8; NAME_BYTES]>>, Error> {
        self.change(actor, now_ms, |db| {
            let mut entries = Vec::new();
            let mut revoke = || -> rusqlite::Result<_> {
                let void = db.execute(
                    "UPDATE enrol_token SET uses_left = 0 WHERE name = ?1 AND uses_left > 0",
                    [name],
                )?;
                if void > 0 {
                    let entry = Entry::new(Action::EnrolmentWithdrawn, name);
                    entries.push(entry.before(json!({ "tokens": void })));
                }
                let mut ids = Vec::new();
                let mut find = db.prepare("SELECT id FROM enrolled WHERE name = ?1")?;
                for id in find.query_map([name], |row| row.get(0))? {
                    let id = named(CredentialId(id?));
                    if insert_revoked(db, &id, Some(name), why, actor, now_ms)? {
                        let after = json!({ "why": why, "spoke_for": name });
                        entries.push(Entry::new(Action::CredentialRevoked, hex(&id)).after(after));
                    }
                    ids.push(id);
                }
                Ok((void > 0 || !ids.is_empty()).then_some(ids))
            };
            let ids = revoke().map_err(Error::write)?;
            Ok((ids, entries))
        })
    }
}

/// Name, uses that are left and end of a token.
fn invited(db: &Connection, id: &[u8; 32]) -> rusqlite::Result<Option<(String, u32, i64)>> {
    let fields = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    db.prepare_cached("SELECT name, uses_left, expires_ms FROM enrol_token WHERE id = ?1")?
        .query_row([id], fields)
        .optional()
}

fn insert(db: &Connection, name: &str, issued: &Issued, is_renewal: bool) -> rusqlite::Result<()> {
    // What has expired is refused by TLS; a while longer it is known by its name.
    db.prepare_cached("DELETE FROM enrolled WHERE expires_ms < ?1")?
        .execute([issued.issued_ms.saturating_sub(REMEMBERED_MS)])?;
    db.prepare_cached(
        "INSERT INTO enrolled (id, name, issued_ms, expires_ms, is_renewal)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        issued.id.0,
        name,
        issued.issued_ms,
        issued.expires_ms,
        is_renewal
    ])
    .map(drop)
}

fn entry(action: Action, name: &str, issued: &Issued) -> Entry {
    Entry::new(action, name).after(json!({
        "certificate": issued.id.to_string(), "expires_ms": issued.expires_ms
    }))
}
