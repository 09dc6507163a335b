//! What the operator wrote: every key optional, unknown keys refused, values in the types they
//! are written in. No defaults and no cross-checks here.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen: Listen,
    pub(super) auth: Auth,
    pub(super) enroll: Enroll,
    pub(super) store: Store,
    pub(super) limits: Limits,
    pub(super) fleet: Fleet,
    pub(super) outputs: BTreeMap<String, Output>,
    pub(super) alerts: Alerts,
    pub(super) log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    pub(super) address: Option<Text<SocketAddr>>,
    pub(super) cert_file: Option<Text<PathBuf>>,
    pub(super) key_file: Option<Text<PathBuf>>,
    pub(super) client_ca_file: Option<Text<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    pub(super) agent_token_file: Option<Text<PathBuf>>,
    pub(super) reader_token_file: Option<Text<PathBuf>>,
    pub(super) token_file: Option<Text<PathBuf>>,
    pub(super) reader_names: Vec<String>,
    pub(super) shared_names: Vec<String>,
    pub(super) database: Option<Text<PathBuf>>,
    pub(super) audit_retention: Option<Text<Duration>>,
    pub(super) session_idle: Option<Text<Duration>>,
    pub(super) session_lifetime: Option<Text<Duration>>,
    pub(super) proxy: Proxy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Proxy {
    pub(super) networks: Vec<String>,
    pub(super) certificate_names: Vec<String>,
    pub(super) user_header: Option<String>,
    pub(super) groups_header: Option<String>,
    pub(super) roles: BTreeMap<String, String>,
    pub(super) default_role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Enroll {
    pub(super) ca_cert_file: Option<Text<PathBuf>>,
    pub(super) ca_key_file: Option<Text<PathBuf>>,
    pub(super) lifetime: Option<Text<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    pub(super) path: Option<Text<PathBuf>>,
    pub(super) retention: Option<Text<Duration>>,
    pub(super) retention_minutes: Option<Text<Duration>>,
    pub(super) retention_hours: Option<Text<Duration>>,
    pub(super) max_bytes: Option<Text<Size>>,
    pub(super) outbox_bytes: Option<Text<Size>>,
    pub(super) kind: Option<String>,
    pub(super) clickhouse: Option<ClickHouse>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClickHouse {
    pub(super) urls: Vec<String>,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<Text<PathBuf>>,
    pub(super) ca_file: Option<Text<PathBuf>>,
    pub(super) cluster: Option<String>,
    pub(super) replicated: bool,
    pub(super) quorum: Option<Count>,
    pub(super) timeout: Option<Text<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) batch_bytes: Option<Text<Size>>,
    pub(super) batch_raw_bytes: Option<Text<Size>>,
    pub(super) batch_rows: Option<Count>,
    pub(super) batch_memory: Option<Text<Size>>,
    pub(super) concurrent_batches: Option<Count>,
    pub(super) body_memory: Option<Text<Size>>,
    pub(super) body_timeout: Option<Text<Duration>>,
    pub(super) connections: Option<Count>,
    pub(super) concurrent_queries: Option<Count>,
    pub(super) query_rows: Option<Count>,
    pub(super) query_memory: Option<Text<Size>>,
    pub(super) join_memory: Option<Text<Size>>,
    pub(super) hosts: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fleet {
    pub(super) signing_key_file: Option<Text<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Output {
    pub(super) kind: Option<String>,
    pub(super) tables: Option<Vec<String>>,
    pub(super) url: Option<String>,
    pub(super) brokers: Option<Vec<String>>,
    pub(super) topic: Option<String>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) timeout: Option<Text<Duration>>,
    pub(super) ca_file: Option<Text<PathBuf>>,
    pub(super) token_file: Option<Text<PathBuf>>,
    pub(super) client_cert_file: Option<Text<PathBuf>>,
    pub(super) client_key_file: Option<Text<PathBuf>>,
    pub(super) temporality: Option<String>,
    pub(super) max_series: Option<Count>,
    pub(super) path: Option<Text<PathBuf>>,
    pub(super) format: Option<String>,
    pub(super) max_bytes: Option<Text<Size>>,
    pub(super) max_age: Option<Text<Duration>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alerts {
    pub(super) database: Option<Text<PathBuf>>,
    pub(super) rules: Option<Text<PathBuf>>,
    pub(super) retention: Option<Text<Duration>>,
    pub(super) settle: Option<Text<Duration>>,
    pub(super) page_url: Option<String>,
    pub(super) outputs: BTreeMap<String, AlertOutput>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlertOutput {
    pub(super) kind: Option<String>,
    pub(super) least_severity: Option<String>,
    pub(super) language: Option<String>,
    pub(super) url: Option<String>,
    pub(super) timeout: Option<Text<Duration>>,
    pub(super) ca_file: Option<Text<PathBuf>>,
    pub(super) token_file: Option<Text<PathBuf>>,
    pub(super) client_cert_file: Option<Text<PathBuf>>,
    pub(super) client_key_file: Option<Text<PathBuf>>,
    pub(super) hmac_key_file: Option<Text<PathBuf>>,
    pub(super) every: Option<Text<Duration>>,
    pub(super) server: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<Text<PathBuf>>,
    pub(super) from: Option<String>,
    pub(super) to: Option<Vec<String>>,
    pub(super) path: Option<Text<PathBuf>>,
    pub(super) max_bytes: Option<Text<Size>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<Text<LevelFilter>>,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A whole number that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 1")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
        match u32::try_from(value) {
            Ok(count) if count > 0 => Ok(Count(count)),
            _ => Err(E::custom(format!("{value} is not a whole number from 1"))),
        }
    }
}

/// A value written as a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

/// What a string must look like to become `Self`.
pub(super) trait FromText: Sized {
    /// Completes "expected ...".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;
}

impl FromText for SocketAddr {
    const EXPECTED: &'static str = "an IP address and port such as \"0.0.0.0:9443\" or \
                                    \"[::]:9443\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for PathBuf {
    const EXPECTED: &'static str = "an absolute path";

    fn from_text(text: &str) -> Option<Self> {
        let path = Self::from(text);
        path.is_absolute().then_some(path)
    }
}

impl FromText for Duration {
    const EXPECTED: &'static str = notation::A_DURATION;

    fn from_text(text: &str) -> Option<Self> {
        notation::parse_duration(text).filter(|d| !d.is_zero())
    }
}

impl FromText for Size {
    const EXPECTED: &'static str = notation::A_SIZE;

    fn from_text(text: &str) -> Option<Self> {
        notation::parse_size(text).filter(|n| *n > 0).map(Self)
    }
}

impl FromText for LevelFilter {
    const EXPECTED: &'static str = "one of \"error\", \"warn\", \"info\", \"debug\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            _ => None,
        }
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(TextVisitor(PhantomData))
            .map(Self)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::custom(format!("{text:?} is not {}", T::EXPECTED)))
    }
}
