//! Where batches go, and what of that cannot be used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::proxy;

/// Where to send batches, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://host[:port][/prefix]`; nothing else is accepted.
    pub url: String,
    /// Name to expect in the server's certificate and to ask for, instead of the URL's host.
    pub server_name: Option<String>,
    /// Certificates, PEM, one of which must have signed the server's.
    pub ca_pem: Vec<u8>,
    /// How the agent proves who it is.
    pub credential: Credential,
    /// What the way to the collector goes through.
    pub proxy: Option<proxy::Proxy>,
    /// Bound on one request, from connecting to the end of the answer.
    pub timeout: Duration,
}

/// How the agent proves who it is.
#[derive(Clone)]
pub enum Credential {
    /// Sent as `Authorization: Bearer`; printable ASCII without spaces.
    Token(String),
    /// A TLS client certificate.
    Certificate {
        /// The certificate and those above it, PEM.
        chain_pem: Vec<u8>,
        /// Its private key, PEM.
        key_pem: Vec<u8>,
    },
    /// A TLS client certificate that the collector signs for this agent.
    Enrolled {
        /// What gets the first one; it may have been used.
        token: Option<String>,
        /// Where certificate and key are kept.
        file: PathBuf,
    },
}

impl fmt::Debug for Credential {
    /// The kind only: secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(hidden)",
            Self::Certificate { .. } => "Certificate(hidden)",
            Self::Enrolled { .. } => "Enrolled(hidden)",
        })
    }
}

/// A setting cannot be used. None of these repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collector's address.
    #[error("url {url:?}: expected {expected}")]
    Url {
        /// As configured.
        url: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The expected name of the server.
    #[error("server name {name:?}: expected a host name or an address")]
    ServerName {
        /// As configured.
        name: String,
    },
    /// The proxy.
    #[error("proxy: expected {expected}")]
    Proxy {
        /// What would have been right.
        expected: &'static str,
    },
    /// The token.
    #[error("token: expected printable ASCII characters without spaces")]
    Token,
    /// Whom the client believes, or what it shows.
    #[error(transparent)]
    Tls(#[from] program::tls::Error),
}
