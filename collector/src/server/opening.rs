//! Opens what the collector keeps: the store, and the databases beside it.

use std::sync::Arc;

use crate::access::{Access, Action, Actor, Entry, Error as AccessError};
use crate::alert::store::AlertStore;
use crate::config::Config;
use crate::exit::Failure;
use crate::stores::{self, Opened};
use crate::time;

/// Opens the store, and what waits in it for outputs.
pub(super) fn store(config: &Config) -> Result<Opened, Failure> {
    stores::open(config).map_err(|error| {
        let error = anyhow::Error::new(error).context(config.store.name());
        Failure::store(error)
    })
}

/// Opens the databases of credentials and of alerts.
pub(super) fn databases(config: &Config) -> Result<(Arc<Access>, Arc<AlertStore>), Failure> {
    Ok((Arc::new(access(config)?), alerts(config)?))
}

/// Opens the database of credentials, and writes down where the store is bounded otherwise than
/// before.
fn access(config: &Config) -> Result<Access, Failure> {
    let bounds = serde_json::json!({
        "retention_s": config.store.retention.as_secs(),
        "max_bytes": config.store.max_bytes,
        "audit_retention_s": config.auth.audit_retention.as_secs(),
    });
    let open = || {
        let access = Access::open(&config.auth.database, config.auth.audit_retention)?;
        let before = access.last(Action::RetentionChanged)?;
        let before = before.and_then(|record| record.after);
        if before.as_ref() != Some(&bounds) {
            let mut entry = Entry::new(Action::RetentionChanged, "store").after(bounds);
            entry.before = before;
            access.record(&Actor::collector(), entry, time::now_ms())?;
        }
        Ok(access)
    };
    open().map_err(|error: AccessError| {
        let path = config.auth.database.display().to_string();
        Failure::store(anyhow::Error::new(error).context(path))
    })
}

/// Opens the database of alerts.
fn alerts(config: &Config) -> Result<Arc<AlertStore>, Failure> {
    let path = &config.alerts.database;
    let opened = AlertStore::open(path, config.alerts.retention);
    let opened = opened.map_err(|error| {
        Failure::store(anyhow::Error::new(error).context(path.display().to_string()))
    })?;
    Ok(Arc::new(opened))
}
