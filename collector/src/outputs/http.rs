//! One request to a destination, and what its answer means.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};

use super::sink::Later;
use crate::config::Http;
use crate::remote::{self, Call, Caller};
use crate::{escape, files, time};

/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 10;
/// Longest time that a destination may ask to be left alone.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A client of one server. Files are read again with each attempt after a failure.
pub(crate) struct Client {
    config: Http,
    agent: Option<Caller>,
    token: Option<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answered {
    Taken,
    /// The same request will never be taken.
    Refused(String),
}

impl Client {
    pub(crate) fn new(config: Http) -> Self {
        Self {
            config,
            agent: None,
            token: None,
        }
    }

    /// Posts a body to the configured URL and `path`.
    ///
    /// # Errors
    /// [`Later`] where it may be taken another time. That is also so where a credential or a path is
    /// wrong: an operator can mend these, and the outbox is bounded.
    pub(crate) fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answered, Later> {
        let answered = self.try_post(path, headers, body);
        if answered.is_err() {
            self.agent = None;
        }
        answered
    }

    fn try_post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answered, Later> {
        let agent = match &self.agent {
            Some(agent) => agent.clone(),
            None => self.connect()?,
        };
        let url = format!("{}{path}", self.config.url);
        let mut request = agent.post(&url).header(
            "User-Agent",
            concat!("waybill-collector/", env!("CARGO_PKG_VERSION")),
        );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut response = request
            .send(body)
            .with_context(|| format!("post to {url}"))?;
        let status = response.status().as_u16();
        let wait = response.headers().get("Retry-After");
        let wait = wait.and_then(|value| retry_after(value.to_str().ok()?, now()));
        let answer = response.body_mut().with_config().limit(MAX_ANSWER);
        // Read to the end, so that the connection serves the next request too.
        let text = answer.read_to_string().unwrap_or_default();
        let shown = || format!("{url} answered {status}: {}", escape::shorten(&text, 200));
        match status {
            200..=299 => Ok(Answered::Taken),
            400 | 413 | 415 | 422 => Ok(Answered::Refused(shown())),
            _ => Err(Later {
                wait,
                ..Later::from(anyhow!(shown()))
            }),
        }
    }

    fn connect(&mut self) -> anyhow::Result<Caller> {
        let config = &self.config;
        let agent = remote::caller(Call {
            ca_file: config.ca_file.as_deref(),
            client: config.client.as_ref(),
            https_only: config.url.starts_with("https://"),
            timeout: config.timeout,
        })?;
        self.token = match &config.token_file {
            None => None,
            Some(file) => {
                let text = files::text(file).with_context(|| format!("read {}", file.display()))?;
                let token = text.lines().map(str::trim).find(|line| !line.is_empty());
                let token =
                    token.with_context(|| format!("{}: expected a token", file.display()))?;
                Some(token.to_owned())
            }
        };
        self.agent = Some(agent.clone());
        Ok(agent)
    }
}

/// The wall clock.
fn now() -> SystemTime {
    let since = Duration::from_millis(time::now_ms().max(0).unsigned_abs());
    SystemTime::UNIX_EPOCH + since
}

/// `Retry-After` as seconds or as a date, bounded.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().map(Duration::from_secs).ok();
    let wait = seconds.or_else(|| {
        let at = httpdate::parse_http_date(text).ok()?;
        Some(at.duration_since(now).unwrap_or_default())
    });
    wait.map(|wait| wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_understood_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("99999"), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(wait("Sat, 06 Nov 1993 08:50:07 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
    }
}
