//! The store that is configured.

use std::sync::Arc;

use crate::clickhouse::Cluster;
use crate::config::{self, Config};
use crate::store::outbox::Outbox;
use crate::store::{Batches, Binding, Bounds, Error, SignedOrders, Source, Store};

/// Where questions go.
///
/// # Errors
/// When a server cannot be reached.
pub(crate) fn source(kept: &config::Store) -> Result<Arc<dyn Source>, Error> {
    Ok(match kept.servers() {
        Some(servers) => Arc::new(Cluster::open(servers)?),
        None => Arc::new(kept.path.clone()),
    })
}

/// One that batches go to.
pub(crate) struct Opened {
    pub(crate) batches: Box<dyn Batches>,
    pub(crate) source: Arc<dyn Source>,
    /// What waits in it for outputs.
    pub(crate) outbox: Arc<Outbox>,
}

/// Opens it, made or upgraded where that is needed.
///
/// # Errors
/// When it cannot be opened or reached, or is not ours.
pub(crate) fn open(config: &Config) -> Result<Opened, Error> {
    let bounds = Bounds::from(config);
    if let Some(servers) = config.store.servers() {
        let cluster = Cluster::open(servers)?;
        return Ok(Opened {
            batches: cluster.batches(bounds.hosts),
            source: Arc::new(cluster),
            outbox: Arc::new(Outbox::none()),
        });
    }
    let mut store = Store::open(&config.store.path, bounds)?;
    let outputs = config.outputs.iter();
    let names: Vec<String> = outputs.map(|output| output.name.clone()).collect();
    let outbox = store.keep_for(&names, config.store.outbox_bytes)?;
    Ok(Opened {
        batches: Box::new(store),
        source: Arc::new(config.store.path.clone()),
        outbox,
    })
}

/// Makes the next orders from the newest ones.
///
/// # Errors
/// Those of `change`, and when the store cannot be written.
pub(crate) fn change_orders<E: From<Error>>(
    config: &Config,
    change: impl FnOnce(Option<SignedOrders>) -> Result<SignedOrders, E>,
) -> Result<SignedOrders, E> {
    match config.store.servers() {
        Some(servers) => Cluster::open(servers)?.change_orders(change),
        None => Store::open(&config.store.path, Bounds::from(config))?.change_orders(change),
    }
}

/// As [`Store::release_credentials`].
///
/// # Errors
/// When the store cannot be written.
pub(crate) fn release_credentials(
    config: &Config,
    name: &str,
    now_ms: i64,
) -> Result<Vec<Binding>, Error> {
    match config.store.servers() {
        Some(servers) => Cluster::open(servers)?.release_credentials(name, now_ms),
        None => Store::open(&config.store.path, Bounds::from(config))?.release_credentials(name),
    }
}

/// Refuses what only a database can do.
///
/// # Errors
/// A sentence for people.
pub(crate) fn in_a_file(kept: &config::Store, what: &str) -> anyhow::Result<()> {
    match kept.servers() {
        Some(_) => anyhow::bail!("{what} needs store.kind = \"sqlite\""),
        None => Ok(()),
    }
}
