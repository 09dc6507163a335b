//! Certificates, keys and tokens: read at the start, and again when their files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use follow::{Stamp, Watch};
use nix::sys::resource::{Resource, getrlimit};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::auth::{Certificate, Credential, CredentialId, Credentials};
use crate::authority::Authority;
use crate::config::{Config, Enroll};
use crate::exit::Failure;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::tls::Verifier;
use crate::{files, time, tls};

/// How long it is believed that a certificate is valid: it may expire.
const JUDGED_MS: i64 = 60_000;

/// Everything the configuration refers to, loaded.
pub struct Secrets {
    tls: ServerConfig,
    judges: Judges,
    credentials: Credentials,
    authority: Option<Arc<Authority>>,
}

/// Who judges client certificates, where any are asked for.
struct Judges {
    /// By every authority.
    all: Option<Verifier>,
    /// By the collector's own alone.
    own: Option<Verifier>,
}

impl Secrets {
    /// Loads certificates, keys and tokens.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(config: &Config) -> Result<Self, Failure> {
        let named = || config.file.display().to_string();
        let credentials = Credentials::load(&config.auth)
            .map_err(|(key, error)| anyhow::Error::new(error).context(key))
            .with_context(named)
            .map_err(Failure::usage)?;
        let load = || -> anyhow::Result<_> {
            let own = config.enroll.as_ref();
            let own = own.map(|own| ("enroll.ca_cert_file", own.ca_cert_file.as_path()));
            let others = config.listen.client_ca_file.as_deref();
            let others = others.map(|file| ("listen.client_ca_file", file));
            let all: Vec<_> = own.into_iter().chain(others).collect();
            let judges = Judges {
                all: tls::client_verifier(&all)?,
                own: tls::client_verifier(own.as_slice())?,
            };
            let tls = tls::server_config(&config.listen, judges.all.as_ref())?;
            let authority = config.enroll.as_ref().map(authority).transpose()?;
            Ok((tls, judges, authority))
        };
        let (tls, judges, authority) = load().with_context(named).map_err(Failure::usage)?;
        Ok(Self {
            tls,
            judges,
            credentials,
            authority: authority.map(Arc::new),
        })
    }
}

/// The authority that signs certificates of agents.
fn authority(enroll: &Enroll) -> anyhow::Result<Authority> {
    let read = |key, path: &Path| {
        let file = path.display().to_string();
        files::text(path).with_context(|| format!("{key}: {file}"))
    };
    let certificate = read("enroll.ca_cert_file", &enroll.ca_cert_file)?;
    let key = read("enroll.ca_key_file", &enroll.ca_key_file)?;
    Authority::load(&certificate, &key, enroll.lifetime).context("enroll.ca_key_file")
}

/// The certificate that a connection showed, and when it was last found valid.
#[derive(Debug)]
pub(super) struct Shown {
    certificate: Certificate,
    /// The peer's own, and those above it.
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Option<Judged>>,
}

/// That it was valid.
#[derive(Clone, Copy, Debug)]
struct Judged {
    /// The number of the secrets then.
    number: u64,
    /// When, Unix milliseconds.
    at_ms: i64,
    /// Whether the collector's own authority has signed it.
    own: bool,
}

impl Shown {
    /// `chain` as TLS has just verified it; `None` where there is none.
    pub(super) fn new(chain: &[CertificateDer<'static>]) -> Option<Self> {
        Some(Self {
            certificate: Certificate::new(chain.first()?),
            chain: chain.to_vec(),
            judged: Mutex::new(None),
        })
    }
}

/// What a certificate is that is valid.
pub(super) struct Valid {
    pub(super) credential: Credential,
    /// The collector's own authority has signed it.
    pub(super) own: bool,
}

/// What is valid now.
pub(super) struct Known {
    judges: Judges,
    authority: Option<Arc<Authority>>,
    credentials: Credentials,
    /// How often they were read before.
    number: u64,
}

impl Known {
    /// The credential that a token is, if it is one.
    pub(super) fn token(&self, token: &str) -> Option<Credential> {
        self.credentials.token(token)
    }

    /// What signs certificates of agents.
    pub(super) fn authority(&self) -> Option<Arc<Authority>> {
        self.authority.clone()
    }

    /// The credential that a connection's certificate is. One that was verified by a CA that is not
    /// configured any more, or that has expired, is none, however long the connection is open.
    pub(super) fn certificate(&self, shown: &Shown, now_ms: i64) -> Option<Valid> {
        let own = self.is_own(shown, now_ms)?;
        if !own && self.credentials.is_proxy(&shown.certificate) {
            return None;
        }
        // By its name it may be a person's, but not where it was made for a host.
        let credential = match own {
            true => self.credentials.own_certificate(&shown.certificate),
            false => self.credentials.certificate(&shown.certificate),
        };
        Some(Valid { credential, own })
    }

    /// The certificate of a proxy, where it is valid and one. It says who asks and is nobody itself.
    pub(super) fn proxy(&self, shown: &Shown, now_ms: i64) -> Option<CredentialId> {
        let is_own = self.is_own(shown, now_ms)?;
        let is_proxy = !is_own && self.credentials.is_proxy(&shown.certificate);
        is_proxy.then(|| shown.certificate.id())
    }

    /// The same, as it was found not long ago.
    fn is_own(&self, shown: &Shown, now_ms: i64) -> Option<bool> {
        let mut judged = shown.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |was: &Judged| {
            was.number == self.number && (0..JUDGED_MS).contains(&(now_ms - was.at_ms))
        };
        if let Some(was) = judged.filter(holds) {
            return Some(was.own);
        }
        *judged = None;
        let own = self.judge(shown, now_ms)?;
        *judged = Some(Judged {
            number: self.number,
            at_ms: now_ms,
            own,
        });
        Some(own)
    }

    /// Whether the own authority has signed it; `None` where it is not valid.
    fn judge(&self, shown: &Shown, now_ms: i64) -> Option<bool> {
        let (own, above) = shown.chain.split_first()?;
        let since = Duration::from_millis(u64::try_from(now_ms).ok()?);
        let at = UnixTime::since_unix_epoch(since);
        let valid = |judge: &Verifier| judge.verify_client_cert(own, above, at).is_ok();
        if !self.judges.all.as_ref().is_some_and(valid) {
            return None;
        }
        Some(self.judges.own.as_ref().is_some_and(valid))
    }
}

/// Holds what is valid now; shared by every request.
pub(super) struct Current(RwLock<Arc<Known>>);

impl Current {
    /// What is valid now.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks at the files, and puts what they hold in force.
pub(super) struct Follower {
    config: Config,
    files: Vec<(PathBuf, Watch)>,
    /// The configuration itself, as it was read.
    text: (Watch, Option<String>),
    tls: RustlsConfig,
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    full: Limiter,
}

impl Follower {
    /// Loads what the configuration names, to be followed from here on.
    ///
    /// # Errors
    /// When something cannot be used.
    pub(super) fn start(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        let at_once = |path: &Path| {
            let mut watch = Watch::default();
            watch.look(Stamp::of(path), true);
            watch
        };
        // Before they are read: what changes meanwhile is read again.
        let files = named(config)
            .map(|path| (path.to_owned(), at_once(path)))
            .collect();
        let text = (at_once(&config.file), files::text(&config.file).ok());
        let secrets = Secrets::load(config)?;
        let known = Known {
            judges: secrets.judges,
            authority: secrets.authority,
            credentials: secrets.credentials,
            number: 0,
        };
        Ok(Self {
            config: config.clone(),
            files,
            text,
            tls: RustlsConfig::from_config(Arc::new(secrets.tls)),
            current: Arc::new(Current(RwLock::new(Arc::new(known)))),
            metrics,
            full: Limiter::new(),
        })
    }

    /// What handlers ask.
    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// What new connections are met with.
    pub(super) fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// Says, a few times a minute at most, when no more files can be opened.
    fn look_at_limit(&self) {
        let Some(whose) = follow::no_more_files() else {
            return;
        };
        self.metrics.open_files_exhausted_total.add(1);
        if let Some(suppressed) = self.full.admit(time::now_ms()) {
            let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
            log::warn!(limit, whose, suppressed; "open files: no more can be opened");
        }
    }

    /// Looks at every file, and reads all of them again when one has changed, or `at_once`.
    pub(super) fn look(&mut self, at_once: bool) {
        self.look_at_limit();
        let mut changed = Vec::new();
        for (path, watch) in &mut self.files {
            if watch.look(Stamp::of(path), at_once) {
                changed.push(path.display().to_string());
            }
        }
        if !changed.is_empty() {
            self.read(&changed.join(", "));
        }
        let (watch, text) = &mut self.text;
        if watch.look(Stamp::of(&self.config.file), at_once) {
            let file = self.config.file.display().to_string();
            let differs = files::text(&self.config.file).ok() != *text;
            if differs {
                log::warn!(file; "the configuration has changed: it is in force after a restart");
            }
            self.metrics.configuration_changed.set(differs.into());
        }
    }

    /// Puts the new files in force, or keeps everything where one of them cannot be used.
    fn read(&self, files: &str) {
        match Secrets::load(&self.config) {
            Ok(secrets) => {
                let mut current = self
                    .current
                    .0
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(Known {
                    judges: secrets.judges,
                    authority: secrets.authority,
                    credentials: secrets.credentials,
                    number: current.number + 1,
                });
                self.tls.reload_from_config(Arc::new(secrets.tls));
                self.metrics.secrets_read_again_total.add(1);
                log::info!(files; "certificates, keys and tokens read again");
            }
            Err(failure) => {
                self.metrics.secrets_refused_total.add(1);
                let error = format!("{:#}", failure.error);
                log::error!(files, error; "changed files cannot be used, what was read before stays");
            }
        }
    }
}

/// The files that a configuration names and that are read by a running collector.
fn named(config: &Config) -> impl Iterator<Item = &Path> {
    let (listen, auth) = (&config.listen, &config.auth);
    let enroll = config.enroll.as_ref();
    [
        Some(&listen.cert_file),
        Some(&listen.key_file),
        listen.client_ca_file.as_ref(),
        auth.agent_token_file.as_ref(),
        auth.reader_token_file.as_ref(),
        auth.token_file.as_ref(),
        enroll.map(|enroll| &enroll.ca_cert_file),
        enroll.map(|enroll| &enroll.ca_key_file),
    ]
    .into_iter()
    .flatten()
    .map(PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::named;
    use crate::config;

    const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
    const EXAMPLE: &str = include_str!("../../../packaging/config/collector.toml.example");

    #[test]
    fn every_file_of_a_configuration_is_in_the_table_of_what_is_followed() {
        let (_, table) = OPERATIONS.split_once("## What is followed\n").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let mut section = String::new();
        let mut count = 0;
        for line in EXAMPLE.lines().map(|line| line.trim_start_matches('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_matches(']').to_owned();
                for outputs in ["outputs.", "alerts.outputs."] {
                    if section.starts_with(outputs) {
                        section = format!("{outputs}NAME");
                    }
                }
            }
            let key = line.split_once(" = ").map(|(key, _)| key);
            if let Some(key) = key.filter(|key| key.ends_with("_file")) {
                count += 1;
                assert!(
                    table.contains(&format!("`{section}.{key}`")),
                    "{section}.{key}"
                );
            }
        }
        assert!(count >= 6, "{count}");
    }

    #[test]
    fn every_file_that_is_read_at_the_start_is_followed() {
        let text = "[listen]\ncert_file = \"/1\"\nkey_file = \"/2\"\nclient_ca_file = \"/3\"\n\
            [enroll]\nca_cert_file = \"/6\"\nca_key_file = \"/7\"\n\
            [auth]\nreader_token_file = \"/5\"\n";
        let of = |key: &str| {
            let text = format!("{text}{key} = \"/4\"\n");
            let config = config::parse("/a.toml".as_ref(), &text).unwrap();
            let mut files: Vec<_> = named(&config)
                .map(|path| path.display().to_string())
                .collect();
            files.sort();
            files.join(" ")
        };
        assert_eq!(of("agent_token_file"), "/1 /2 /3 /4 /5 /6 /7");
        assert_eq!(of("token_file"), "/1 /2 /3 /4 /5 /6 /7");
    }
}
