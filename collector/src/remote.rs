//! Questions to a collector somewhere else, over HTTPS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use program::tls;
use serde::de::DeserializeOwned;
use ureq::http::Method;

use crate::query::Asked;
use crate::time;

/// Longest answer that is read: a topology of some hundred thousand edges.
const MAX_ANSWER: u64 = 512 << 20;
/// Time for the whole answer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How to reach a collector.
#[derive(Clone, Debug)]
pub struct Remote {
    /// `https://host:port`.
    pub url: String,
    /// Who may vouch for it, PEM.
    pub ca_file: PathBuf,
    /// File with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Remote {
    /// The address of a topology question.
    #[must_use]
    pub fn topology_path(asked: Asked) -> String {
        // Nothing was ever stored before 1973, and what is called milliseconds is taken for nothing
        // else.
        let known = |ms: i64| if time::check_ms(ms).is_ok() { ms } else { 0 };
        let bound = |name, value: Option<i64>| value.map(|ms| format!("{name}={}", known(ms)));
        let bounds = [bound("from_ms", asked.from_ms), bound("to_ms", asked.to_ms)];
        let query: Vec<String> = bounds.into_iter().flatten().collect();
        format!("/api/v1/topology?{}", query.join("&"))
    }

    /// Asks and reads the document.
    ///
    /// # Errors
    /// When the collector cannot be reached or trusted, refuses, or answers something else.
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None, None)
    }

    /// Sends a body with the question and reads the document.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub fn send<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body), None)
    }

    /// Has something changed by a small request in JSON, or by none, and reads the document.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub fn change<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<T> {
        let body = body.map(serde_json::to_vec).transpose()?;
        let method = Method::from_bytes(method.as_bytes()).context("a method")?;
        self.call(method, path, body.as_deref(), Some("application/json"))
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        media_type: Option<&str>,
    ) -> anyhow::Result<T> {
        if !self.url.starts_with("https://") {
            bail!(
                "--url: expected https://<host>:<port>, found {:?}",
                self.url
            );
        }
        let agent = caller(Call {
            ca_file: Some(&self.ca_file),
            client: self.client.as_ref(),
            https_only: true,
            timeout: TIMEOUT,
        })?;
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        if let Some(file) = &self.token_file {
            let text = crate::files::text(file)
                .with_context(|| format!("read token file {}", file.display()))?;
            // The same file may serve the collector: the first token is as good as any.
            let token = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('#'))
                .ok_or_else(|| anyhow!("{}: expected a token", file.display()))?;
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.unwrap_or_default());
        let request = request.with_context(|| format!("ask {url}"))?;
        let mut response = agent.run(request).with_context(|| format!("ask {url}"))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        if !status.is_success() {
            let text = body.read_to_string().unwrap_or_default();
            let shown = crate::escape::shorten(&text, 300);
            bail!("{url} answered {status}: {shown}");
        }
        serde_json::from_reader(body.reader()).with_context(|| format!("read the answer of {url}"))
    }
}

/// What calls another program over HTTP.
pub type Caller = ureq::Agent;

/// How another program is called.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who may vouch for it, PEM; none where it is called in the clear.
    pub ca_file: Option<&'a Path>,
    /// Client certificate and key, PEM.
    pub client: Option<&'a (PathBuf, PathBuf)>,
    /// Only over TLS.
    pub https_only: bool,
    /// Time for a request and its answer.
    pub timeout: Duration,
}

/// Makes what calls: no proxy, no redirects, and a status is no error.
///
/// # Errors
/// When a file cannot be read or used.
pub fn caller(call: Call<'_>) -> anyhow::Result<Caller> {
    let read = |file: &Path| {
        let read = crate::files::read(file, crate::files::MAX_SMALL);
        read.with_context(|| format!("read {}", file.display()))
    };
    let ca_pem = call.ca_file.map(read).transpose()?;
    let pair = call
        .client
        .map(|(chain, key)| anyhow::Ok((read(chain)?, read(key)?)));
    let pair = pair.transpose()?;
    let pair = pair.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
    let files = || {
        let client = call
            .client
            .iter()
            .flat_map(|(chain, key)| [&**chain, &**key]);
        let files = call.ca_file.into_iter().chain(client);
        files
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let tls = tls::client(ca_pem.as_deref(), pair).with_context(files)?;
    Ok(Caller::config_builder()
        .tls_config(tls)
        .https_only(call.https_only)
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(call.timeout))
        .build()
        .new_agent())
}
