//! One request to the collector and its answer, over HTTPS.
//!
//! Blocking, for the upload thread. One connection is kept open between requests.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail, ensure};
use ureq::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use ureq::http::{HeaderValue, Uri};

use super::answer::{Answer, words};
use super::backoff::random;
use super::client::{Address, BATCHES_PATH, bearer, client};
use super::enrolment::{Asking, Enrolment, Stored};
use super::{Credential, Error, Settings};
use crate::clock;
use crate::metrics::Metrics;
use crate::orders::{Mailbox, Signed};
use crate::spool::Sealed;

const MEDIA_TYPE: &str = "application/vnd.waybill.batch";
/// Bytes of an answer that are read: a few dozen, and orders, of which one byte takes two in JSON.
pub(super) const ANSWER_MAX_BYTES: u64 = 4096 + 2 * wire::orders::MAX_BYTES as u64;

/// Sends batches to one collector.
pub struct Transport {
    /// Another one after each certificate.
    agent: Arc<Mutex<ureq::Agent>>,
    settings: Settings,
    uri: Uri,
    enrolment: Option<Enrolment>,
    metrics: Arc<Metrics>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    mailbox: Arc<Mailbox>,
}

/// Cuts off what a transport is doing, from another thread.
pub(super) struct Interrupt(Arc<Mutex<ureq::Agent>>);

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
        let (mut authorization, mut pair, mut enrolment) = (None, None, None);
        match &settings.credential {
            Credential::Token(token) => authorization = Some(bearer(token)?),
            Credential::Certificate { chain_pem, key_pem } => {
                pair = Some((&chain_pem[..], &key_pem[..]));
            }
            Credential::Enrolled { token, file } => {
                enrolment = Some(Enrolment::new(token.clone(), file.clone()));
            }
        }
        let agent = client(settings, &address, pair)?;
        Ok(Self {
            agent: Arc::new(Mutex::new(agent)),
            settings: settings.clone(),
            uri: address.uri,
            enrolment,
            metrics: Arc::default(),
            authorization,
            timeout: settings.timeout,
            mailbox: Arc::new(Mailbox::new(false)),
        })
    }

    /// Counts what it asks beside batches in `metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Asks for orders, and hands them and the fate of each request to `mailbox`.
    #[must_use]
    pub fn with_mailbox(mut self, mailbox: Arc<Mailbox>) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// Sends one batch and waits for the answer, `at_most` or the configured time, whichever is
    /// shorter. Name resolution is not part of that time; the system's resolver bounds it.
    pub(super) fn send(&mut self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        self.certify(None, at_most)?;
        self.mailbox.begin();
        let answer = self.ask(batch, at_most);
        self.mailbox.end(answer.is_ok());
        let said = answer.as_ref().ok().and_then(|answer| answer.date.as_ref());
        let collector_ms = said.and_then(|date| httpdate::parse_http_date(date).ok());
        if collector_ms.is_some() {
            // The batch was answered, whatever becomes of this.
            drop(self.certify(collector_ms, at_most));
        }
        let orders = answer.as_ref().ok().and_then(Answer::orders);
        if let Some((body, signature)) = orders {
            self.mailbox.deliver(Signed { body, signature });
        }
        answer
    }

    /// Gets or renews the agent's own certificate where that is due by the collector's time.
    ///
    /// An error where there is none without which nothing can be sent.
    fn certify(
        &mut self,
        collector: Option<SystemTime>,
        at_most: Duration,
    ) -> Result<(), Unanswered> {
        let Some(mut enrolment) = self.enrolment.take() else {
            return Ok(());
        };
        let was_in_use = enrolment.is_in_use();
        let done = self.certify_with(&mut enrolment, collector, at_most);
        let failed = |error: anyhow::Error| Unanswered::because(&format!("{error:#}"));
        let done = match done {
            Err(error) if enrolment.is_in_use() && was_in_use => {
                let wait = enrolment.failed(Instant::now(), random());
                let error = format!("{error:#}");
                self.metrics.upload_enrolment_failed_total.add(1);
                log::warn!(error, retry_s = wait.as_secs(); "certificate not renewed, will be repeated");
                Ok(())
            }
            Err(error) => {
                self.metrics.upload_enrolment_failed_total.add(1);
                Err(failed(error))
            }
            Ok(()) => Ok(()),
        };
        self.enrolment = Some(enrolment);
        done
    }

    fn certify_with(
        &self,
        enrolment: &mut Enrolment,
        collector: Option<SystemTime>,
        at_most: Duration,
    ) -> anyhow::Result<()> {
        if !enrolment.is_in_use()
            && let Some(stored) = enrolment.load()
        {
            self.present(stored)?;
            enrolment.put_in_use();
        }
        let since = collector.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let collector_ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
        let Some(asking) = enrolment.next(Instant::now(), collector_ms)? else {
            return Ok(());
        };
        let by_certificate = asking.by_certificate;
        let (status, answer) = self.post(&asking, at_most)?;
        if status != 200 {
            // A token that is not taken does not become one that is.
            if status == 403 && !by_certificate && enrolment.name().is_some() {
                enrolment.forget_token();
            }
            let problem: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
            let said = problem["detail"]
                .as_str()
                .map_or(&answer[..], str::as_bytes);
            bail!("no certificate: status {status} {}", words(said));
        }
        let stored = enrolment.take(asking, &answer, random())?;
        self.present(stored)?;
        let counter = if by_certificate {
            &self.metrics.upload_renewed_total
        } else {
            &self.metrics.upload_enrolled_total
        };
        counter.add(1);
        let valid_s = stored.expires_ms.saturating_sub(stored.issued_ms) / 1000;
        log::info!(name = stored.name.as_str(), valid_s; "the collector signed a certificate");
        enrolment.put_in_use();
        Ok(())
    }

    /// Asks for a certificate; status and body of the answer.
    fn post(&self, asking: &Asking, at_most: Duration) -> anyhow::Result<(u16, Vec<u8>)> {
        check_clock().map_err(|unanswered| anyhow!(unanswered.reason))?;
        let uri = self.uri.to_string();
        let base = uri.strip_suffix(BATCHES_PATH).unwrap_or(&uri);
        let agent = match asking.by_certificate {
            true => self.agent(),
            // Whoever has none yet, or one that is not taken any more, shows none.
            false => client(&self.settings, &Address::parse(&self.settings)?, None)?,
        };
        let mut response = agent
            .post(format!("{base}{}", asking.path))
            .config()
            .timeout_global(Some(self.timeout.min(at_most)))
            .build()
            .header(CONTENT_TYPE, wire::enrol::MEDIA_TYPE)
            .send(&asking.body[..])?;
        let mut body = Vec::new();
        let most = wire::enrol::MAX_BYTES as u64;
        let mut reader = response.body_mut().as_reader().take(most);
        reader.read_to_end(&mut body)?;
        Ok((response.status().as_u16(), body))
    }

    /// Shows this certificate from the next connection on, which is a new one.
    fn present(&self, stored: &Stored) -> Result<(), Error> {
        let pair = (stored.certificate.as_bytes(), stored.key.as_bytes());
        let address = Address::parse(&self.settings)?;
        let next = client(&self.settings, &address, Some(pair))?;
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn agent(&self) -> ureq::Agent {
        self.agent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gets a certificate by the token, whatever there is already; the name in it.
    ///
    /// # Errors
    /// What went wrong, in the collector's words where it said some.
    pub fn enroll(&mut self) -> anyhow::Result<String> {
        let mut enrolment = self.enrolment.take().context("nothing to enroll with")?;
        enrolment.put_in_use();
        self.certify_with(&mut enrolment, None, self.timeout)?;
        ensure!(
            enrolment.is_written(),
            "the certificate cannot be written, and the token is used up"
        );
        enrolment.name().context("no token")
    }

    fn ask(&self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        check_clock()?;
        let agent = self.agent();
        let mut request = agent
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
        Interrupt(Arc::clone(&self.agent))
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
        let agent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agent.clone().shutdown();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

impl Unanswered {
    fn because(reason: &str) -> Self {
        Self {
            reason: words(reason.as_bytes()),
            timed_out: false,
            by_proxy: false,
        }
    }
}

/// The TLS library takes such a clock for impossible, and panics.
fn check_clock() -> Result<(), Unanswered> {
    if clock::is_before_1970() {
        let why = "the clock stands before 1970: certificates cannot be judged";
        return Err(Unanswered::because(why));
    }
    Ok(())
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
