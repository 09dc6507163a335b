//! Which host a credential speaks for, and the orders of the fleet: lines that are written once, from
//! which every collector makes the same.

use std::collections::BTreeMap;

use super::cells::{Cells, Written};
use super::client::Server;
use super::tables::{CREDENTIAL, ORDERS, columns};
use crate::auth::CredentialId;
use crate::store::{Binding, Error, SignedOrders};

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Bound = 0,
    Refused = 1,
    Released = 2,
}

/// Writes a line.
pub(super) fn say(
    server: &Server,
    (id, host, said): (CredentialId, [u8; 16], Said),
    count: u64,
    now_ms: i64,
) -> Result<(), Error> {
    let mut row = Written::default();
    row.fixed(&id.0);
    row.fixed(&host);
    row.number(said as u64, 1);
    row.signed(now_ms);
    row.number(count, 8);
    let token = crate::digest::sha256(&row.0);
    server.insert(CREDENTIAL.0, &columns(&CREDENTIAL), &row.0, &token)
}

/// All bindings. Of two that are bound at once the earlier one counts, and then the lower host.
pub(super) fn bindings(server: &Server) -> Result<BTreeMap<[u8; 32], Binding>, Error> {
    let (database, table) = (&server.dialect.database, CREDENTIAL.0);
    let sql = format!(
        "SELECT DISTINCT id, host, kind, said_ms, count FROM `{database}`.{table}
         ORDER BY said_ms, kind = 1, id, host"
    );
    let rows = server.ask_small(&sql)?;
    let (mut cells, mut all) = (Cells(&rows), BTreeMap::<[u8; 32], Binding>::new());
    while !cells.is_empty() {
        let (id, host): ([u8; 32], [u8; 16]) = (cells.fixed()?, cells.fixed()?);
        let (kind, said_ms, count) = (cells.number(1)?, cells.signed()?, cells.number(8)?);
        if kind == Said::Released as u64 {
            all.remove(&id);
        } else if kind == Said::Bound as u64 {
            all.entry(id).or_insert(Binding {
                id: CredentialId(id),
                host,
                bound_ms: said_ms,
                refused: 0,
                last_refused: None,
            });
        } else if let Some(binding) = all.get_mut(&id) {
            binding.refused = binding.refused.saturating_add(count);
            binding.last_refused = Some((host, said_ms));
        }
    }
    Ok(all)
}

/// Writes orders.
pub(super) fn put_orders(server: &Server, orders: &SignedOrders) -> Result<(), Error> {
    let mut row = Written::default();
    row.number(orders.version, 8);
    row.signed(orders.made_ms);
    row.text(orders.body.as_bytes());
    row.fixed(&orders.signature);
    let token = crate::digest::sha256(&row.0);
    server.insert(ORDERS.0, &columns(&ORDERS), &row.0, &token)
}

/// The newest orders.
pub(super) fn newest_orders(server: &Server) -> Result<Option<SignedOrders>, Error> {
    let (database, columns) = (&server.dialect.database, columns(&ORDERS));
    let sql =
        format!("SELECT {columns} FROM `{database}`.orders ORDER BY version DESC, made_ms LIMIT 1");
    let rows = server.ask_small(&sql)?;
    let mut cells = Cells(&rows);
    if cells.is_empty() {
        return Ok(None);
    }
    Ok(Some(SignedOrders {
        version: cells.number(8)?,
        made_ms: cells.signed()?,
        body: cells.string()?,
        signature: cells.fixed()?,
    }))
}
