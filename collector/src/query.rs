//! Questions to the store: read, join, document. Used by the API and by the commands alike.

use std::path::Path;

use crate::fleet::{Fleet, Host, RefusedCredential};
use crate::join;
use crate::store::{AHEAD_TOLERANCE_MS, Error, Reader, Window};
use crate::topology::Topology;

/// How far back a topology looks when no begin is given: what "now" means to an operator.
pub const DEFAULT_SPAN_MS: i64 = 3_600_000;

/// Begin and end of a window as they were asked for; Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Begin; by default an hour before the end.
    pub from_ms: Option<i64>,
    /// End; by default now.
    pub to_ms: Option<i64>,
}

impl Asked {
    /// The window that is meant.
    #[must_use]
    pub fn window(self, now_ms: i64) -> Window {
        let to_ms = self.to_ms.unwrap_or(now_ms);
        let from_ms = self
            .from_ms
            .unwrap_or(to_ms.saturating_sub(DEFAULT_SPAN_MS));
        Window { from_ms, to_ms }
    }
}

/// The topology of a window.
///
/// # Errors
/// Whatever the store reports.
pub fn topology(
    store: &Path,
    asked: Asked,
    now_ms: i64,
    max_rows: usize,
) -> Result<Topology, Error> {
    let window = asked.window(now_ms);
    let mut read = window;
    if asked.to_ms.is_none() {
        // "Until now" includes what hosts with a clock a little ahead have reported.
        read.to_ms = read.to_ms.saturating_add(AHEAD_TOLERANCE_MS);
    }
    let input = Reader::open(store)?.window(read, max_rows)?;
    Ok(join::topology(&input, window.from_ms, window.to_ms))
}

/// All hosts.
///
/// # Errors
/// Whatever the store reports.
pub fn fleet(store: &Path) -> Result<Fleet, Error> {
    let reader = Reader::open(store)?;
    let refused = reader.credentials(true)?;
    Ok(Fleet {
        hosts: reader.hosts()?.into_iter().map(Host::from).collect(),
        credentials_refused: refused.iter().filter_map(RefusedCredential::of).collect(),
    })
}
