//! `[outputs.NAME]`: where batches go beside the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::http::{Http, Reached, client, http};
use super::mistake::{Mistake, Mistakes, wrong};
use super::raw::{self, Count, Size, Text};

/// Most outputs: each has a thread, and a batch is read once for each.
const MOST: usize = 16;
/// Labels of what a scrape shows, unless set otherwise.
const LABELS: [&str; 4] = ["host", "hostname", "service", "role"];
/// Most bytes of a name, which is part of metrics and of names of files.
const NAME_BYTES: usize = 32;

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// `[a-z0-9_-]`.
    pub name: String,
    /// Tables whose rows it gets; all where there is none.
    pub tables: Vec<String>,
    /// What it is.
    pub kind: Kind,
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Prometheus remote write, version 1.
    RemoteWrite(Http),
    /// OTLP over HTTP.
    Otlp(Http, Temporality),
    /// Files in a directory.
    File(File),
    /// Topics of a Kafka cluster.
    Kafka(Kafka),
    /// `GET /metrics` of the collector.
    Prometheus(Scrape),
}

/// What a scrape shows of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// Labels that series have; what differs in others is added up.
    pub labels: Vec<String>,
    /// Series that are shown; what follows is added to those for the rest.
    pub max_series: usize,
}

/// A cluster of Kafka brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port` of brokers that are asked first.
    pub brokers: Vec<String>,
    /// The topic; `{table}` in it is the name of a table.
    pub topic: String,
    /// Time for a request and its answer.
    pub timeout: Duration,
    /// Who may vouch for brokers, PEM; without one there is no TLS.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What points of OTLP sums and histograms tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// What an interval added.
    Delta,
    /// Everything since the collector knows the series.
    Cumulative,
}

/// A directory for files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The directory.
    pub path: PathBuf,
    /// What is in them.
    pub format: Format,
    /// Bytes after which a file is complete.
    pub max_bytes: u64,
    /// Age at which a file is complete.
    pub max_age: Duration,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object per line.
    Json,
    /// Apache Arrow IPC.
    Arrow,
}

/// The outputs that are right.
pub(super) fn validate(raw: BTreeMap<String, raw::Output>, mistakes: &mut Mistakes) -> Vec<Output> {
    if raw.len() > MOST {
        mistakes.add("outputs", &format!("expected at most {MOST}"));
    }
    let output = |(name, raw): (String, raw::Output)| {
        let key = |key: &str| format!("outputs.{name}.{key}");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(fits) {
            let message = format!("expected a name of 1 to {NAME_BYTES} of a-z, 0-9, _ and -");
            return wrong(format!("outputs.{name}"), message);
        }
        let tables = raw.tables.clone().unwrap_or_default();
        if raw.tables.is_some() && tables.is_empty() {
            return wrong(
                key("tables"),
                "expected names of tables, or none of this key",
            );
        }
        let taken = Taken {
            raw: &raw,
            key: &key,
        };
        Ok(Output {
            kind: taken.kind()?,
            tables,
            name: name.clone(),
        })
    };
    let kept = raw.into_iter().filter_map(|one| mistakes.keep(output(one)));
    let kept: Vec<Output> = kept.collect();
    // Both would have series of the same names.
    let is_scraped = |one: &&Output| matches!(one.kind, Kind::Prometheus(_));
    if let Some(second) = kept.iter().filter(is_scraped).nth(1) {
        let key = format!("outputs.{}.kind", second.name);
        mistakes.add(&key, "expected at most one output of kind \"prometheus\"");
    }
    kept
}

/// The keys of one output, each of which belongs to some kinds.
struct Taken<'a> {
    raw: &'a raw::Output,
    key: &'a dyn Fn(&str) -> String,
}

impl Taken<'_> {
    fn kind(&self) -> Result<Kind, Mistake> {
        const HTTP: [&str; 7] = [
            "url",
            "token_file",
            "max_series",
            "timeout",
            "ca_file",
            "client_cert_file",
            "client_key_file",
        ];
        const FILE: [&str; 4] = ["path", "format", "max_bytes", "max_age"];
        let kind = self.raw.kind.as_deref().unwrap_or_default();
        match kind {
            "remote_write" => {
                self.only(kind, &HTTP)?;
                Ok(Kind::RemoteWrite(self.http()?))
            }
            "otlp" => {
                self.only(kind, &[&HTTP[..], &["temporality"]].concat())?;
                let temporality = match self.raw.temporality.as_deref() {
                    None | Some("delta") => Temporality::Delta,
                    Some("cumulative") => Temporality::Cumulative,
                    Some(_) => {
                        return wrong(
                            (self.key)("temporality"),
                            "expected \"delta\" or \"cumulative\"",
                        );
                    }
                };
                Ok(Kind::Otlp(self.http()?, temporality))
            }
            "file" => {
                self.only(kind, &FILE)?;
                self.file()
            }
            "kafka" => {
                self.only(kind, &[&HTTP[3..], &["brokers", "topic"]].concat())?;
                self.kafka()
            }
            "prometheus" => {
                self.only(kind, &["labels", "max_series"])?;
                self.scrape()
            }
            _ => wrong(
                (self.key)("kind"),
                "expected \"remote_write\", \"otlp\", \"kafka\", \"prometheus\" or \"file\"",
            ),
        }
    }

    /// Refuses keys that this kind has no use for.
    fn only(&self, kind: &str, keys: &[&str]) -> Result<(), Mistake> {
        let raw = self.raw;
        let set = [
            ("url", raw.url.is_some()),
            ("brokers", raw.brokers.is_some()),
            ("topic", raw.topic.is_some()),
            ("labels", raw.labels.is_some()),
            ("timeout", raw.timeout.is_some()),
            ("ca_file", raw.ca_file.is_some()),
            ("token_file", raw.token_file.is_some()),
            ("client_cert_file", raw.client_cert_file.is_some()),
            ("client_key_file", raw.client_key_file.is_some()),
            ("temporality", raw.temporality.is_some()),
            ("max_series", raw.max_series.is_some()),
            ("path", raw.path.is_some()),
            ("format", raw.format.is_some()),
            ("max_bytes", raw.max_bytes.is_some()),
            ("max_age", raw.max_age.is_some()),
        ];
        match set
            .into_iter()
            .find(|(key, set)| *set && !keys.contains(key))
        {
            Some((key, _)) => wrong(
                (self.key)(key),
                format!("an output of kind \"{kind}\" has no such key"),
            ),
            None => Ok(()),
        }
    }

    fn path(value: &Option<Text<PathBuf>>) -> Option<PathBuf> {
        value.as_ref().map(|Text(path)| path.clone())
    }

    fn missing<T>(&self, key: &str, expected: &str) -> Result<T, Mistake> {
        wrong((self.key)(key), format!("missing, expected {expected}"))
    }

    fn max_series(&self, default: u32) -> usize {
        let most = self.raw.max_series.map_or(default, |Count(most)| most);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    fn timeout(&self) -> Duration {
        let timeout = self.raw.timeout.as_ref();
        timeout.map_or(Duration::from_secs(10), |Text(timeout)| *timeout)
    }

    fn client(&self) -> Result<Option<(PathBuf, PathBuf)>, Mistake> {
        let raw = self.raw;
        let pair = (
            Self::path(&raw.client_cert_file),
            Self::path(&raw.client_key_file),
        );
        client(self.key, pair)
    }

    fn http(&self) -> Result<Http, Mistake> {
        let reached = Reached {
            url: self.raw.url.as_ref(),
            timeout: self.timeout(),
            ca_file: Self::path(&self.raw.ca_file),
            token_file: Self::path(&self.raw.token_file),
            client: self.client()?,
        };
        http(self.key, reached, self.max_series(100_000))
    }

    fn kafka(&self) -> Result<Kind, Mistake> {
        let brokers = self.raw.brokers.clone().unwrap_or_default();
        let is_broker = |broker: &String| {
            let (host, port) = broker.rsplit_once(':').unwrap_or_default();
            !host.is_empty() && !host.contains(['/', '@', ':']) && port.parse::<u16>().is_ok()
        };
        if brokers.is_empty() || !brokers.iter().all(is_broker) {
            return wrong(
                (self.key)("brokers"),
                "expected [\"<host>:<port>\", ...] of brokers that are asked first",
            );
        }
        let topic = self.raw.topic.as_deref().unwrap_or("waybill");
        // What Kafka itself takes, with room for the name of a table.
        let bare = topic.replace("{table}", "table");
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if bare.is_empty() || bare.len() > 180 || !bare.chars().all(fits) {
            return wrong(
                (self.key)("topic"),
                "expected a name of at most 180 letters, digits, dots, _ and -, with {table} in it \
                 for a topic of each table",
            );
        }
        let (ca_file, client) = (Self::path(&self.raw.ca_file), self.client()?);
        if ca_file.is_none() && client.is_some() {
            return self.missing("ca_file", "certificates that may vouch for brokers, PEM");
        }
        Ok(Kind::Kafka(Kafka {
            brokers,
            topic: topic.to_owned(),
            timeout: self.timeout(),
            ca_file,
            client,
        }))
    }

    fn scrape(&self) -> Result<Kind, Mistake> {
        let default = || LABELS.map(String::from).to_vec();
        let labels = self.raw.labels.clone().unwrap_or_else(default);
        let is_label = |label: &String| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let begins = label.starts_with(|c: char| c.is_ascii_lowercase());
            begins
                && label.len() <= 64
                && label.chars().all(fits)
                && label != "le"
                && label != "name"
        };
        if labels.is_empty() || labels.len() > 16 || !labels.iter().all(is_label) {
            return wrong(
                (self.key)("labels"),
                "expected 1 to 16 of host, hostname, service, boot and columns that name series",
            );
        }
        Ok(Kind::Prometheus(Scrape {
            labels,
            max_series: self.max_series(1000),
        }))
    }

    fn format(&self) -> Result<Format, Mistake> {
        match self.raw.format.as_deref() {
            None | Some("json") => Ok(Format::Json),
            Some("arrow") => Ok(Format::Arrow),
            Some(_) => wrong((self.key)("format"), "expected \"json\" or \"arrow\""),
        }
    }

    fn file(&self) -> Result<Kind, Mistake> {
        let Some(path) = Self::path(&self.raw.path) else {
            return self.missing("path", "the directory of the files");
        };
        let max_bytes = match &self.raw.max_bytes {
            Some(Text(Size(bytes))) => *bytes,
            None => 64 << 20,
        };
        let max_age = match &self.raw.max_age {
            Some(Text(age)) => *age,
            None => Duration::from_secs(60),
        };
        Ok(Kind::File(File {
            path,
            format: self.format()?,
            max_bytes,
            max_age,
        }))
    }
}
