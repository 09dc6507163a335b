//! Where an answer comes from, and which window it is about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::output::load;
use crate::config::{self, Config, DEFAULT_PATH};
use crate::exit::Failure;
use crate::meter::Meter;
use crate::query::Asked;
use crate::remote::Remote;
use crate::store::Source as Site;
use crate::{store, stores, time};

/// Rows a topology may be made from when a store is asked without a configuration.
const STORE_QUERY_ROWS: usize = 2_000_000;

/// Where an answer comes from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Configuration file, for the path of the store
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with_all = ["store", "url"])]
    config: PathBuf,
    /// Store to read; also while `serve` writes to it
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    store: Option<PathBuf>,
    /// Collector to ask, https://<host>:<port>
    #[arg(long, value_name = "URL", requires = "ca_file")]
    url: Option<String>,
    /// Certificates that may vouch for it, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
    /// File with a bearer token for it
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Client certificate for it, PEM
    #[arg(long, value_name = "FILE", requires_all = ["url", "client_key_file"])]
    client_cert_file: Option<PathBuf>,
    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert_file")]
    client_key_file: Option<PathBuf>,
}

/// A failure of the store, or a question that is too large for it.
pub(super) fn failed(store: &dyn Site, error: store::Error) -> Failure {
    let too_large = matches!(error, store::Error::Exceeded(_));
    let error = anyhow::Error::new(error).context(store.name());
    if too_large {
        Failure::from(error)
    } else {
        Failure::store(error)
    }
}

/// Where a question is asked.
pub(super) enum Place {
    Remote(Remote),
    /// Also what an answer may take.
    Store(Arc<dyn Site>, Meter),
}

impl Source {
    /// The collector at `--url`, else the store.
    pub(super) fn place(self) -> Result<Place, Failure> {
        if let (Some(url), Some(ca_file)) = (self.url, self.ca_file) {
            return Ok(Place::Remote(Remote {
                url,
                ca_file,
                token_file: self.token_file,
                client: self.client_cert_file.zip(self.client_key_file),
            }));
        }
        let (store, meter) = store_of(self.store, &self.config)?;
        Ok(Place::Store(store, meter))
    }
}

/// The store that is named, or that of a configuration, and what an answer may take.
pub(super) fn store_of(
    store: Option<PathBuf>,
    config: &Path,
) -> Result<(Arc<dyn Site>, Meter), Failure> {
    if let Some(store) = store {
        let meter = Meter::new(STORE_QUERY_ROWS, config::DEFAULT_QUERY_MEMORY).for_parts();
        return Ok((Arc::new(store), meter));
    }
    let Config { store, limits, .. } = load(config)?;
    let source = stores::source(&store)
        .map_err(|error| Failure::store(anyhow::Error::new(error).context(store.name())))?;
    let meter = Meter::new(limits.query_rows, limits.query_memory).for_parts();
    Ok((source, meter))
}

/// The window that two options ask for.
pub(super) fn asked(from: Option<&str>, to: Option<&str>, now_ms: i64) -> Result<Asked, Failure> {
    let asked = Asked {
        from_ms: point("--from", from, now_ms)?,
        to_ms: point("--to", to, now_ms)?,
    };
    let ordered = asked.check_order(now_ms);
    ordered.map_err(|why| Failure::usage(anyhow::anyhow!("--from, --to: {why}")))?;
    Ok(asked)
}

fn point(option: &str, text: Option<&str>, now_ms: i64) -> Result<Option<i64>, Failure> {
    let parse = |text| {
        time::parse_point(text, now_ms)
            .map_err(|expected| Failure::usage(anyhow::anyhow!("{option} {text:?}: {expected}")))
    };
    text.map(parse).transpose()
}
