//! `[auth]` and `[enroll]`: who may send and who may ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mistake::{Mistake, or, required, wrong};
use super::proxy::{self, Proxy};
use super::raw::{self, Text};

/// `[enroll]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// The authority's certificate, PEM; others behind it are believed as well.
    pub ca_cert_file: PathBuf,
    /// Its private key, PEM.
    pub ca_key_file: PathBuf,
    /// How long a certificate is valid.
    pub lifetime: Duration,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Tokens that send batches, one per line: of one host each, unless the line says `shared`.
    pub agent_token_file: Option<PathBuf>,
    /// Tokens that ask, one per line.
    pub reader_token_file: Option<PathBuf>,
    /// As `agent_token_file`, each of them shared: the key from before there were two kinds.
    pub token_file: Option<PathBuf>,
    /// DNS names of client certificates that ask; all others send batches.
    pub reader_names: Vec<String>,
    /// DNS names of client certificates that many hosts have.
    pub shared_names: Vec<String>,
    /// The database of what changes while the collector runs; see [`crate::access`].
    pub database: PathBuf,
    /// Age at which records of the audit log are deleted.
    pub audit_retention: Duration,
    /// How long a session goes on that nobody uses.
    pub session_idle: Duration,
    /// How long one goes on, however much it is used.
    pub session_lifetime: Duration,
    /// Proxies that say who asks.
    pub proxy: Option<Proxy>,
}

impl Auth {
    /// What is valid and may not be meant.
    #[must_use]
    pub fn advice(&self) -> Vec<&'static str> {
        let mut advice = Vec::new();
        if self.token_file.is_some() {
            advice.push(
                "auth.token_file is the old name of auth.agent_token_file: its tokens send batches \
                 of any host, as if each line said \"shared\", and do not ask any more",
            );
        }
        if self.reader_token_file.is_none() && self.reader_names.is_empty() {
            advice.push(
                "nobody may ask over HTTPS but users of `waybill-collector user`, for neither \
                 auth.reader_token_file nor auth.reader_names is set; commands on this host read \
                 the store",
            );
        }
        advice
    }
}

pub(super) fn enroll(raw: raw::Enroll) -> Result<Option<Enroll>, Mistake> {
    let (ca_cert_file, ca_key_file) = match (raw.ca_cert_file, raw.ca_key_file) {
        (None, None) => return Ok(None),
        (certificate, key) => (
            required("enroll.ca_cert_file", certificate)?,
            required("enroll.ca_key_file", key)?,
        ),
    };
    let lifetime = or(raw.lifetime, Duration::from_secs(90 * 86_400));
    if lifetime < Duration::from_secs(5) || lifetime > Duration::from_secs(3650 * 86_400) {
        let expected = "expected a duration from \"5s\" to \"3650d\"";
        return wrong("enroll.lifetime", expected);
    }
    Ok(Some(Enroll {
        ca_cert_file,
        ca_key_file,
        lifetime,
    }))
}

/// `has_ca` and `enrolls` say whether client certificates are verified, and by whose authority.
pub(super) fn auth(
    raw: raw::Auth,
    store: &Path,
    (has_ca, enrolls): (bool, bool),
) -> Result<Auth, Mistake> {
    let path = |value: Option<Text<PathBuf>>| value.map(|Text(path)| path);
    let auth = Auth {
        agent_token_file: path(raw.agent_token_file),
        reader_token_file: path(raw.reader_token_file),
        token_file: path(raw.token_file),
        reader_names: raw.reader_names,
        shared_names: raw.shared_names,
        database: path(raw.database).unwrap_or_else(|| store.with_file_name("access.db")),
        audit_retention: or(raw.audit_retention, Duration::from_secs(365 * 86_400)),
        session_idle: or(raw.session_idle, Duration::from_secs(3600)),
        session_lifetime: or(raw.session_lifetime, Duration::from_secs(12 * 3600)),
        proxy: proxy::validate(raw.proxy)?,
    };
    for (key, duration) in [
        ("auth.session_idle", auth.session_idle),
        ("auth.session_lifetime", auth.session_lifetime),
    ] {
        if duration < Duration::from_secs(1) || duration > Duration::from_secs(366 * 86_400) {
            return wrong(key, "expected a duration from \"1s\" to \"366d\"");
        }
    }
    if auth.database == store {
        return wrong(
            "auth.database",
            "the file of store.path: expected another one",
        );
    }
    if auth.token_file.is_some() && auth.agent_token_file.is_some() {
        return wrong(
            "auth.token_file",
            "the old name of auth.agent_token_file, which is there too: expected one of them",
        );
    }
    let no_token = auth.token_file.is_none() && auth.agent_token_file.is_none();
    if no_token && !has_ca && !enrolls {
        return wrong(
            "auth.agent_token_file",
            "missing, and so are listen.client_ca_file and enroll.ca_cert_file: expected at least \
             one of them, for a collector that knows nobody cannot tell agents from strangers",
        );
    }
    names(&auth, has_ca)?;
    Ok(auth)
}

/// Each name of a certificate is of one thing.
fn names(auth: &Auth, has_ca: bool) -> Result<(), Mistake> {
    let none = Vec::new();
    let proxies = auth.proxy.as_ref();
    let proxies = proxies.map_or(&none, |proxy| &proxy.certificate_names);
    for (key, names) in [
        ("auth.reader_names", &auth.reader_names),
        ("auth.shared_names", &auth.shared_names),
        ("auth.proxy.certificate_names", proxies),
    ] {
        if !names.is_empty() && !has_ca {
            return wrong(
                key,
                "names of client certificates, and listen.client_ca_file is missing",
            );
        }
        if names
            .iter()
            .any(|name| name.is_empty() || name.contains('*'))
        {
            return wrong(key, "expected names as certificates have them, no patterns");
        }
    }
    if auth
        .reader_names
        .iter()
        .any(|name| auth.shared_names.contains(name))
    {
        return wrong(
            "auth.shared_names",
            "a name of auth.reader_names is here too: a credential sends or asks, not both",
        );
    }
    if let Some(name) = proxies
        .iter()
        .find(|name| auth.reader_names.contains(name) || auth.shared_names.contains(name))
    {
        return wrong(
            "auth.proxy.certificate_names",
            format!(
                "{name:?} is in auth.reader_names or auth.shared_names too: a certificate is of a \
                 proxy, or asks or sends itself"
            ),
        );
    }
    Ok(())
}
