//! Orders of the fleet, signed elsewhere, kept and handed out here; and the keys of exports.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::database::Store;
use super::error::Error;
use super::reader::Reader;

/// Versions that are kept, for whoever wants to know what was ordered when.
const KEPT: i64 = 1000;

/// Orders and their signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOrders {
    /// Version, as in the text.
    pub version: u64,
    /// When they were made, Unix milliseconds.
    pub made_ms: i64,
    /// The text; see [`wire::orders`].
    pub body: String,
    /// Ed25519 over the text.
    pub signature: [u8; 64],
}

impl Store {
    /// Makes the next version from the newest one, with nobody else in between. Also while another
    /// process writes batches to the same file: it waits for its turn.
    ///
    /// # Errors
    /// Those of `change`, and when the database cannot be written.
    pub fn change_orders<E: From<Error>>(
        &mut self,
        change: impl FnOnce(Option<SignedOrders>) -> Result<SignedOrders, E>,
    ) -> Result<SignedOrders, E> {
        let failed = |e| E::from(Error::sqlite("write to", e));
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let next = change(newest(&transaction).map_err(failed)?)?;
        transaction
            .execute(
                "INSERT INTO orders (version, made_ms, body, signature) VALUES (?1, ?2, ?3, ?4)",
                params![
                    next.version.cast_signed(),
                    next.made_ms,
                    next.body,
                    next.signature
                ],
            )
            .map_err(failed)?;
        transaction
            .execute(
                "DELETE FROM orders WHERE version NOT IN
                 (SELECT version FROM orders ORDER BY version DESC LIMIT ?1)",
                [KEPT],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(next)
    }

    /// The newest orders.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        newest(&self.connection).map_err(|e| Error::sqlite("read", e))
    }
}

impl Store {
    /// The key by which exports of a host are known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn export_key(&self, host: &[u8; 16]) -> Result<Option<[u8; 32]>, Error> {
        self.connection
            .query_row("SELECT key FROM exporter WHERE host = ?1", [host], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|e| Error::sqlite("read", e))
    }

    /// Knows exports of a host by this key from now on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn trust_exports(
        &mut self,
        host: &[u8; 16],
        key: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO exporter (host, key, trusted_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (host) DO UPDATE SET key = excluded.key,
                     trusted_ms = excluded.trusted_ms",
                params![host, key, now_ms],
            )
            .map(drop)
            .map_err(|e| Error::sqlite("write to", e))
    }
}

impl Reader {
    /// The newest orders.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        newest(&self.connection).map_err(|e| Error::sqlite("read", e))
    }
}

fn newest(db: &Connection) -> rusqlite::Result<Option<SignedOrders>> {
    db.prepare_cached(
        "SELECT version, made_ms, body, signature FROM orders ORDER BY version DESC LIMIT 1",
    )?
    .query_row((), |row| {
        Ok(SignedOrders {
            version: row.get::<_, i64>(0)?.unsigned_abs(),
            made_ms: row.get(1)?,
            body: row.get(2)?,
            signature: row.get(3)?,
        })
    })
    .optional()
}
