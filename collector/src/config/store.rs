//! `[store]`.

use std::path::PathBuf;
use std::time::Duration;

use super::mistake::{Mistake, or, wrong};
use super::raw::{self, Count, Text};

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The SQLite database.
    pub path: PathBuf,
    /// Age at which data are deleted.
    pub retention: Duration,
    /// The same of what was joined of each minute and of ten minutes.
    pub retention_minutes: Duration,
    /// The same of each hour.
    pub retention_hours: Duration,
    /// Size of the file; the oldest data make room for new ones.
    pub max_bytes: u64,
    /// Bytes of batches that wait for outputs.
    pub outbox_bytes: u64,
    /// Where rows are kept.
    pub kind: Kind,
    /// Servers to keep them on, or to copy them to; there where `kind` is [`Kind::ClickHouse`].
    pub clickhouse: Option<ClickHouse>,
}

/// Where rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the database at `path`.
    Sqlite,
    /// On servers.
    ClickHouse,
}

impl Kind {
    /// Batches that are decoded or stored at once, where nothing is configured: servers take each
    /// insertion at a price that hardly grows with its rows, so many share one.
    pub(super) fn concurrent_batches(self) -> u32 {
        match self {
            Self::Sqlite => 16,
            Self::ClickHouse => 256,
        }
    }
}

impl Store {
    /// The servers that keep the rows; `None` where the database does.
    #[must_use]
    pub fn servers(&self) -> Option<&ClickHouse> {
        let servers = self.clickhouse.as_ref();
        servers.filter(|_| self.kind == Kind::ClickHouse)
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self.servers() {
            Some(servers) => servers.name(),
            None => self.path.display().to_string(),
        }
    }
}

/// `[store.clickhouse]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickHouse {
    /// `http://` or `https://` address of each node.
    pub urls: Vec<String>,
    /// The database, which is made where it is not there.
    pub database: String,
    /// Who asks.
    pub user: String,
    /// Its password.
    pub password_file: Option<PathBuf>,
    /// Who may vouch for the nodes, PEM.
    pub ca_file: Option<PathBuf>,
    /// The cluster over which tables are spread, as the nodes' configuration calls it.
    pub cluster: Option<String>,
    /// Tables have replicas.
    pub replicated: bool,
    /// Replicas that have a batch before it is acknowledged.
    pub quorum: Option<u32>,
    /// Time for a statement and its answer.
    pub timeout: Duration,
}

impl ClickHouse {
    /// The nodes and the database, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.urls.join(","), self.database)
    }
}

/// What `store.kind` says.
pub(super) fn kind(raw: Option<&str>) -> Result<Kind, Mistake> {
    match raw {
        None | Some("sqlite") => Ok(Kind::Sqlite),
        Some("clickhouse") => Ok(Kind::ClickHouse),
        Some(_) => wrong("store.kind", "expected \"sqlite\" or \"clickhouse\""),
    }
}

/// What `store.clickhouse` says; a table without a key is none, unless it is needed.
pub(super) fn clickhouse(
    kind: Option<Kind>,
    raw: Option<raw::ClickHouse>,
) -> Result<Option<ClickHouse>, Mistake> {
    let raw = raw.unwrap_or_default();
    if raw == raw::ClickHouse::default() && kind != Some(Kind::ClickHouse) {
        return Ok(None);
    }
    let key = |name: &str| format!("store.clickhouse.{name}");
    let is_address = |url: &String| {
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '#', '?', '/']))
    };
    if raw.urls.is_empty() || !raw.urls.iter().all(is_address) {
        return wrong(
            key("urls"),
            "expected [\"https://<host>:<port>\", ...], each node of the cluster, without user or path",
        );
    }
    let in_clear = raw.urls.iter().any(|url| url.starts_with("http://"));
    if in_clear && raw.password_file.is_some() {
        return wrong(
            key("urls"),
            "expected https://, for credentials are not sent in the clear",
        );
    }
    if !in_clear && raw.ca_file.is_none() {
        return wrong(
            key("ca_file"),
            "missing, expected certificates that may vouch for the nodes, PEM",
        );
    }
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
    };
    let database = raw.database.unwrap_or_else(|| String::from("waybill"));
    if !is_name(&database) {
        return wrong(key("database"), "expected letters, digits and _");
    }
    if raw.cluster.as_deref().is_some_and(|name| !is_name(name)) {
        return wrong(key("cluster"), "expected letters, digits and _");
    }
    if raw.replicated && raw.cluster.is_none() {
        return wrong(
            key("replicated"),
            "expected a store.clickhouse.cluster beside it",
        );
    }
    if raw.quorum.is_some() && !raw.replicated {
        return wrong(
            key("quorum"),
            "expected store.clickhouse.replicated = true beside it",
        );
    }
    Ok(Some(ClickHouse {
        urls: raw.urls,
        database,
        user: raw.user.unwrap_or_else(|| String::from("default")),
        password_file: raw.password_file.map(|Text(path)| path),
        ca_file: raw.ca_file.map(|Text(path)| path),
        cluster: raw.cluster,
        replicated: raw.replicated,
        quorum: raw.quorum.map(|Count(n)| n),
        timeout: or(raw.timeout, Duration::from_secs(30)),
    }))
}
