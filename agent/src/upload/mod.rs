//! Sends batches to the collector over HTTPS.

use std::fmt;
use std::time::Duration;

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
    /// Bound on one request, from connecting to the end of the answer.
    pub timeout: Duration,
}

/// How the agent proves who it is.
#[derive(Clone)]
pub enum Credential {
    /// Sent as `Authorization: Bearer`.
    Token(String),
    /// A TLS client certificate.
    Certificate {
        /// The certificate and those above it, PEM.
        chain_pem: Vec<u8>,
        /// Its private key, PEM.
        key_pem: Vec<u8>,
    },
}

impl fmt::Debug for Credential {
    /// The kind only: secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(hidden)",
            Self::Certificate { .. } => "Certificate(hidden)",
        })
    }
}
