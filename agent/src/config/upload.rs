//! `[upload]`: where batches go, and how each side proves itself.

use std::time::Duration;

use super::files::Files;
use super::raw::RawUpload;
use super::section::{At, Problems};
use super::validate::{duration, optional, required, value};
use super::value::Expected;
use super::{Credentials, Upload};

/// Turns the raw section into upload settings; `None` when something essential is wrong.
pub(super) fn validate(
    raw: RawUpload,
    files: &mut Files<'_>,
    problems: &mut Problems<'_>,
) -> Option<Upload> {
    let url = required(
        raw.url,
        "upload.url",
        "the collector, https://host:port",
        problems,
    );
    let url = optional(url, problems, url_without_path);
    let ca = required(
        raw.ca_file,
        "upload.ca_file",
        "a PEM file with the certificates that may have signed the collector's",
        problems,
    );
    let ca_pem = ca.and_then(|ca| files.pem(&ca, "CERTIFICATE", problems));
    let credentials = credentials(
        raw.token_file,
        raw.client_cert_file,
        raw.client_key_file,
        files,
        problems,
    );
    let server_name = optional(raw.server_name, problems, server_name);
    let timeout = value(
        raw.timeout,
        Duration::from_secs(10),
        problems,
        duration(Duration::from_millis(100), Duration::from_secs(300)),
    );
    Some(Upload {
        url: url?,
        ca_pem: ca_pem?,
        credentials: credentials?,
        server_name: server_name.filter(|name| !name.is_empty()),
        timeout,
    })
}

fn url_without_path(text: String) -> Result<String, Expected> {
    let wrong = || Expected("https://host or https://host:port, without path or user".into());
    let url: ureq::http::Uri = text.parse().map_err(|_| wrong())?;
    let authority = url.authority().ok_or_else(wrong)?;
    let bare = url.path_and_query().is_none_or(|path| path.as_str() == "/");
    if url.scheme_str() != Some("https") || !bare || authority.as_str().contains('@') {
        return Err(wrong());
    }
    // `port()` drops a number that is too large without a word.
    let has_port = authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || (has_port && authority.port_u16().is_none_or(|p| p == 0)) {
        return Err(wrong());
    }
    Ok(format!("https://{authority}"))
}

fn server_name(text: String) -> Result<String, Expected> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.len() > 253 || !text.chars().all(fits) {
        return Err(Expected("a DNS name or an address".into()));
    }
    Ok(text)
}

fn credentials(
    token: Option<At<String>>,
    chain: Option<At<String>>,
    key: Option<At<String>>,
    files: &mut Files<'_>,
    problems: &mut Problems<'_>,
) -> Option<Credentials> {
    const EITHER: &str = "either token_file, or client_cert_file and client_key_file";
    match (token, chain, key) {
        (Some(token), None, None) => files.token(&token, problems).map(Credentials::Token),
        (None, Some(chain), Some(key)) => {
            let chain_pem = files.pem(&chain, "CERTIFICATE", problems);
            let key_pem = files.secret_pem(&key, "PRIVATE KEY", problems);
            Some(Credentials::Certificate {
                chain_pem: chain_pem?,
                key_pem: key_pem?,
            })
        }
        (None, None, None) => {
            problems.missing("upload.token_file", EITHER);
            None
        }
        (Some(token), Some(_), _) | (Some(token), _, Some(_)) => {
            problems.wrong(&token.place, &format!("{EITHER}, not both"));
            None
        }
        (None, Some(chain), None) => {
            problems.wrong(&chain.place, "client_key_file beside it");
            None
        }
        (None, None, Some(key)) => {
            problems.wrong(&key.place, "client_cert_file beside it");
            None
        }
    }
}
