//! `[upload]`: where batches go, and how each side proves itself.

use std::time::Duration;

use super::check::{duration, optional, required, value};
use super::files::Files;
use super::raw::RawUpload;
use super::section::{At, Problems};
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
    let url = optional(url, problems, https_url);
    let ca = required(
        raw.ca_file,
        "upload.ca_file",
        "a PEM file with the certificates that may have signed the collector's",
        problems,
    );
    let ca_pem = ca.and_then(|ca| files.pem(&ca, "CERTIFICATE", problems));
    let credentials = credentials(
        (raw.token_file, raw.enroll_token_file),
        (raw.client_cert_file, raw.client_key_file),
        files,
        problems,
    );
    let server_name = optional(raw.server_name, problems, server_name);
    let proxy_secret = raw
        .proxy_auth_file
        .filter(|file| !file.value.is_empty())
        .and_then(|file| files.user_and_password(&file, problems));
    let proxy = raw.proxy.and_then(|text| proxy(text, problems));
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
        proxy,
        proxy_secret,
        timeout,
    })
}

/// What the upload itself checks again; here for a message with line and key.
fn https_url(text: String) -> Result<String, Expected> {
    let wrong = || Expected("https://host, https://host:port or https://host:port/path".into());
    let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or_else(wrong)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_fits = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    let host_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let path_fits = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@');
    let fits = !host.is_empty() && host.chars().all(host_fits) && rest.chars().all(path_fits);
    if !(fits && port_fits) {
        return Err(wrong());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// What the upload reads again. A password has a file of its own, as this one is often readable, and
/// is not repeated.
fn proxy(text: At<String>, problems: &mut Problems<'_>) -> Option<String> {
    if text.value.contains('@') {
        problems.unusable(
            &text.place,
            "user and password of a proxy belong in proxy_auth_file",
        );
        return None;
    }
    Some(text.value).filter(|text| !text.is_empty())
}

fn server_name(text: String) -> Result<String, Expected> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.len() > 253 || !text.chars().all(fits) {
        return Err(Expected("a DNS name or an address".into()));
    }
    Ok(text)
}

fn credentials(
    (token, enroll): (Option<At<String>>, Option<At<String>>),
    (chain, key): (Option<At<String>>, Option<At<String>>),
    files: &mut Files<'_>,
    problems: &mut Problems<'_>,
) -> Option<Credentials> {
    const EITHER: &str =
        "either token_file, or client_cert_file and client_key_file, or enroll_token_file";
    if let Some(enroll) = enroll {
        if [&token, &chain, &key].iter().any(|other| other.is_some()) {
            problems.wrong(&enroll.place, &format!("{EITHER}, not several"));
            return None;
        }
        return files
            .spent_token(&enroll, problems)
            .map(Credentials::Enrolled);
    }
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
