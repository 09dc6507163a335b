//! Whose database a file is, and the steps from an older schema to this agent's.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::types::Error;

/// `WBLS`, in the file's header: `file` and this agent recognise a spool by it.
pub(super) const APPLICATION_ID: i32 = 0x5742_4c53;

/// Step `n` leads from schema `n` to `n + 1`. Released steps are never changed, only added to.
const STEPS: &[&str] = &[include_str!("schema.sql"), include_str!("exported.sql")];

/// Schema version of this agent.
pub(super) fn current() -> i32 {
    i32::try_from(STEPS.len()).expect("there are fewer than two billion steps")
}

/// Makes an empty file a spool and brings an older spool up to date; both or nothing.
pub(super) fn run(conn: &mut Connection, path: &Path) -> Result<(), Error> {
    let mut found = check(conn, path)?;
    if found == current() {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(step)?;
        found += 1;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", found)?;
    tx.commit()?;
    Ok(())
}

/// Schema version of the file; refuses what is not a spool, or one from the future.
pub(super) fn check(conn: &Connection, path: &Path) -> Result<i32, Error> {
    let application_id: i32 = conn.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let found: i32 = conn.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application_id != APPLICATION_ID && (application_id != 0 || tables != 0) {
        return Err(Error::Foreign {
            path: path.to_owned(),
            application_id,
        });
    }
    if found > current() || found < 0 {
        return Err(Error::Newer {
            found,
            known: current(),
        });
    }
    Ok(found)
}
