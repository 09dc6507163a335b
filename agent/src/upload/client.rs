//! The client that a transport sends by: where it connects to, whom it believes and what it shows.

use std::net::ToSocketAddrs;
use std::time::Duration;

use program::tls;
use rustls::pki_types::ServerName;
use ureq::config::Config;
use ureq::http::{HeaderValue, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector as _, NextTimeout, RustlsConnector, TcpConnector};

use super::bounded::Bound;
use super::proxy::Tunnel;
use super::{Error, Settings};

pub(super) const BATCHES_PATH: &str = "/api/v1/batches";
/// An idle connection is closed after this; it should outlast an interval.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Addresses of one name that are tried; the client has room for as many.
const ADDRESSES_MAX: usize = 16;

/// Where to connect to, and what to ask for there.
pub(super) struct Address {
    /// `host:port` of the configured URL.
    connect_to: String,
    /// With the name the server is expected to have.
    pub(super) uri: Uri,
}

impl Address {
    pub(super) fn parse(settings: &Settings) -> Result<Self, Error> {
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

/// What sends requests, and shows this certificate (chain and key, PEM) where there is one.
pub(super) fn client(
    settings: &Settings,
    address: &Address,
    pair: Option<(&[u8], &[u8])>,
) -> Result<ureq::Agent, Error> {
    let config = Config::builder()
        .tls_config(tls::client(Some(&settings.ca_pem), pair)?)
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
        target: address.connect_to.clone(),
    };
    let connector =
        ().chain(TcpConnector::default())
            .chain(tunnel)
            .chain(RustlsConnector::default())
            .chain(Bound);
    Ok(ureq::Agent::with_parts(config, connector, resolver))
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

pub(super) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let usable = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    usable.then_some(value).ok_or(Error::Token)
}
