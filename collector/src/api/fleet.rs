//! `GET /api/v1/fleet`: every agent, a page after the other.

use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::operation::{Asking, Form, Operation, form, write};
use super::page::{self, CURSOR};
use super::parameter::{Kind, Parameter};
use crate::digest::{hex, unhex};
use crate::fleet::{Host, RefusedCredential};
use crate::join::HostId;
use crate::query;
use crate::store::Evicted;

/// `GET /api/v1/fleet`
pub const FLEET: Operation = Operation {
    method: "GET",
    path: "/api/v1/fleet",
    id: "fleet",
    summary: "Every agent: kernel, mode and why, what was lost, spool, clock, cost, last seen",
    help: "By host name, then host id.",
    parameters: &[&[
        Parameter::new(
            "limit",
            Kind::Number(1, 1000),
            "Most hosts of a page; it has fewer where they report much.",
        )
        .or("100"),
        CURSOR,
    ]],
    body: None,
    form: Form::Json(form::<Page>),
    refusals: &[],
    answer: Some(fleet),
};

/// A page of the fleet.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FleetPage")]
struct Page {
    hosts: Vec<Agent>,
    /// Credentials under which batches of another host than theirs were refused; on the first page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    credentials_refused: Vec<RefusedCredential>,
    /// What was deleted because the store was full; on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    evicted: Option<Evicted>,
    /// The cursor of the next page; not there on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A host and its agent, with what the agent takes.
#[derive(Serialize, JsonSchema)]
struct Agent {
    #[serde(flatten)]
    host: Host,
    cost: Cost,
}

/// What an agent takes of its host, as it says itself; null where it does not say.
#[derive(Serialize, JsonSchema)]
struct Cost {
    /// CPU time since it started, milliseconds.
    cpu_ms: Option<u64>,
    /// Of one CPU, from its start to its last batch; 0.01 is one per cent.
    cpu_share: Option<f64>,
    /// Resident memory, bytes.
    rss_bytes: Option<u64>,
    /// The most that it ever was.
    rss_peak_bytes: Option<u64>,
}

impl Cost {
    fn of(host: &Host) -> Self {
        let counter = |name: &str| {
            let mut counters = host.report.counters.iter();
            counters.find(|(known, _)| known == name).map(|(_, n)| *n)
        };
        let cpu_ms = counter("agent_cpu_ms_total");
        let started_ms = i64::try_from(host.report.started_ms).unwrap_or(i64::MAX);
        let ran_ms = host.last_seen_ms.saturating_sub(started_ms);
        let share = |cpu_ms: u64| {
            // Far below 2^52, where every number is exact.
            #[expect(
                clippy::cast_precision_loss,
                reason = "a share is not exact to the last bit"
            )]
            let share = cpu_ms as f64 / ran_ms as f64;
            (share * 1e6).round() / 1e6
        };
        Self {
            cpu_ms,
            cpu_share: cpu_ms.filter(|_| ran_ms > 0 && started_ms > 0).map(share),
            rss_bytes: counter("agent_rss_bytes"),
            rss_peak_bytes: counter("agent_rss_peak_bytes"),
        }
    }
}

/// Answers [`FLEET`].
///
/// # Errors
/// A cursor of something else, and those of the store.
fn fleet(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let cursor = asking.given.text("cursor");
    let after = cursor.map(|text| {
        let (name, host): (String, String) = page::place("fleet", text)?;
        let host = unhex(&host).ok_or_else(page::foreign)?;
        Ok::<_, Failure>((name, HostId(host)))
    });
    let after = after.transpose()?;
    let most = asking.given.count("limit");
    let (records, more) = query::hosts_after(asking.store, after.as_ref(), most)?;
    let next = records.last().filter(|_| more).map(|last| {
        let place = (last.hostname.as_str(), hex(&last.host.0));
        page::cursor("fleet", place)
    });
    let rest = match cursor {
        None => query::beside_hosts(asking.store)?,
        Some(_) => Default::default(),
    };
    let agent = |host: Host| Agent {
        cost: Cost::of(&host),
        host,
    };
    let page = Page {
        hosts: records
            .into_iter()
            .map(|record| agent(record.into()))
            .collect(),
        credentials_refused: rest.credentials_refused,
        evicted: rest.evicted,
        next,
    };
    write(out, &page)
}
