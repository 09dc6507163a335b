//! `[alerts]`: where alerts are kept and told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;

use super::http::{Http, Reached, client, http};
use super::mistake::{Mistake, Mistakes, or, wrong};
use super::raw::{self, Size, Text};
use crate::alert::finding::Severity;

/// Most outputs: each has a thread.
const MOST: usize = 16;
/// Most bytes of a name, which is part of log lines.
const NAME_BYTES: usize = 32;
/// Most people who get a mail.
const RECIPIENTS: usize = 50;

/// By then what agents tell of a minute has come and was joined, where they send every ten seconds.
const SETTLE: Duration = Duration::from_secs(50);
/// The shortest and the longest.
const SETTLES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

/// `[alerts]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// The database of alerts.
    pub database: PathBuf,
    /// Age at which alerts that are over are deleted.
    pub retention: Duration,
    /// A minute is judged so long after its end at the earliest.
    pub settle: Duration,
    /// The folder of the operator's own rules; none where there are only those that come with the
    /// program.
    pub rules: Option<PathBuf>,
    /// Where people open the page, for links in what is told.
    pub page_url: Option<String>,
    /// Where they are told, by name.
    pub outputs: Vec<AlertOutput>,
}

/// Where alerts are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertOutput {
    /// `[a-z0-9_-]`.
    pub name: String,
    /// What is less bad is not told.
    pub least_severity: Severity,
    /// Sentences are Chinese, not English.
    pub is_chinese: bool,
    /// What it is.
    pub kind: AlertKind,
}

/// What an output of alerts is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// Prometheus Alertmanager, API version 2; what fires is sent again after so long.
    Alertmanager(Http, Duration),
    /// A server that takes notices as JSON; with the file of a key by which they are signed.
    Webhook(Http, Option<PathBuf>),
    /// Mail.
    Smtp(Smtp),
    /// A file of lines of JSON, and its bytes before it is put aside.
    File(PathBuf, u64),
}

/// A mail server, and who gets mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is protected.
    pub tls: Tls,
    /// Who may vouch for it, PEM; else those of the system.
    pub ca_file: Option<PathBuf>,
    /// User and file with the password.
    pub login: Option<(String, PathBuf)>,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// Time for each step.
    pub timeout: Duration,
}

/// How a mail server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (port 465).
    Tls,
    /// In the clear until `STARTTLS`, which must be there (port 587).
    Starttls,
    /// In the clear; for a server on this machine.
    None,
}

/// The section, checked.
pub(super) fn validate(raw: raw::Alerts, store: &Path, mistakes: &mut Mistakes) -> Alerts {
    let database = raw.database.map(|Text(path)| path);
    let database = database.unwrap_or_else(|| store.with_file_name("alerts.db"));
    if database == store {
        mistakes.add(
            "alerts.database",
            "the file of store.path: expected another one",
        );
    }
    if let Some(url) = &raw.page_url
        && !(url.starts_with("https://") && url.is_ascii() && !url.contains(char::is_whitespace))
    {
        mistakes.add(
            "alerts.page_url",
            "expected https:// and the address of the page",
        );
    }
    let settle = or(raw.settle, SETTLE);
    if !(SETTLES[0]..=SETTLES[1]).contains(&settle) {
        mistakes.add("alerts.settle", "expected \"5s\" to \"10m\"");
    }
    if raw.outputs.len() > MOST {
        mistakes.add("alerts.outputs", &format!("expected at most {MOST}"));
    }
    Alerts {
        database,
        retention: or(raw.retention, Duration::from_secs(90 * 86_400)),
        settle,
        rules: raw.rules.map(|Text(path)| path),
        page_url: raw.page_url,
        outputs: outputs(raw.outputs, mistakes),
    }
}

fn outputs(raw: BTreeMap<String, raw::AlertOutput>, mistakes: &mut Mistakes) -> Vec<AlertOutput> {
    let output = |(name, raw): (String, raw::AlertOutput)| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(fits) {
            let message = format!("expected a name of 1 to {NAME_BYTES} of a-z, 0-9, _ and -");
            return wrong(format!("alerts.outputs.{name}"), message);
        }
        let given = Given { name: &name, raw };
        let is_chinese = match given.raw.language.as_deref() {
            None | Some("en") => false,
            Some("zh") => true,
            Some(_) => return wrong(given.key("language"), "expected \"en\" or \"zh\""),
        };
        let severity = given.raw.least_severity.as_deref().unwrap_or("warning");
        let Some(least_severity) = Severity::of(severity) else {
            let expected = "expected \"warning\" or \"critical\"";
            return wrong(given.key("least_severity"), expected);
        };
        Ok(AlertOutput {
            kind: given.kind()?,
            least_severity,
            is_chinese,
            name: name.clone(),
        })
    };
    let kept = raw.into_iter().filter_map(|one| mistakes.keep(output(one)));
    kept.collect()
}

/// The keys of one output, each of which belongs to some kinds.
struct Given<'a> {
    name: &'a str,
    raw: raw::AlertOutput,
}

impl Given<'_> {
    fn key(&self, key: &str) -> String {
        format!("alerts.outputs.{}.{key}", self.name)
    }

    fn missing<T>(&self, key: &str, expected: &str) -> Result<T, Mistake> {
        wrong(self.key(key), format!("missing, expected {expected}"))
    }

    fn kind(&self) -> Result<AlertKind, Mistake> {
        const HTTP: [&str; 6] = [
            "url",
            "timeout",
            "ca_file",
            "token_file",
            "client_cert_file",
            "client_key_file",
        ];
        const SMTP: [&str; 8] = [
            "server",
            "tls",
            "ca_file",
            "user",
            "password_file",
            "from",
            "to",
            "timeout",
        ];
        let kind = self.raw.kind.as_deref().unwrap_or_default();
        match kind {
            "alertmanager" => {
                self.only(kind, &[&HTTP[..], &["every"]].concat())?;
                let every = self.raw.every.as_ref();
                let every = every.map_or(Duration::from_secs(60), |Text(every)| *every);
                if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&every) {
                    return wrong(self.key("every"), "expected \"1s\" to \"1h\"");
                }
                Ok(AlertKind::Alertmanager(self.http()?, every))
            }
            "webhook" => {
                self.only(kind, &[&HTTP[..], &["hmac_key_file"]].concat())?;
                Ok(AlertKind::Webhook(
                    self.http()?,
                    path(&self.raw.hmac_key_file),
                ))
            }
            "smtp" => {
                self.only(kind, &SMTP)?;
                Ok(AlertKind::Smtp(self.smtp()?))
            }
            "file" => {
                self.only(kind, &["path", "max_bytes"])?;
                let Some(file) = path(&self.raw.path) else {
                    return self.missing("path", "the file");
                };
                let bytes = self.raw.max_bytes.as_ref();
                let bytes = bytes.map_or(16 << 20, |Text(Size(bytes))| *bytes);
                Ok(AlertKind::File(file, bytes))
            }
            _ => wrong(
                self.key("kind"),
                "expected \"alertmanager\", \"webhook\", \"smtp\" or \"file\"",
            ),
        }
    }

    /// Refuses keys that this kind has no use for.
    fn only(&self, kind: &str, keys: &[&str]) -> Result<(), Mistake> {
        let raw = &self.raw;
        let set = [
            ("url", raw.url.is_some()),
            ("timeout", raw.timeout.is_some()),
            ("ca_file", raw.ca_file.is_some()),
            ("token_file", raw.token_file.is_some()),
            ("client_cert_file", raw.client_cert_file.is_some()),
            ("client_key_file", raw.client_key_file.is_some()),
            ("hmac_key_file", raw.hmac_key_file.is_some()),
            ("every", raw.every.is_some()),
            ("server", raw.server.is_some()),
            ("tls", raw.tls.is_some()),
            ("user", raw.user.is_some()),
            ("password_file", raw.password_file.is_some()),
            ("from", raw.from.is_some()),
            ("to", raw.to.is_some()),
            ("path", raw.path.is_some()),
            ("max_bytes", raw.max_bytes.is_some()),
        ];
        match set
            .into_iter()
            .find(|(key, set)| *set && !keys.contains(key))
        {
            Some((key, _)) => wrong(
                self.key(key),
                format!("an output of kind \"{kind}\" has no such key"),
            ),
            None => Ok(()),
        }
    }

    fn http(&self) -> Result<Http, Mistake> {
        let raw = &self.raw;
        let key = |key: &str| self.key(key);
        let timeout = raw.timeout.as_ref();
        let pair = (path(&raw.client_cert_file), path(&raw.client_key_file));
        let reached = Reached {
            url: raw.url.as_ref(),
            timeout: timeout.map_or(Duration::from_secs(10), |Text(timeout)| *timeout),
            ca_file: path(&raw.ca_file),
            token_file: path(&raw.token_file),
            client: client(&key, pair)?,
        };
        http(&key, reached, 1)
    }

    fn smtp(&self) -> Result<Smtp, Mistake> {
        let raw = &self.raw;
        let (tls, usual) = match raw.tls.as_deref() {
            None | Some("starttls") => (Tls::Starttls, 587),
            Some("tls") => (Tls::Tls, 465),
            Some("none") => (Tls::None, 25),
            Some(_) => {
                let expected = "expected \"starttls\", \"tls\" or \"none\"";
                return wrong(self.key("tls"), expected);
            }
        };
        let Some(server) = &raw.server else {
            return self.missing("server", "a mail server, \"<host>\" or \"<host>:<port>\"");
        };
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (server.as_str(), Some(usual)),
        };
        let Some(port) = port.filter(|_| !host.is_empty()) else {
            return wrong(
                self.key("server"),
                "expected \"<host>\" or \"<host>:<port>\"",
            );
        };
        let login = match (raw.user.clone(), path(&raw.password_file)) {
            (Some(user), Some(file)) => Some((user, file)),
            (None, None) => None,
            (None, _) => return self.missing("user", "the user of the password"),
            (_, None) => return self.missing("password_file", "the file with the user's password"),
        };
        if tls == Tls::None && login.is_some() {
            let expected = "expected \"starttls\" or \"tls\": a password is not sent in the clear";
            return wrong(self.key("tls"), expected);
        }
        let Some(from) = raw.from.clone() else {
            return self.missing("from", "the address of the sender");
        };
        let to = raw.to.clone().unwrap_or_default();
        if !(1..=RECIPIENTS).contains(&to.len()) {
            return wrong(
                self.key("to"),
                format!("expected 1 to {RECIPIENTS} addresses"),
            );
        }
        for (key, text) in to.iter().map(|text| ("to", text)).chain([("from", &from)]) {
            let is_mailbox = text.parse::<Mailbox>().is_ok() || text.parse::<Address>().is_ok();
            if !is_mailbox {
                let why = format!("{text:?} is no address such as \"ops@example.com\"");
                return wrong(self.key(key), why);
            }
        }
        Ok(Smtp {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            ca_file: path(&raw.ca_file),
            login,
            from,
            to,
            timeout: raw
                .timeout
                .as_ref()
                .map_or(Duration::from_secs(20), |Text(t)| *t),
        })
    }
}

fn path(value: &Option<Text<PathBuf>>) -> Option<PathBuf> {
    value.as_ref().map(|Text(path)| path.clone())
}
