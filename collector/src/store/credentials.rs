//! Which host a credential speaks for: the first one of which a batch was taken under it.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::Error;
use super::reader::Reader;
use crate::auth::CredentialId;

/// Fewest digits that name a credential: so many that nobody else's begins so.
pub const MIN_DIGITS: usize = 16;
/// Most bindings that one answer lists.
const LISTED: u32 = 1000;

/// A credential and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The credential.
    pub id: CredentialId,
    /// The host for which it speaks.
    pub host: [u8; 16],
    /// Since when, Unix milliseconds.
    pub bound_ms: i64,
    /// Batches of other hosts that were refused under it.
    pub refused: u64,
    /// The last of these hosts, and when, Unix milliseconds.
    pub last_refused: Option<([u8; 16], i64)>,
}

/// Whether a batch of this host may be taken under the credential; counts it where not.
pub(super) fn admit(
    db: &Connection,
    id: CredentialId,
    host: &[u8; 16],
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let bound: Option<[u8; 16]> = db
        .prepare_cached("SELECT host FROM credential WHERE id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    if bound.is_none_or(|bound| bound == *host) {
        return Ok(true);
    }
    db.prepare_cached(
        "UPDATE credential SET refused = refused + 1, refused_host = ?2, refused_ms = ?3
         WHERE id = ?1",
    )?
    .execute(params![id.0, host, now_ms])?;
    Ok(false)
}

/// From now on the credential speaks for this host, unless it did so before.
pub(super) fn bind(
    db: &Connection,
    id: CredentialId,
    host: &[u8; 16],
    now_ms: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO credential (id, host, bound_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![id.0, host, now_ms])
    .map(drop)
}

/// Releases the credentials whose name begins so (at least [`MIN_DIGITS`] hexadecimal digits), or
/// that speak for the host of this id.
pub(super) fn release(db: &Connection, name: &str) -> rusqlite::Result<Vec<Binding>> {
    if name.len() < MIN_DIGITS {
        return Ok(Vec::new());
    }
    db.prepare(
        "DELETE FROM credential
         WHERE substr(lower(hex(id)), 1, length(?1)) = ?1 OR lower(hex(host)) = ?1
         RETURNING id, host, bound_ms, refused, refused_host, refused_ms",
    )?
    .query_map([name.to_ascii_lowercase()], binding)?
    .collect()
}

/// All of them.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Binding>> {
    db.prepare("SELECT id, host, bound_ms, refused, refused_host, refused_ms FROM credential")?
        .query_map((), binding)?
        .collect()
}

impl Reader {
    /// Credentials that are bound, those with refused batches first, the last refused first; at
    /// most a thousand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn credentials(&self, refused_only: bool) -> Result<Vec<Binding>, Error> {
        self.connection
            .prepare_cached(
                "SELECT id, host, bound_ms, refused, refused_host, refused_ms FROM credential
                 WHERE refused > 0 OR NOT ?1
                 ORDER BY refused_ms DESC, bound_ms DESC LIMIT ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![refused_only, LISTED], binding)?
                    .collect()
            })
            .map_err(|e| Error::sqlite("read", e))
    }
}

fn binding(row: &Row<'_>) -> rusqlite::Result<Binding> {
    let refused_host: Option<[u8; 16]> = row.get(4)?;
    let refused_ms: Option<i64> = row.get(5)?;
    Ok(Binding {
        id: CredentialId(row.get(0)?),
        host: row.get(1)?,
        bound_ms: row.get(2)?,
        refused: row.get::<_, i64>(3)?.unsigned_abs(),
        last_refused: refused_host.zip(refused_ms),
    })
}
