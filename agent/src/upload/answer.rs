//! What an answer of the collector means for the batch: pure.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

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

/// Orders beside the verdict, as strangers' text.
#[derive(Deserialize)]
struct WithOrders {
    orders: Option<Orders>,
}

#[derive(Deserialize)]
struct Orders {
    body: String,
    signature: String,
}

impl Answer {
    /// Body and signature of the orders that came with it, if any did.
    pub(crate) fn orders(&self) -> Option<(String, String)> {
        let found: WithOrders = serde_json::from_slice(&self.body).ok()?;
        found.orders.map(|orders| (orders.body, orders.signature))
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
    /// The answer is not a collector's: slowly, a person has to act.
    Stranger,
}

#[derive(Deserialize)]
struct Body {
    status: String,
}

/// Judges an answer; `now` is for a `Retry-After` that names a date.
pub(crate) fn judge(answer: &Answer, now: SystemTime) -> Verdict {
    let retry = |pace, fault| {
        let reason = format!("status {} {}", answer.status, words(&answer.body));
        Verdict::Retry(Retry {
            reason,
            pace,
            fault,
        })
    };
    let asked = retry_after(answer, now).map(Pace::Asked);
    match answer.status {
        200 => match serde_json::from_slice::<Body>(&answer.body)
            .ok()
            .map(|body| body.status)
        {
            Some(status) if status == "stored" => Verdict::Delivered { duplicate: false },
            Some(status) if status == "duplicate" => Verdict::Delivered { duplicate: true },
            // A captive portal or a wrong address says 200 to everything.
            _ => retry(Pace::Stranger, Fault::Peer),
        },
        400 | 413 | 415 => Verdict::Refused {
            reason: format!("status {} {}", answer.status, words(&answer.body)),
        },
        401 | 403 => retry(asked.unwrap_or(Pace::Unauthorized), Fault::Peer),
        408 | 425 | 429 | 502..=504 => retry(asked.unwrap_or(Pace::Backoff), Fault::Peer),
        500..=599 => retry(asked.unwrap_or(Pace::Backoff), Fault::Batch),
        // Redirections too: a batch goes to the configured address or nowhere.
        _ => retry(asked.unwrap_or(Pace::Stranger), Fault::Peer),
    }
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

/// A stranger's text as one harmless line.
pub(crate) fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .take(REASON_MAX_CHARS)
        .flat_map(char::escape_debug)
        .collect()
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

    fn pace(answer: &Answer, now: SystemTime) -> Pace {
        match judge(answer, now) {
            Verdict::Retry(retry) => retry.pace,
            other => panic!("{other:?} is not a retry"),
        }
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date")
    }

    #[test]
    fn only_a_collectors_own_200_delivers() {
        let judged = |body| judge(&answer(200, body), now());
        assert_eq!(
            judged(r#"{"status":"stored"}"#),
            Verdict::Delivered { duplicate: false }
        );
        assert_eq!(
            judged(r#"{"status":"duplicate"}"#),
            Verdict::Delivered { duplicate: true }
        );
        for strange in [
            "",
            "<html>log in</html>",
            r#"{"status":"ok"}"#,
            r#"{"status":1}"#,
            "{",
        ] {
            assert_eq!(
                pace(&answer(200, strange), now()),
                Pace::Stranger,
                "{strange}"
            );
        }
    }

    #[test]
    fn final_refusals_are_the_three_of_the_contract() {
        for status in 100..600 {
            let refused = matches!(judge(&answer(status, "no"), now()), Verdict::Refused { .. });
            assert_eq!(refused, matches!(status, 400 | 413 | 415), "{status}");
        }
    }

    #[test]
    fn an_unknown_agent_is_kept_waiting_slowly() {
        assert_eq!(pace(&answer(401, ""), now()), Pace::Unauthorized);
        assert_eq!(pace(&answer(403, ""), now()), Pace::Unauthorized);
    }

    #[test]
    fn a_failure_of_the_collector_itself_lets_other_batches_go_first() {
        for (status, fault) in [(500, Fault::Batch), (501, Fault::Batch), (503, Fault::Peer)] {
            match judge(&answer(status, ""), now()) {
                Verdict::Retry(retry) => assert_eq!(retry.fault, fault, "{status}"),
                other => panic!("{status}: {other:?}"),
            }
        }
    }

    #[test]
    fn retry_after_is_taken_in_seconds_and_as_any_http_date() {
        let asked = |value: &str| {
            let mut answer = answer(503, "");
            answer.retry_after = Some(value.to_owned());
            pace(&answer, now())
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
        let mut answer = answer(429, "");
        answer.retry_after = Some("Sun, 06 Nov 2044 08:50:37 GMT".to_owned());
        answer.date = Some("Sun, 06 Nov 2044 08:50:07 GMT".to_owned());
        assert_eq!(pace(&answer, now()), Pace::Asked(Duration::from_secs(30)));
    }

    #[test]
    fn a_strangers_words_stay_on_one_line() {
        let text = words(b"a\nfatal: forged\x1b[31m \xff");
        assert!(!text.chars().any(char::is_control), "{text}");
        assert!(words(&[b'x'; 4096]).len() <= REASON_MAX_CHARS);
    }

    proptest! {
        #[test]
        fn any_answer_is_judged(
            status: u16,
            retry_after in proptest::option::of(".*"),
            date in proptest::option::of(".*"),
            body: Vec<u8>,
        ) {
            let _verdict = judge(&Answer { status, retry_after, date, body }, now());
        }
    }
}
