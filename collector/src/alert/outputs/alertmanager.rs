//! Prometheus Alertmanager, API version 2 (`POST /api/v2/alerts`).
//!
//! Alertmanager wants to be told again what still fires, and holds for over what it was not told
//! for a while (`endsAt`). So it is told all that fires with each turn; a collector that dies stops
//! saying so, and nothing fires for ever. What resolved is told for a while, so that it arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::feed::{Feed, pause};
use super::text::{Words, plain};
use crate::alert::finding::{Severity, Subject};
use crate::alert::labels::{kind, labels, named};
use crate::alert::mute::Mutes;
use crate::alert::rule::unit;
use crate::alert::state::{Alert, Phase};
use crate::alert::store::{Asked, Error, Kept, Place};
use crate::config::Http;
use crate::log::Limiter;
use crate::outputs::{Answered, Client, Later};
use crate::time;

/// Alerts of one request.
const CHUNK: usize = 200;
/// Most alerts of one turn.
const MOST: usize = 10_000;
/// What is over is told for so long, milliseconds.
const OVER_MS: i64 = 900_000;
/// Turns after which what was not told again is over.
const TURNS: u32 = 4;

/// One that is told.
pub(super) struct Alertmanager {
    client: Client,
    every: Duration,
    least: Severity,
    words: Words,
}

/// An alert, as it is posted.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) starts_at: String,
    pub(super) ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    pub(super) generator_url: Option<String>,
}

impl Alertmanager {
    pub(super) fn new(http: Http, every: Duration, least: Severity, words: Words) -> Self {
        Self {
            client: Client::new(http),
            every,
            least,
            words,
        }
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self, feed: &Feed) {
        let (mut failures, mut lines, mut wait) = (0, Limiter::new(), Duration::ZERO);
        while feed.stop.wait(wait) {
            wait = match self.turn(feed) {
                Ok(()) => {
                    failures = 0;
                    self.every
                }
                Err(later) => {
                    feed.metrics.alert_notices_failed_total.add(1);
                    let why = format!("{:#}", later.why);
                    feed.warn(&mut lines, &why, "Alertmanager is not told, tried again");
                    let wait = later.wait.unwrap_or_else(|| pause(failures));
                    failures += 1;
                    wait
                }
            };
        }
    }

    fn turn(&mut self, feed: &Feed) -> Result<(), Later> {
        let now_ms = time::now_ms();
        let alerts = current(feed, now_ms).map_err(anyhow::Error::new)?;
        let mutes = feed.store.mutes().map_err(anyhow::Error::new)?;
        let posted: Vec<Posted> = alerts
            .iter()
            .filter(|kept| kept.alert.finding.severity >= self.least)
            .filter_map(|kept| self.posted(kept, &mutes, now_ms))
            .collect();
        for chunk in posted.chunks(CHUNK) {
            let body = serde_json::to_vec(chunk).map_err(anyhow::Error::new)?;
            let headers = [("Content-Type", "application/json")];
            match self.client.post("/api/v2/alerts", &headers, &body)? {
                Answered::Taken => feed
                    .metrics
                    .alert_notices_sent_total
                    .add(chunk.len() as u64),
                Answered::Refused(why) => {
                    let refused = &feed.metrics.alert_notices_refused_total;
                    refused.add(chunk.len() as u64);
                    feed.warn(&mut Limiter::new(), &why, "Alertmanager refuses alerts");
                }
            }
        }
        Ok(())
    }

    /// What is said of an alert; none where it is muted or never fired.
    pub(super) fn posted(&self, kept: &Kept, mutes: &Mutes, now_ms: i64) -> Option<Posted> {
        let alert = &kept.alert;
        let starts_ms = alert.fired_ms?;
        let ends_ms = match alert.phase {
            Phase::Firing => {
                if mutes.of(&labels(alert), now_ms).is_some() {
                    return None;
                }
                now_ms.saturating_add(time::whole_ms(self.every.saturating_mul(TURNS)))
            }
            Phase::Resolved => alert.resolved_ms?,
            Phase::Pending => return None,
        };
        Some(Posted {
            labels: stable(alert),
            annotations: self.annotations(kept),
            starts_at: time::rfc3339(starts_ms),
            ends_at: time::rfc3339(ends_ms.max(starts_ms + 1)),
            generator_url: self.words.link(&alert.id),
        })
    }

    fn annotations(&self, kept: &Kept) -> BTreeMap<String, String> {
        let finding = &kept.alert.finding;
        let mut all = BTreeMap::new();
        let mut say = |name: &str, text: String| {
            if !text.is_empty() {
                all.insert(name.to_owned(), text);
            }
        };
        say("summary", self.words.say(&finding.summary));
        say("value", unit::said(finding.value, &finding.unit));
        if let Some(usual) = finding.usual {
            say("usual", unit::said(usual.median, &finding.unit));
        }
        if let Some(confidence) = finding.confidence {
            say("confidence", format!("{confidence:.3}"));
        }
        if let Some(known) = &kept.acknowledged {
            say("acknowledged_by", plain(&known.who));
        }
        all
    }
}

/// Labels that stay the same while an alert is the same: they are its identity there.
fn stable(alert: &Alert) -> BTreeMap<String, String> {
    let finding = &alert.finding;
    let mut all = BTreeMap::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            all.insert(name.to_owned(), plain(value));
        }
    };
    add("alertname", finding.rule.as_str());
    add("severity", finding.severity.name());
    add("kind", kind(&finding.subject));
    add("alert", &alert.id);
    add("subject", &named(&finding.subject));
    match &finding.subject {
        Subject::Edge {
            client,
            server,
            endpoint,
        } => {
            add("client", &client.name);
            add("server", &server.name);
            add("endpoint", endpoint);
            add("service", &server.service);
        }
        Subject::Node { node } => {
            add("server", &node.name);
            add("service", &node.service);
        }
        Subject::Host { name, .. } => add("host", name),
        Subject::Gateway { address, .. } => add("gateway", address),
        Subject::Series { name, table, .. } => {
            add("host", name);
            add("table", table);
        }
        Subject::Flow { id, owner, .. } => {
            add("flow", id);
            add("owner", owner);
        }
        Subject::Collector => {}
    }
    all
}

/// What fires, and what was over a moment ago.
fn current(feed: &Feed, now_ms: i64) -> Result<Vec<Kept>, Error> {
    let mut all = Vec::new();
    for phase in [Phase::Firing, Phase::Resolved] {
        let mut after: Option<Place> = None;
        loop {
            let page = feed.store.page(&Asked {
                phases: vec![phase],
                limit: CHUNK,
                after: after.take(),
                ..Asked::default()
            })?;
            let is_recent = |kept: &Kept| {
                let over = kept.alert.resolved_ms;
                over.is_none_or(|at| now_ms.saturating_sub(at) < OVER_MS)
            };
            // Within each severity the latest come first; another severity may follow.
            all.extend(page.alerts.into_iter().filter(is_recent));
            match page.next {
                Some(place) if all.len() < MOST => after = Some(place),
                _ => break,
            }
        }
    }
    Ok(all)
}
