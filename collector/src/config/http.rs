//! A server that outputs reach over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use super::mistake::{Mistake, wrong};

/// A server that takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `https://` or `http://`.
    pub url: String,
    /// Time for a request and its answer.
    pub timeout: Duration,
    /// Who may vouch for it, PEM; needed for `https://`.
    pub ca_file: Option<PathBuf>,
    /// File with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Rows of series whose sums are kept.
    pub max_series: usize,
}

/// How a server is reached, as it was written.
pub(super) struct Reached<'a> {
    pub(super) url: Option<&'a String>,
    pub(super) timeout: Duration,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// A certificate with its key, or neither; `key` gives the path of a key.
pub(super) fn client(
    key: &dyn Fn(&str) -> String,
    pair: (Option<PathBuf>, Option<PathBuf>),
) -> Result<Option<(PathBuf, PathBuf)>, Mistake> {
    let missing = |name, what| wrong(key(name), format!("missing, expected {what}"));
    match pair {
        (Some(chain), Some(key)) => Ok(Some((chain, key))),
        (None, None) => Ok(None),
        (None, Some(_)) => missing("client_cert_file", "the certificate of the key"),
        (Some(_), None) => missing("client_key_file", "the key of the certificate"),
    }
}

/// A server that takes requests; `key` gives the path of a key.
pub(super) fn http(
    key: &dyn Fn(&str) -> String,
    reached: Reached<'_>,
    max_series: usize,
) -> Result<Http, Mistake> {
    let missing = |name, what| wrong(key(name), format!("missing, expected {what}"));
    let Some(url) = reached.url.cloned() else {
        return missing("url", "https://<host>:<port>/<path>");
    };
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    if rest.is_none_or(str::is_empty) || url.contains(['@', '#']) {
        return wrong(
            key("url"),
            "expected https:// or http:// and a server, without user or fragment",
        );
    }
    if url.starts_with("https://") && reached.ca_file.is_none() {
        return missing("ca_file", "certificates that may vouch for the server, PEM");
    }
    let has_credentials = reached.token_file.is_some() || reached.client.is_some();
    if !url.starts_with("https://") && has_credentials {
        return wrong(
            key("url"),
            "expected https://, for credentials are not sent in the clear",
        );
    }
    Ok(Http {
        url,
        timeout: reached.timeout,
        ca_file: reached.ca_file,
        token_file: reached.token_file,
        client: reached.client,
        max_series,
    })
}
