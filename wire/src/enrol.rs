//! What an agent and a collector say to each other about the agent's certificate: JSON.

use serde::{Deserialize, Serialize};

/// Where a host gets its first certificate, by a token that was made for it.
pub const ENROLL_PATH: &str = "/api/v1/enroll";
/// Where it gets the next one, by its certificate.
pub const RENEW_PATH: &str = "/api/v1/renew";
/// Media type of requests and answers.
pub const MEDIA_TYPE: &str = "application/json";
/// Longest request and answer, bytes.
pub const MAX_BYTES: usize = 32 << 10;

/// Asks for the first certificate.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// The token.
    pub token: String,
    /// A request for a certificate (PKCS #10, RFC 2986), PEM. Only its public key is taken.
    pub csr: String,
}

/// Asks for the next certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// As in [`Enroll`].
    pub csr: String,
}

/// A certificate that was made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The name in it.
    pub name: String,
    /// The certificate and its authority's, PEM.
    pub certificate: String,
    /// When it was made by the collector's clock, Unix milliseconds.
    pub issued_ms: i64,
    /// Until when it is valid by the collector's clock, Unix milliseconds.
    pub expires_ms: i64,
}
