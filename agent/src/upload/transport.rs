//! One request to the collector and its answer, over HTTPS.
//!
//! Blocking, for the upload thread. One connection is kept open between requests.

use std::fmt;
use std::io::Read;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector as _, NextTimeout, RustlsConnector, TcpConnector};

use crate::clock;
use crate::orders::{Mailbox, Signed};
use crate::spool::Sealed;

use super::answer::{Answer, words};
use super::bounded::Bound;
use super::proxy::Tunnel;
use super::{Credential, Error, Settings};

const BATCHES_PATH: &str = "/api/v1/batches";
const MEDIA_TYPE: &str = "application/vnd.waybill.batch";
/// Bytes of an answer that are read: a few dozen, and orders, of which one byte takes two in JSON.
pub(super) const ANSWER_MAX_BYTES: u64 = 4096 + 2 * wire::orders::MAX_BYTES as u64;
/// An idle connection is closed after this; it should outlast an interval.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Addresses of one name that are tried; the client has room for as many.
const ADDRESSES_MAX: usize = 16;

/// Sends batches to one collector.
pub struct Transport {
    agent: ureq::Agent,
    uri: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    mailbox: Arc<Mailbox>,
}

/// Cuts off what a transport is doing, from another thread.
pub(super) struct Interrupt(ureq::Agent);

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// For the log.
    pub(crate) reason: String,
    /// The time was over, perhaps with the batch received.
    pub(crate) timed_out: bool,
    /// The proxy did not open the way.
    pub(crate) by_proxy: bool,
}

impl Transport {
    /// Checks the settings and prepares for requests; nothing is sent or resolved yet.
    ///
    /// # Errors
    /// A setting cannot be used; secrets are not repeated in the error.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let address = Address::parse(settings)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        check_certificates(settings, &provider)?;
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::Specific(Arc::new(authorities(settings)?)));
        let mut authorization = None;
        match &settings.credential {
            Credential::Token(token) => authorization = Some(bearer(token)?),
            Credential::Certificate { chain_pem, key_pem } => {
                let chain = certificates(chain_pem).map_err(|_| Error::Certificate)?;
                let chain: Vec<_> = chain
                    .iter()
                    .map(|c| Certificate::from_der(c.as_ref()).to_owned())
                    .collect();
                let key = PrivateKey::from_pem(key_pem).map_err(|_| Error::Key)?;
                tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
            }
        }
        let config = Config::builder()
            .tls_config(tls.build())
            .https_only(true)
            // A batch goes to the configured address or nowhere: no redirection. Of a proxy the
            // connector below knows.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(settings.timeout))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE_MAX)
            .max_response_header_size(16 << 10)
            .input_buffer_size(32 << 10)
            .output_buffer_size(64 << 10)
            .user_agent(concat!("waybill-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        let next = settings
            .proxy
            .as_ref()
            .map(|proxy| proxy.address().to_owned());
        let resolver = ConfiguredHost(next.unwrap_or_else(|| address.connect_to.clone()));
        let tunnel = Tunnel {
            proxy: settings.proxy.clone(),
            target: address.connect_to,
        };
        let connector =
            ().chain(TcpConnector::default())
                .chain(tunnel)
                .chain(RustlsConnector::default())
                .chain(Bound);
        let agent = ureq::Agent::with_parts(config, connector, resolver);
        Ok(Self {
            agent,
            uri: address.uri,
            authorization,
            timeout: settings.timeout,
            mailbox: Arc::new(Mailbox::new(false)),
        })
    }

    /// Asks for orders, and hands them and the fate of each request to `mailbox`.
    #[must_use]
    pub fn with_mailbox(mut self, mailbox: Arc<Mailbox>) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// Sends one batch and waits for the answer, `at_most` or the configured time, whichever is
    /// shorter. Name resolution is not part of that time; the system's resolver bounds it.
    pub(super) fn send(&self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        self.mailbox.begin();
        let answer = self.ask(batch, at_most);
        self.mailbox.end(answer.is_ok());
        let orders = answer.as_ref().ok().and_then(Answer::orders);
        if let Some((body, signature)) = orders {
            self.mailbox.deliver(Signed { body, signature });
        }
        answer
    }

    fn ask(&self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        // The TLS library takes such a clock for impossible, and panics.
        if clock::is_before_1970() {
            return Err(Unanswered {
                reason: "the clock stands before 1970: certificates cannot be judged".into(),
                timed_out: false,
                by_proxy: false,
            });
        }
        let mut request = self
            .agent
            .post(&self.uri)
            .config()
            .timeout_global(Some(self.timeout.min(at_most)))
            .build()
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header("Idempotency-Key", batch.idempotency_key());
        if let Some(version) = self.mailbox.version() {
            request = request.header(wire::orders::HEADER, version.to_string());
        }
        if self.mailbox.on_trial() {
            // What is on trial shows on new connections only.
            request = request.header(CONNECTION, "close");
        }
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let mut response = request.send(&batch.bytes[..])?;
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (retry_after, date) = (text(RETRY_AFTER), text(DATE));
        let mut body = Vec::new();
        response
            .body_mut()
            .as_reader()
            .take(ANSWER_MAX_BYTES)
            .read_to_end(&mut body)
            .map_err(ureq::Error::from)?;
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after,
            date,
            body,
        })
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        Interrupt(self.agent.clone())
    }
}

impl fmt::Debug for Transport {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.uri)
    }
}

impl Interrupt {
    /// The request under way fails, and so does every later one.
    pub(super) fn now(self) {
        self.0.shutdown();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

impl From<ureq::Error> for Unanswered {
    fn from(error: ureq::Error) -> Self {
        let timed_out = matches!(error, ureq::Error::Timeout(_));
        let by_proxy = matches!(error, ureq::Error::ConnectProxyFailed(_));
        // Errors can quote what the other side sent.
        Self {
            reason: words(error.to_string().as_bytes()),
            timed_out,
            by_proxy,
        }
    }
}

/// Where to connect to, and what to ask for there.
struct Address {
    /// `host:port` of the configured URL.
    connect_to: String,
    /// With the name the server is expected to have.
    uri: Uri,
}

impl Address {
    fn parse(settings: &Settings) -> Result<Self, Error> {
        let wrong = |expected| Error::Url {
            url: settings.url.clone(),
            expected,
        };
        let url: Uri = settings
            .url
            .parse()
            .map_err(|_| wrong("https://host[:port][/prefix]"))?;
        if url.scheme_str() != Some("https") {
            return Err(wrong(
                "https, the only scheme that protects batches and credential",
            ));
        }
        let authority = url.authority().ok_or_else(|| wrong("a host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("no user or password in the URL"));
        }
        if url.query().is_some() {
            return Err(wrong("no query in the URL"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 443,
            // A port that is none would silently be the default one.
            _ => authority
                .port_u16()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("a port"))?,
        };
        let name = match &settings.server_name {
            None => authority.host().to_owned(),
            Some(name) if name.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{name}]"),
            Some(name) => name.clone(),
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare).map_err(|_| Error::ServerName { name: name.clone() })?;
        let prefix = url.path().trim_end_matches('/');
        let uri = format!("https://{name}:{port}{prefix}{BATCHES_PATH}")
            .parse()
            .map_err(|_| Error::ServerName { name })?;
        Ok(Self {
            connect_to: format!("{}:{port}", authority.host()),
            uri,
        })
    }
}

/// Resolves the configured host or its proxy's, whatever name the server is asked for.
///
/// In the calling thread: the client's own resolver would leave one behind for each lookup that
/// takes too long.
#[derive(Debug)]
struct ConfiguredHost(String);

impl Resolver for ConfiguredHost {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut resolved = self.empty();
        for address in self.0.to_socket_addrs()?.take(ADDRESSES_MAX) {
            resolved.push(address);
        }
        if resolved.is_empty() {
            Err(ureq::Error::HostNotFound)
        } else {
            Ok(resolved)
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let usable = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    usable.then_some(value).ok_or(Error::Token)
}

/// What the client would only find out at the first connection, by a panic.
fn check_certificates(settings: &Settings, provider: &Arc<CryptoProvider>) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.ca_pem).map_err(|_| Error::Authority)? {
        roots.add(certificate).map_err(|_| Error::Authority)?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots);
    if let Credential::Certificate { chain_pem, key_pem } = &settings.credential {
        let chain = certificates(chain_pem).map_err(|_| Error::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| Error::Key)?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(Error::Tls)?;
    }
    Ok(())
}

fn authorities(settings: &Settings) -> Result<Vec<Certificate<'static>>, Error> {
    let all = certificates(&settings.ca_pem).map_err(|_| Error::Authority)?;
    Ok(all
        .iter()
        .map(|c| Certificate::from_der(c.as_ref()).to_owned())
        .collect())
}

/// The certificates of a PEM file; none is an error.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ()> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(())
}
