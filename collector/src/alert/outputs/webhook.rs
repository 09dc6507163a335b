//! A server that takes notices as JSON. `docs/ALERTS.md` has the form and how the signature is made.

use std::path::PathBuf;

use anyhow::Context as _;
use ring::hmac;
use serde::Serialize;

use super::feed::{Sent, Sink};
use super::text::Words;
use crate::alert::notify::Notice;
use crate::config::Http;
use crate::digest::hex;
use crate::outputs::{Answered, Client, Later};
use crate::{files, time};

/// Bytes of a key that is too short to sign with.
const SHORT_KEY: usize = 16;

/// A webhook.
pub(super) struct Webhook {
    client: Client,
    key_file: Option<PathBuf>,
    words: Words,
}

/// What is posted.
#[derive(Serialize)]
struct Body<'a> {
    /// The same when it is sent again: what arrives twice is to be taken once.
    id: String,
    #[serde(flatten)]
    notice: &'a Notice,
    /// The whole as text.
    text: String,
    /// Where the page shows the first of its alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl Webhook {
    pub(super) fn new(http: Http, key_file: Option<PathBuf>, words: Words) -> Self {
        Self {
            client: Client::new(http),
            key_file,
            words,
        }
    }

    fn signature(&self, at: i64, body: &[u8]) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.key_file else {
            return Ok(None);
        };
        let read = || format!("read {}", file.display());
        let text = files::text(file).with_context(read)?;
        let key = text.trim();
        if key.len() < SHORT_KEY {
            let file = file.display();
            anyhow::bail!("{file}: expected a key of {SHORT_KEY} bytes or more");
        }
        Ok(Some(sign(key, at, body)))
    }
}

/// HMAC-SHA256 (RFC 2104) of the time in seconds, a dot and the body, as hex digits.
pub(super) fn sign(key: &str, at: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{at}.").as_bytes());
    context.update(body);
    format!("t={at},v1={}", hex(context.sign().as_ref()))
}

impl Sink for Webhook {
    fn send(&mut self, id: i64, notice: &Notice) -> Result<Sent, Later> {
        let lists = [&notice.firing, &notice.escalated, &notice.resolved];
        let first = lists.into_iter().flatten().next();
        let body = Body {
            id: format!("{id}-{}", notice.group),
            text: self.words.body(notice),
            url: first.and_then(|alert| self.words.link(&alert.id)),
            notice,
        };
        let body = serde_json::to_vec(&body).map_err(anyhow::Error::new)?;
        let signature = self.signature(time::now_ms() / 1000, &body)?;
        let mut headers = vec![("Content-Type", "application/json")];
        if let Some(signature) = &signature {
            headers.push(("X-Waybill-Signature", signature));
        }
        Ok(match self.client.post("", &headers, &body)? {
            Answered::Taken => Sent::Taken,
            Answered::Refused(why) => Sent::Refused(why),
        })
    }
}
