//! `GET /api/v1/settings`: how long what is kept, and what is bounded.

use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Form, Operation, form};

/// `GET /api/v1/settings`
pub const SETTINGS: Operation = Operation {
    method: "GET",
    path: "/api/v1/settings",
    id: "settings",
    summary: "How long what is kept, and what is bounded",
    help: "What the collector's configuration says; it is changed there alone.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Settings>),
    refusals: &[(400, "It takes no parameters")],
    answer: None,
};

/// What of the configuration is no secret.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Settings {
    /// Version of the collector.
    pub version: String,
    /// How long what is kept, milliseconds, and in how many bytes.
    pub keeping: Keeping,
    /// What is bounded.
    pub bounds: Bounds,
    /// Names of outputs to which batches go beside the store.
    pub outputs: Vec<String>,
}

/// `[store]` and `[auth]`, as far as they say how long.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Keeping {
    /// Data as agents sent them, milliseconds.
    pub rows_ms: i64,
    /// What was joined of each minute and of ten minutes, milliseconds.
    pub minutes_ms: i64,
    /// What was joined of each hour, milliseconds.
    pub hours_ms: i64,
    /// Bytes of the store; the oldest data make room for new ones.
    pub store_bytes: u64,
    /// Bytes of batches that wait for outputs.
    pub outbox_bytes: u64,
    /// Records of the audit log, milliseconds.
    pub audit_ms: i64,
    /// A session that nobody uses, milliseconds.
    pub session_idle_ms: i64,
    /// A session, however much it is used, milliseconds.
    pub session_ms: i64,
}

/// `[limits]`
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Bounds {
    /// Hosts known at once.
    pub hosts: u64,
    /// Connections open at once.
    pub connections: u64,
    /// Compressed bytes of one batch.
    pub batch_bytes: u64,
    /// Rows of one batch.
    pub batch_rows: u64,
    /// Questions answered at once.
    pub concurrent_queries: u64,
    /// Rows that one answer may be made from.
    pub query_rows: u64,
    /// Bytes of memory of all answers that are made at once.
    pub query_memory_bytes: u64,
    /// Bytes of memory for joining one slice of time.
    pub join_memory_bytes: u64,
}
