//! Credentials that are refused from now on, whatever else holds them for valid.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::actor::Actor;
use super::error::Error;
use super::gate::Access;
use super::record::{Action, Entry};
use crate::auth::CredentialId;
use crate::digest::hex;

/// Bytes of a credential's SHA-256 that name it.
pub const NAME_BYTES: usize = 8;

/// A credential that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What names it.
    pub id: [u8; NAME_BYTES],
    /// Since when, Unix milliseconds.
    pub at_ms: i64,
    /// By whom.
    pub actor: String,
    /// Why, in their words.
    pub why: String,
    /// The host it spoke for or the name it was enrolled for, where that was known.
    pub spoke_for: Option<String>,
}

/// What names a credential.
#[must_use]
pub fn named(id: CredentialId) -> [u8; NAME_BYTES] {
    id.0[..NAME_BYTES].try_into().expect("a part of it")
}

impl Access {
    /// Whether a credential is refused.
    ///
    /// # Errors
    /// When the database cannot be read: nobody may be let in then.
    pub fn is_revoked(&self, id: CredentialId) -> Result<bool, Error> {
        self.ask(|db| {
            db.prepare_cached("SELECT 1 FROM revoked WHERE id = ?1")?
                .query_row([named(id)], |_| Ok(()))
                .optional()
        })
        .map(|found| found.is_some())
    }

    /// Refuses credentials from now on, each with whom it spoke for where that is known; those that
    /// were refused before are left as they are. The number of those that were not.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn revoke(
        &self,
        ids: &[([u8; NAME_BYTES], Option<String>)],
        why: &str,
        actor: &Actor,
        now_ms: i64,
    ) -> Result<usize, Error> {
        self.change(actor, now_ms, |db| {
            let mut entries = Vec::new();
            for (id, spoke_for) in ids {
                let added = insert(db, id, spoke_for.as_deref(), why, actor, now_ms);
                if added.map_err(Error::write)? {
                    let after = json!({ "why": why, "spoke_for": spoke_for });
                    entries.push(Entry::new(Action::CredentialRevoked, hex(id)).after(after));
                }
            }
            Ok((entries.len(), entries))
        })
    }

    /// Takes a revocation back; false where there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reinstate(
        &self,
        id: [u8; NAME_BYTES],
        actor: &Actor,
        now_ms: i64,
    ) -> Result<bool, Error> {
        self.change(actor, now_ms, |db| {
            let was = db
                .prepare_cached(
                    "DELETE FROM revoked WHERE id = ?1 RETURNING id, at_ms, actor, why, spoke_for",
                )
                .and_then(|mut delete| delete.query_row([id], revocation).optional())
                .map_err(Error::write)?;
            let entry = was.as_ref().map(|was| {
                Entry::new(Action::CredentialReinstated, hex(&id))
                    .before(json!({ "revoked_by": was.actor, "why": was.why }))
            });
            Ok((was.is_some(), entry.into_iter().collect()))
        })
    }

    /// All that are refused, the last first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn revocations(&self) -> Result<Vec<Revocation>, Error> {
        self.ask(|db| {
            db.prepare_cached(
                "SELECT id, at_ms, actor, why, spoke_for FROM revoked ORDER BY at_ms DESC, id",
            )?
            .query_map((), revocation)?
            .collect()
        })
    }
}

pub(super) fn insert(
    db: &Connection,
    id: &[u8; NAME_BYTES],
    spoke_for: Option<&str>,
    why: &str,
    actor: &Actor,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "INSERT INTO revoked (id, at_ms, actor, why, spoke_for) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![id, now_ms, actor.who, why, spoke_for])
    .map(|rows| rows > 0)
}

fn revocation(row: &Row<'_>) -> rusqlite::Result<Revocation> {
    Ok(Revocation {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        why: row.get(3)?,
        spoke_for: row.get(4)?,
    })
}
