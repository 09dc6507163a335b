//! The agent's own certificate: got by a token, renewed before it ends, kept in one file.
//!
//! The key is made here and goes nowhere else. When to renew is told by the collector's clock, as
//! its answers say it (`Date`): this host's may be wrong by years, and a restart forgets nothing.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use wire::enrol::{Certificate, ENROLL_PATH, Enroll, MAX_BYTES, RENEW_PATH, Renew};

use super::backoff;
use crate::files;

/// Largest file that is read.
const MAX_FILE: u64 = 2 * MAX_BYTES as u64;

/// What the agent has got, as it is on disk: certificate and key are replaced together.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Stored {
    pub(super) name: String,
    /// The certificate and those above it, PEM.
    pub(super) certificate: String,
    /// Its key, PEM.
    pub(super) key: String,
    /// By the collector's clock, Unix milliseconds.
    pub(super) issued_ms: i64,
    pub(super) expires_ms: i64,
    /// SHA-256 of the token by which it was got, 64 digits.
    token: String,
    /// When to renew it by the collector's clock, Unix milliseconds.
    renew_ms: i64,
}

/// What to do about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Get one by the token.
    Enroll,
    Renew,
    /// There is none, and nothing to get one by.
    Missing,
}

/// Which one there is, and what was tried.
pub(super) struct Enrolment {
    token: Option<String>,
    file: PathBuf,
    stored: Option<Stored>,
    is_loaded: bool,
    /// It is what connections show.
    is_in_use: bool,
    /// It is on disk as well.
    is_written: bool,
    failures: u32,
    /// Not before.
    again: Option<Instant>,
}

/// A request that is to be sent, and the key that will belong to the answer.
pub(super) struct Asking {
    pub(super) path: &'static str,
    pub(super) body: Vec<u8>,
    /// Whether the certificate that there is proves who asks.
    pub(super) by_certificate: bool,
    key: String,
    token: String,
}

impl Enrolment {
    /// `token` may be one that was used already.
    pub(super) fn new(token: Option<String>, file: PathBuf) -> Self {
        Self {
            token,
            file,
            stored: None,
            is_loaded: false,
            is_in_use: false,
            is_written: false,
            failures: 0,
            again: None,
        }
    }

    /// Whether what there is, is shown.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// Whether the certificate that was got last is on disk.
    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }

    /// It is shown from now on.
    pub(super) fn put_in_use(&mut self) {
        self.is_in_use = true;
    }

    /// The token is of no use, and there is a certificate.
    pub(super) fn forget_token(&mut self) {
        self.token = None;
    }

    /// The name under which it was enrolled.
    pub(super) fn name(&self) -> Option<String> {
        self.stored.as_ref().map(|stored| stored.name.clone())
    }

    /// The certificate that there is; looks for the file until there is one.
    pub(super) fn load(&mut self) -> Option<&Stored> {
        if !self.is_loaded {
            match files::read_own(&self.file, MAX_FILE) {
                Ok(bytes) => {
                    self.stored = serde_json::from_slice(&bytes).ok();
                    self.is_loaded = self.stored.is_some();
                    if !self.is_loaded {
                        log::error!(file:% = self.file.display(); "the certificate on disk is damaged");
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    log::error!(file:% = self.file.display(), error:%; "certificate not read");
                }
            }
        }
        self.stored.as_ref()
    }

    /// What has to be asked before anything can be sent, by the time of the last answer if there was
    /// one; `None` where there is nothing to ask now.
    ///
    /// # Errors
    /// There is no certificate and no way to one.
    pub(super) fn next(&self, now: Instant, collector_ms: Option<i64>) -> Result<Option<Asking>> {
        let due = due(self.stored.as_ref(), self.token.as_deref(), collector_ms);
        // Without a certificate each attempt to send is one to get it, and waits as those do.
        let waits = self.stored.is_some() && self.again.is_some_and(|again| now < again);
        match due {
            Due::Nothing => Ok(None),
            Due::Missing => Err(anyhow!(
                "not enrolled: expected a token in the file of upload.enroll_token_file, or \
                 `waybill-agent enroll`"
            )),
            Due::Enroll | Due::Renew if waits => Ok(None),
            Due::Enroll => {
                let token = self.token.clone().context("a token is there")?;
                let (key, csr) = request()?;
                let mark = mark(&token);
                let body = serde_json::to_vec(&Enroll { token, csr })?;
                Ok(Some(Asking {
                    path: ENROLL_PATH,
                    body,
                    by_certificate: false,
                    key,
                    token: mark,
                }))
            }
            Due::Renew => {
                let (key, csr) = request()?;
                let stored = self.stored.as_ref().context("a certificate is there")?;
                Ok(Some(Asking {
                    path: RENEW_PATH,
                    body: serde_json::to_vec(&Renew { csr })?,
                    by_certificate: true,
                    key,
                    token: stored.token.clone(),
                }))
            }
        }
    }

    /// Takes what was answered to `asking`, and writes it down. It is in use also where that fails:
    /// the log says so, and the next renewal tries again.
    ///
    /// # Errors
    /// The answer is no certificate.
    pub(super) fn take(&mut self, asking: Asking, answer: &[u8], random: u64) -> Result<&Stored> {
        let answer: Certificate =
            serde_json::from_slice(answer).context("the answer is no certificate")?;
        let lifetime = answer.expires_ms.saturating_sub(answer.issued_ms).max(0);
        let stored = self.stored.insert(Stored {
            renew_ms: answer
                .issued_ms
                .saturating_add(renew_after(lifetime, random)),
            name: answer.name,
            certificate: answer.certificate,
            key: asking.key,
            issued_ms: answer.issued_ms,
            expires_ms: answer.expires_ms,
            token: asking.token,
        });
        self.is_loaded = true;
        (self.failures, self.again) = (0, None);
        let bytes = serde_json::to_vec(stored)?;
        let written = files::replace_own(&self.file, &bytes, true);
        self.is_written = written.is_ok();
        if let Err(error) = written {
            let file = self.file.display();
            log::error!(file:%, error:%; "certificate not written, a restart will not have it");
        }
        Ok(stored)
    }

    /// It did not work: not again at once. How long from now.
    pub(super) fn failed(&mut self, now: Instant, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::jittered(self.failures, random);
        self.again = Some(now + wait);
        wait
    }
}

/// What is to be done: pure. `collector_ms` is the collector's time, where it is known.
fn due(stored: Option<&Stored>, token: Option<&str>, collector_ms: Option<i64>) -> Due {
    match (stored, token) {
        (None, None) => Due::Missing,
        (None, Some(_)) => Due::Enroll,
        // Another token than the one by which it was got is there for a reason.
        (Some(stored), Some(token)) if stored.token != mark(token) => Due::Enroll,
        (Some(stored), _) if collector_ms.is_some_and(|now| now >= stored.renew_ms) => Due::Renew,
        (Some(_), _) => Due::Nothing,
    }
}

/// After two thirds of the lifetime, and up to a twelfth of it later: a fleet that was enrolled in
/// one hour does not come back in one hour.
fn renew_after(lifetime_ms: i64, random: u64) -> i64 {
    let part = (i128::from(lifetime_ms / 12) * i128::from(random)) >> 64;
    lifetime_ms / 3 * 2 + i64::try_from(part).unwrap_or(0)
}

fn mark(token: &str) -> String {
    notation::hex(digest(&SHA256, token.as_bytes()).as_ref())
}

/// A new key, PEM, and a request for a certificate that it has signed.
fn request() -> Result<(String, String)> {
    let key = KeyPair::generate().context("make a key")?;
    let mut params = CertificateParams::default();
    // The collector gives the name.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).context("ask with a key")?;
    Ok((
        key.serialize_pem(),
        request.pem().context("ask with a key")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(token: &str) -> Stored {
        Stored {
            name: "a".into(),
            certificate: String::new(),
            key: String::new(),
            issued_ms: 0,
            expires_ms: 1200,
            token: mark(token),
            renew_ms: 800,
        }
    }

    #[test]
    fn what_is_due_follows_from_what_there_is_and_the_collectors_clock() {
        let has = stored("t");
        let due = |stored, token, now| due(stored, token, now);
        assert_eq!(due(None, None, Some(1)), Due::Missing);
        assert_eq!(due(None, Some("t"), None), Due::Enroll);
        assert_eq!(due(Some(&has), None, Some(799)), Due::Nothing);
        // The token by which it was got is used, and says nothing more.
        assert_eq!(due(Some(&has), Some("t"), Some(799)), Due::Nothing);
        assert_eq!(due(Some(&has), Some("t"), Some(800)), Due::Renew);
        assert_eq!(due(Some(&has), Some("t"), None), Due::Nothing);
        assert_eq!(due(Some(&has), Some("another"), Some(1)), Due::Enroll);
    }

    #[test]
    fn renewals_are_spread_behind_two_thirds_of_the_lifetime() {
        assert_eq!(renew_after(1200, 0), 800);
        assert_eq!(renew_after(1200, u64::MAX), 899);
        assert_eq!(renew_after(1200, u64::MAX / 2), 849);
        assert_eq!(renew_after(0, u64::MAX), 0);
        assert!(renew_after(i64::MAX, u64::MAX) < i64::MAX);
    }

    #[test]
    fn a_certificate_is_kept_for_its_owner_alone_and_found_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("enrolled.json");
        let mut one = Enrolment::new(Some("t".into()), file.clone());
        assert!(one.load().is_none());
        let asking = one.next(Instant::now(), None).unwrap().unwrap();
        let key = asking.key.clone();
        assert!(!asking.by_certificate);
        let sent: Enroll = serde_json::from_slice(&asking.body).unwrap();
        assert_eq!(sent.token, "t");
        assert!(!String::from_utf8_lossy(&asking.body).contains("PRIVATE KEY"));
        assert!(one.take(asking, b"<html>", 0).is_err());
        let asking = Asking {
            path: ENROLL_PATH,
            body: Vec::new(),
            by_certificate: false,
            key: key.clone(),
            token: mark("t"),
        };
        let answer = Certificate {
            name: "db1".into(),
            certificate: "PEM".into(),
            issued_ms: 0,
            expires_ms: 1200,
        };
        let answer = serde_json::to_vec(&answer).unwrap();
        one.take(asking, &answer, 0).unwrap();
        assert!(one.next(Instant::now(), Some(799)).unwrap().is_none());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(one.is_written());
        // The next run has it, also without the token.
        let mut again = Enrolment::new(None, file.clone());
        assert_eq!(again.load().map(|stored| stored.key.clone()), Some(key));
        let asking = again.next(Instant::now(), Some(800)).unwrap().unwrap();
        assert!(asking.by_certificate && asking.path == RENEW_PATH);
        // A failure does not come again at once, and what there is stays in use.
        let wait = again.failed(Instant::now(), 0);
        assert!(wait >= Duration::from_secs(1));
        assert!(again.next(Instant::now(), Some(800)).unwrap().is_none());
        let later = Instant::now() + Duration::from_secs(400);
        assert!(again.next(later, Some(800)).unwrap().is_some());
        // Damaged, it is none, and says what to do.
        std::fs::write(&file, "{").unwrap();
        let mut damaged = Enrolment::new(None, file);
        assert!(damaged.load().is_none());
        let error = damaged.next(later, None).err().unwrap().to_string();
        assert!(error.contains("enroll_token_file"), "{error}");
    }
}
