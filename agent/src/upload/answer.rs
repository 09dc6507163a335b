//! What an answer of the collector means for the batch: pure.

use std::time::{Duration, SystemTime};

use wire::answer::{Answer as Words, Status};

use crate::spool::Fault;

/// Characters of a collector's own words that are logged.
const REASON_MAX_CHARS: usize = 200;

/// The parts of an answer that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, as sent.
    pub(crate) retry_after: Option<String>,
    /// `Date`, as sent.
    pub(crate) date: Option<String>,
    /// The beginning of the body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// What it says, if it has the form of a collector's answer.
    fn words(&self) -> Option<Words> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Body and signature of the orders that came with it, if any did.
    pub(crate) fn orders(&self) -> Option<(String, String)> {
        let orders = self.words()?.orders?;
        Some((orders.body, orders.signature))
    }
}

/// What to do with the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The collector has it.
    Delivered {
        /// It had it already.
        duplicate: bool,
    },
    /// It will never take it.
    Refused {
        /// Its words, fit for a log line.
        reason: String,
    },
    /// Send it again.
    Retry(Retry),
}

/// How to send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// For the log.
    pub(crate) reason: String,
    /// How soon.
    pub(crate) pace: Pace,
    /// Whether another batch might fare better.
    pub(crate) fault: Fault,
}

/// How soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Back off with jitter.
    Backoff,
    /// As the collector asked.
    Asked(Duration),
    /// The collector does not know this agent: slowly, a person has to act.
    Unauthorized,
    /// The answer is not a collector's: back off, and at least as long as it asks.
    UnexpectedResponder(UnexpectedResponder, Duration),
}

/// Who answered in the collector's place, by the class of the status: each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnexpectedResponder {
    /// 2xx: a portal, or another program at this address.
    Page,
    /// 3xx.
    Redirection,
    /// 4xx: a balancer or a firewall that refuses.
    Refusal,
    /// 5xx, and what is no status: a balancer with nobody behind it.
    Failure,
}

/// Judges the answer to the batch of an idempotency key; `now` is for a `Retry-After` that names a
/// date.
///
/// Only the collector's own words about this batch end it ([`wire::answer`]).
pub(crate) fn judge(answer: &Answer, key: &str, now: SystemTime) -> Verdict {
    let Some(said) = answer.words() else {
        return unexpected(answer, now);
    };
    let about = said.error.as_deref().or(said.message.as_deref());
    let reason = format!(
        "status {} {}",
        answer.status,
        words(about.unwrap_or_default().as_bytes())
    );
    match (answer.status, said.status) {
        (200, Status::Stored) if said.ends(key) => Verdict::Delivered { duplicate: false },
        (200, Status::Duplicate) if said.ends(key) => Verdict::Delivered { duplicate: true },
        (400 | 413 | 415, Status::Refused) if said.ends(key) => Verdict::Refused {
            reason: match said.message {
                Some(message) => format!("{reason}: {}", words(message.as_bytes())),
                None => reason,
            },
        },
        (_, Status::Kept) => kept(answer, reason, now),
        // About another batch, or under a status that does not go with it.
        _ => unexpected(answer, now),
    }
}

/// The collector has not taken it, and says that it should be kept.
fn kept(answer: &Answer, reason: String, now: SystemTime) -> Verdict {
    let asked = retry_after(answer, now).map(Pace::Asked);
    let (pace, fault) = match answer.status {
        401 | 403 => (Pace::Unauthorized, Fault::Peer),
        500 => (Pace::Backoff, Fault::Batch),
        _ => (Pace::Backoff, Fault::Peer),
    };
    Verdict::Retry(Retry {
        reason,
        pace: asked.unwrap_or(pace),
        fault,
    })
}

/// Somebody else answered. Nothing of it is believed, but that it is not the time to try again.
fn unexpected(answer: &Answer, now: SystemTime) -> Verdict {
    let (kind, fault) = match answer.status {
        200..=299 => (UnexpectedResponder::Page, Fault::Peer),
        300..=399 => (UnexpectedResponder::Redirection, Fault::Peer),
        // Perhaps only this batch is too large, or looks like an attack.
        400 | 403 | 406 | 411 | 413 | 414 | 415 | 422 | 431 => {
            (UnexpectedResponder::Refusal, Fault::Batch)
        }
        401..=499 => (UnexpectedResponder::Refusal, Fault::Peer),
        _ => (UnexpectedResponder::Failure, Fault::Peer),
    };
    Verdict::Retry(Retry {
        reason: format!("status {} {}", answer.status, words(&answer.body)),
        pace: Pace::UnexpectedResponder(kind, retry_after(answer, now).unwrap_or_default()),
        fault,
    })
}

/// How long `Retry-After` asks to wait.
fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let value = answer.retry_after.as_deref()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a very long wait, which the back-off bounds.
        return (!value.is_empty())
            .then(|| Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    // Both by the collector's clock, where it tells: this host's may be wrong by years.
    let date = answer
        .date
        .as_deref()
        .and_then(|date| httpdate::parse_http_date(date).ok());
    Some(
        until
            .duration_since(date.unwrap_or(now))
            .unwrap_or(Duration::ZERO),
    )
}

/// The beginning of a stranger's text. The log escapes what could harm it.
pub(crate) fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim().chars().take(REASON_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    const KEY: &str = "07070707070707070707070707070707-09090909090909090909090909090909-3";

    /// The collector's answer about the batch of a key.
    fn said(status: u16, what: &str, key: &str) -> Answer {
        answer(
            status,
            &format!(r#"{{"status":"{what}","batch":"{key}","error":"busy"}}"#),
        )
    }

    fn verdict(answer: &Answer) -> Verdict {
        judge(answer, KEY, now())
    }

    fn retry(answer: &Answer) -> Retry {
        match verdict(answer) {
            Verdict::Retry(retry) => retry,
            other => panic!("{other:?} is not a retry"),
        }
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date")
    }

    #[test]
    fn only_a_collectors_own_words_about_this_batch_end_it() {
        let delivered = |duplicate| Verdict::Delivered { duplicate };
        assert_eq!(verdict(&said(200, "stored", KEY)), delivered(false));
        assert_eq!(verdict(&said(200, "duplicate", KEY)), delivered(true));
        for status in [400, 413, 415] {
            let refused = verdict(&said(status, "refused", KEY));
            assert!(
                matches!(refused, Verdict::Refused { .. }),
                "{status}: {refused:?}"
            );
        }
        let other = KEY.replace("-3", "-4");
        for status in 0..=999 {
            for (what, ends) in [
                ("stored", &[200][..]),
                ("duplicate", &[200]),
                ("refused", &[400, 413, 415]),
                ("kept", &[]),
            ] {
                let keeps = |answer| matches!(verdict(&answer), Verdict::Retry(_));
                assert!(
                    keeps(said(status, what, &other)),
                    "{status} {what} of another"
                );
                assert_eq!(
                    keeps(said(status, what, KEY)),
                    !ends.contains(&status),
                    "{status} {what}"
                );
            }
        }
    }

    #[test]
    fn strangers_are_kept_from_ending_a_batch_whatever_they_say() {
        let pages = [
            "",
            "<html>log in</html>",
            r#"{"status":"stored"}"#,
            r#"{"status":"duplicate"}"#,
            r#"{"status":"ok"}"#,
            r#"{"status":1}"#,
            r#"{"error":"malformed","message":"no"}"#,
            "{",
        ];
        for status in 0..=999_u16 {
            let kind = match status {
                200..=299 => UnexpectedResponder::Page,
                300..=399 => UnexpectedResponder::Redirection,
                400..=499 => UnexpectedResponder::Refusal,
                _ => UnexpectedResponder::Failure,
            };
            for page in pages {
                let pace = retry(&answer(status, page)).pace;
                assert_eq!(
                    pace,
                    Pace::UnexpectedResponder(kind, Duration::ZERO),
                    "{status} {page}"
                );
            }
        }
    }

    #[test]
    fn a_batch_that_a_stranger_refuses_lets_others_go_first() {
        for (status, fault) in [
            (413, Fault::Batch),
            (400, Fault::Batch),
            (404, Fault::Peer),
            (502, Fault::Peer),
        ] {
            assert_eq!(retry(&answer(status, "")).fault, fault, "{status}");
        }
    }

    #[test]
    fn an_unknown_agent_is_kept_waiting_slowly() {
        for status in [401, 403] {
            assert_eq!(retry(&said(status, "kept", KEY)).pace, Pace::Unauthorized);
        }
    }

    #[test]
    fn a_failure_of_the_collector_itself_lets_other_batches_go_first() {
        for (status, fault) in [(500, Fault::Batch), (501, Fault::Peer), (503, Fault::Peer)] {
            assert_eq!(retry(&said(status, "kept", KEY)).fault, fault, "{status}");
        }
    }

    #[test]
    fn retry_after_is_taken_in_seconds_and_as_any_http_date() {
        let asked = |value: &str| {
            let mut answer = said(503, "kept", KEY);
            answer.retry_after = Some(value.to_owned());
            retry(&answer).pace
        };
        let minute = Pace::Asked(Duration::from_secs(60));
        assert_eq!(asked("60"), minute);
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), minute);
        assert_eq!(asked("Sunday, 06-Nov-94 08:50:37 GMT"), minute);
        assert_eq!(asked("Sun Nov  6 08:50:37 1994"), minute);
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:00:00 GMT"),
            Pace::Asked(Duration::ZERO)
        );
        assert_eq!(asked("soon"), Pace::Backoff);
        assert_eq!(asked(""), Pace::Backoff);
        assert_eq!(asked("-1"), Pace::Backoff);
    }

    #[test]
    fn a_date_is_measured_by_the_collectors_clock() {
        let mut answer = said(429, "kept", KEY);
        answer.retry_after = Some("Sun, 06 Nov 2044 08:50:37 GMT".to_owned());
        answer.date = Some("Sun, 06 Nov 2044 08:50:07 GMT".to_owned());
        assert_eq!(retry(&answer).pace, Pace::Asked(Duration::from_secs(30)));
    }

    #[test]
    fn a_strangers_words_are_cut_and_left_to_the_log_to_escape() {
        assert_eq!(words(b" a\"b\xff\n"), "a\"b\u{fffd}");
        assert_eq!(words(&[b'x'; 4096]).len(), REASON_MAX_CHARS);
    }

    proptest! {
        #[test]
        fn any_answer_is_judged(
            status: u16,
            retry_after in proptest::option::of(".*"),
            date in proptest::option::of(".*"),
            body: Vec<u8>,
        ) {
            let answer = Answer { status, retry_after, date, body };
            prop_assert!(matches!(judge(&answer, KEY, now()), Verdict::Retry(_)));
        }
    }
}
