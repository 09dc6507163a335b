//! What a collector says to an agent about one batch, as JSON.
//!
//! Between the two stand balancers, proxies and portals that answer in the collector's place, with
//! any status and any page. So a status alone decides nothing: an agent deletes a batch only after
//! an [`Answer`] that [ends](Answer::ends) it, which says what became of the batch and names it by
//! its idempotency key. A page does not do that by accident, and an answer to another batch does
//! not pass for this one.
//!
//! ```json
//! {"status": "refused", "batch": "<key>", "error": "malformed", "message": "not a valid batch: ..."}
//! ```

use serde::{Deserialize, Serialize};

/// Name of the request header that carries a batch's idempotency key. Lower case, as HTTP
/// libraries want it.
pub const KEY_HEADER: &str = "idempotency-key";

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is on the collector's disk. HTTP 200.
    Stored,
    /// It was there before. HTTP 200.
    Duplicate,
    /// It will never be taken, whoever sends it again. HTTP 400, 413 or 415.
    Refused,
    /// It was not taken now and should be kept. Any other HTTP status, and 400 or 415 for a
    /// request that lost the headers an agent sends: that is the way's fault, not the batch's.
    Kept,
}

/// The body of an answer; fields that a reader does not know are skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of the batch.
    pub status: Status,
    /// Its idempotency key, in lower case; absent where the request named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Name of the reason, where it was not stored: a word of the collector's metric
    /// `ingest_refused_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A sentence about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Orders that the agent lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<SignedOrders>,
}

/// Orders as they travel; see [`crate::orders`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrders {
    /// Their text.
    pub body: String,
    /// Ed25519 over the text, 128 hex digits.
    pub signature: String,
}

impl Answer {
    /// Whether it ends the batch of this idempotency key: stored or refused for good, and nobody
    /// else's. Only then may an agent delete it.
    #[must_use]
    pub fn ends(&self, key: &str) -> bool {
        self.status != Status::Kept && self.batch.as_deref() == Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Status};

    const KEY: &str = "07070707070707070707070707070707-09090909090909090909090909090909-3";

    fn read(text: &str) -> Option<Answer> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn an_answer_is_written_as_it_is_read() {
        let answer = Answer {
            status: Status::Refused,
            batch: Some(KEY.into()),
            error: Some("malformed".into()),
            message: None,
            orders: None,
        };
        let text = serde_json::to_string(&answer).expect("JSON");
        let expected = format!(r#"{{"status":"refused","batch":"{KEY}","error":"malformed"}}"#);
        assert_eq!(text, expected);
        assert_eq!(read(&text), Some(answer));
    }

    #[test]
    fn only_an_answer_about_this_batch_ends_it() {
        let of = |status: &str, key: &str| {
            let text = format!(r#"{{"status":"{status}","batch":"{key}","new":[1]}}"#);
            read(&text).is_some_and(|answer| answer.ends(KEY))
        };
        for status in ["stored", "duplicate", "refused"] {
            assert!(of(status, KEY), "{status}");
            assert!(!of(status, &KEY.replace("-3", "-4")), "{status}");
        }
        for status in ["kept", "Refused", "error", "400", ""] {
            assert!(!of(status, KEY), "{status}");
        }
    }

    #[test]
    fn pages_and_other_programs_errors_end_nothing() {
        let pages = [
            "",
            "<html><body><h1>400 Bad Request</h1></body></html>",
            r#"{"error":"malformed","message":"no"}"#,
            r#"{"status":400,"error":"Bad Request"}"#,
            r#"{"status":"refused"}"#,
            r#"{"status":"refused","batch":null}"#,
            r#"["refused"]"#,
        ];
        for page in pages {
            assert!(!read(page).is_some_and(|answer| answer.ends(KEY)), "{page}");
        }
    }
}
