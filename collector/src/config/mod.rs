//! What the program needs: every value present and checked. No globals.
//!
//! Two stages: `raw` is what was written, [`Config`] is what is needed. All mistakes are reported,
//! each with the file, its line, the path of the key and what was expected there.

mod alerts;
#[cfg(test)]
mod alerts_tests;
mod auth;
mod http;
mod mistake;
#[cfg(test)]
mod mistake_tests;
mod outputs;
mod proxy;
mod raw;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use program::problems::{Problems, take_out, take_path};
use toml::de::DeTable;

pub use alerts::{AlertKind, AlertOutput, Alerts, Smtp, Tls};
pub use auth::{Auth, Enroll};
pub use http::Http;
use mistake::{Mistake, Mistakes, or, required, wrong};
pub use outputs::{File, Format, Kafka, Kind, Output, Scrape, Temporality};
pub use proxy::{Proxy, Says};
use raw::{Count, Size, Text};
pub use store::{ClickHouse, Kind as StoreKind, Store};

/// Where the configuration is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/waybill/collector.toml";

/// Bytes of memory for answers, unless set otherwise; also where a store is asked without a
/// configuration.
pub const DEFAULT_QUERY_MEMORY: usize = 192 << 20;

/// Bytes of memory for joining one slice of time, unless set otherwise: a minute of some 60,000 edges
/// and 300,000 connections that were kept.
const DEFAULT_JOIN_MEMORY: u64 = 256 << 20;

/// A mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read, expected a TOML file", .file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Keys or values are wrong: one line for each, with the file, the line, the path of the key,
    /// what is wrong and what was expected.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from, for messages about what it names.
    pub file: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// Who may send and who may ask.
    pub auth: Auth,
    /// The authority that signs certificates of agents; `None` where nobody is enrolled.
    pub enroll: Option<Enroll>,
    /// Where to keep what was received.
    pub store: Store,
    /// Bounds.
    pub limits: Limits,
    /// The key that signs orders, which only the command `fleet` reads.
    pub signing_key_file: Option<PathBuf>,
    /// Where batches go beside the store, by name.
    pub outputs: Vec<Output>,
    /// Alerts, and where they are told.
    pub alerts: Alerts,
    /// Least severe level that is logged.
    pub log_level: LevelFilter,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Server certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// CA of client certificates, PEM; `None` when only tokens are taken.
    pub client_ca_file: Option<PathBuf>,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes of one batch.
    pub batch_bytes: usize,
    /// Decompressed bytes of one batch.
    pub batch_raw_bytes: usize,
    /// Rows of one batch.
    pub batch_rows: usize,
    /// Bytes of memory of all batches that are decoded or stored at once.
    pub batch_memory: usize,
    /// Batches decoded or stored at once.
    pub concurrent_batches: usize,
    /// Bytes of bodies that have arrived and are not decoded yet, of all peers.
    pub body_memory: usize,
    /// Time a body may take to arrive.
    pub body_timeout: Duration,
    /// Connections open at once.
    pub connections: usize,
    /// Questions answered at once.
    pub concurrent_queries: usize,
    /// Rows one answer may be made from.
    pub query_rows: usize,
    /// Bytes of memory of all answers that are made at once.
    pub query_memory: usize,
    /// Bytes of memory for joining one slice of time, in its turn among large questions.
    pub join_memory: usize,
    /// Hosts known at once.
    pub hosts: usize,
}

impl Limits {
    /// The part that bounds the decoder.
    #[must_use]
    pub fn wire(&self) -> wire::Limits {
        wire::Limits {
            max_bytes: self.batch_bytes,
            max_raw_bytes: self.batch_raw_bytes,
            max_rows: self.batch_rows,
        }
    }
}

/// Reads and checks a configuration file. It does not open the files it names.
///
/// # Errors
/// All mistakes at once.
pub fn load(file: &Path) -> Result<Config, Error> {
    let text = crate::files::text(file).map_err(|source| Error::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    parse(file, &text)
}

/// Checks the text of a configuration file; `file` is only named in messages.
///
/// # Errors
/// All mistakes at once.
pub fn parse(file: &Path, text: &str) -> Result<Config, Error> {
    let mut problems = Problems::new(file.display().to_string(), text);
    let Some(mut document) = problems.document() else {
        return Err(Error::Wrong(problems.list));
    };
    // Keys about which something is said; what was made of the rest may only follow from them.
    let mut said: Vec<String> = Vec::new();
    // Whatever is wrong is taken out and the rest read again, so each round makes the document smaller.
    loop {
        let mut smaller = false;
        match read(document.clone()) {
            Err(Unread { at, path, message }) => {
                let taken = at.as_ref().and_then(|at| take_out(&mut document, at.start));
                smaller = taken.is_some();
                // A key that is unknown is named by the message, and the path is that of its table.
                let key = taken.unwrap_or(path);
                let place = problems.place(key.clone(), at.unwrap_or_default());
                problems.unread(&place, &message);
                said.push(key);
            }
            Ok(raw) => match validate(file, raw) {
                Ok(config) if problems.list.is_empty() => return Ok(config),
                Ok(_) => {}
                Err(mistakes) => {
                    for (key, message) in mistakes {
                        if said
                            .iter()
                            .any(|told| key == *told || message.contains(told))
                        {
                            continue;
                        }
                        match take_path(&mut document, &key) {
                            Some(at) => {
                                smaller = true;
                                problems.unusable(&problems.place(key.clone(), at), &message);
                            }
                            None => problems.about(&key, &message),
                        }
                        said.push(key);
                    }
                }
            },
        }
        if !smaller {
            return Err(Error::Wrong(problems.list));
        }
    }
}

/// Why a document is not what was expected: where in the text, at which path, and what was.
struct Unread {
    at: Option<Range<usize>>,
    path: String,
    message: String,
}

fn read(document: DeTable<'_>) -> Result<raw::File, Unread> {
    let document = toml::Deserializer::from(toml::Spanned::new(0..0, document));
    serde_path_to_error::deserialize(document).map_err(|error: serde_path_to_error::Error<_>| {
        let inner: &toml::de::Error = error.inner();
        Unread {
            at: inner.span(),
            path: error.path().to_string(),
            message: inner.message().to_owned(),
        }
    })
}

fn validate(file: &Path, raw: raw::File) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let has_ca = raw.listen.client_ca_file.is_some();
    let cert_file = mistakes.keep(required("listen.cert_file", raw.listen.cert_file));
    let key_file = mistakes.keep(required("listen.key_file", raw.listen.key_file));
    let kind = mistakes.keep(store::kind(raw.store.kind.as_deref()));
    let limits = mistakes.keep(limits(&raw.limits, kind));
    let clickhouse = store::clickhouse(kind, raw.store.clickhouse);
    let store = Store {
        path: or(
            raw.store.path,
            PathBuf::from("/var/lib/waybill-collector/collector.db"),
        ),
        retention: or(raw.store.retention, Duration::from_secs(30 * 86_400)),
        retention_minutes: or(raw.store.retention_minutes, Duration::from_secs(7 * 86_400)),
        retention_hours: or(raw.store.retention_hours, Duration::from_secs(400 * 86_400)),
        max_bytes: or(raw.store.max_bytes, Size(64 << 30)).0,
        outbox_bytes: or(raw.store.outbox_bytes, Size(1 << 30)).0,
        kind: kind.unwrap_or(store::Kind::Sqlite),
        clickhouse: mistakes.keep(clickhouse).flatten(),
    };
    if store.max_bytes < 16 << 20 {
        mistakes.add("store.max_bytes", "expected at least \"16MiB\"");
    }
    let has_outputs = !raw.outputs.is_empty();
    let outputs = outputs::validate(raw.outputs, &mut mistakes);
    if has_outputs && store.kind == store::Kind::ClickHouse {
        mistakes.add(
            "outputs",
            "expected none where store.kind is \"clickhouse\": what waits for them is in a database",
        );
    }
    if has_outputs && store.outbox_bytes > store.max_bytes / 2 {
        mistakes.add(
            "store.outbox_bytes",
            "expected at most half of store.max_bytes, of which it is a part",
        );
    }
    let alerts = alerts::validate(raw.alerts, &store.path, &mut mistakes);
    let enroll = mistakes.keep(auth::enroll(raw.enroll));
    let enrolls = enroll.as_ref().is_none_or(Option::is_some);
    let auth = mistakes.keep(auth::auth(raw.auth, &store.path, (has_ca, enrolls)));
    let checked = cert_file.zip(key_file).zip(limits).zip(enroll.zip(auth));
    let Some((((cert_file, key_file), limits), (enroll, auth))) = checked else {
        return Err(mistakes.0);
    };
    if !mistakes.0.is_empty() {
        return Err(mistakes.0);
    }
    Ok(Config {
        file: file.to_owned(),
        listen: Listen {
            address: or(
                raw.listen.address,
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9443)),
            ),
            cert_file,
            key_file,
            client_ca_file: raw.listen.client_ca_file.map(|Text(path)| path),
        },
        auth,
        enroll,
        store,
        limits,
        signing_key_file: raw.fleet.signing_key_file.map(|Text(path)| path),
        outputs,
        alerts,
        log_level: or(raw.log.level, LevelFilter::Info),
    })
}

fn limits(raw: &raw::Limits, kind: Option<store::Kind>) -> Result<Limits, Mistake> {
    let size = |key, value: &Option<Text<Size>>, default: u64, most: u64| {
        let bytes = value.as_ref().map_or(default, |Text(Size(n))| *n);
        match usize::try_from(bytes) {
            Ok(fits) if bytes <= most => Ok(fits),
            _ => wrong(key, format!("expected at most \"{}MiB\"", most >> 20)),
        }
    };
    let count = |key, value: Option<Count>, default: u32, most: u32| {
        let count = value.map_or(default, |Count(n)| n);
        match usize::try_from(count) {
            Ok(fits) if (1..=most).contains(&count) => Ok(fits),
            _ => wrong(key, format!("expected a whole number from 1 to {most}")),
        }
    };
    let limits = Limits {
        batch_bytes: size("limits.batch_bytes", &raw.batch_bytes, 8 << 20, 1 << 30)?,
        batch_raw_bytes: size(
            "limits.batch_raw_bytes",
            &raw.batch_raw_bytes,
            64 << 20,
            4 << 30,
        )?,
        batch_rows: count("limits.batch_rows", raw.batch_rows, 200_000, 10_000_000)?,
        batch_memory: size(
            "limits.batch_memory",
            &raw.batch_memory,
            128 << 20,
            64 << 30,
        )?,
        concurrent_batches: count(
            "limits.concurrent_batches",
            raw.concurrent_batches,
            kind.map_or(16, store::Kind::concurrent_batches),
            1024,
        )?,
        body_memory: size("limits.body_memory", &raw.body_memory, 64 << 20, 64 << 30)?,
        body_timeout: raw
            .body_timeout
            .as_ref()
            .map_or(Duration::from_secs(30), |Text(d)| *d),
        connections: count("limits.connections", raw.connections, 4096, 1_000_000)?,
        concurrent_queries: count("limits.concurrent_queries", raw.concurrent_queries, 4, 1024)?,
        query_rows: count(
            "limits.query_rows",
            raw.query_rows,
            2_000_000,
            1_000_000_000,
        )?,
        query_memory: size(
            "limits.query_memory",
            &raw.query_memory,
            u64::try_from(DEFAULT_QUERY_MEMORY).unwrap_or(u64::MAX),
            1 << 40,
        )?,
        join_memory: size(
            "limits.join_memory",
            &raw.join_memory,
            DEFAULT_JOIN_MEMORY,
            1 << 40,
        )?,
        hosts: count("limits.hosts", raw.hosts, 20_000, 1_000_000)?,
    };
    if limits.batch_raw_bytes < limits.batch_bytes {
        return wrong(
            "limits.batch_raw_bytes",
            "expected at least limits.batch_bytes, for it is the size after unpacking",
        );
    }
    if limits.body_memory / 2 < limits.batch_bytes {
        return wrong(
            "limits.body_memory",
            "expected at least twice limits.batch_bytes, for a peer gets half of it",
        );
    }
    Ok(limits)
}
