//! Outputs: whether each destination answers, and what waits for it.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::unistd::{AccessFlags, access};

use super::finding::{Finding, Part};
use crate::config::{Config, Http, Kafka, Kind, Output};
use crate::remote::{self, Call};
use crate::store::look::Look;
use crate::{escape, time};

const PART: Part = Part("outputs");
/// Most time for a destination to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Age of the oldest waiting batch at which something is wrong.
const OLD: Duration = Duration::from_secs(600);

pub(super) fn examine(config: &Config, look: Option<&Look>, now_ms: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for output in &config.outputs {
        findings.push(match &output.kind {
            Kind::RemoteWrite(http) | Kind::Otlp(http, _) => answers(PART, &output.name, http),
            Kind::File(file) => folder(PART, &output.name, &file.path),
            Kind::Kafka(kafka) => listens(&output.name, kafka),
            Kind::Prometheus(_) => PART.ok(&output.name, "GET /metrics shows it".to_owned()),
        });
        findings.extend(look.map(|look| backlog(output, look, now_ms)));
    }
    findings
}

/// Asks for the address alone: whatever is answered, somebody is there whom we trust.
pub(super) fn answers(part: Part, name: &str, http: &Http) -> Finding {
    let ask = || -> anyhow::Result<u16> {
        let caller = remote::caller(Call {
            ca_file: http.ca_file.as_deref(),
            client: http.client.as_ref(),
            https_only: http.url.starts_with("https://"),
            timeout: http.timeout.min(TIMEOUT),
        })?;
        Ok(caller.get(&http.url).call()?.status().as_u16())
    };
    match ask() {
        Ok(status) => part.ok(name, format!("{} answers ({status} to GET)", http.url)),
        Err(error) => part.failed(
            name,
            escape::shorten(&format!("{}: {error:#}", http.url), 500),
            "start or mend the destination, the way to it, or url and ca_file; what is to be sent \
             waits meanwhile",
        ),
    }
}

/// Whether any of the brokers that are asked first listens.
fn listens(name: &str, kafka: &Kafka) -> Finding {
    let connect = |broker: &str| -> anyhow::Result<()> {
        let mut addresses = broker.to_socket_addrs()?;
        let first = addresses.next().context("no address")?;
        TcpStream::connect_timeout(&first, kafka.timeout.min(TIMEOUT))?;
        Ok(())
    };
    let mut failed = Vec::new();
    for broker in &kafka.brokers {
        match connect(broker) {
            Ok(()) => return PART.ok(name, format!("{broker} listens")),
            Err(error) => failed.push(format!("{broker}: {error:#}")),
        }
    }
    PART.failed(
        name,
        escape::shorten(&failed.join("; "), 500),
        "start the brokers, or mend the way to them or `brokers`; what is stored waits in the \
         outbox meanwhile",
    )
}

pub(super) fn folder(part: Part, name: &str, file: &Path) -> Finding {
    let shown = file.display();
    let mut path = file;
    // The output makes it.
    while !path.exists()
        && let Some(above) = path.parent()
    {
        path = above;
    }
    match access(path, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => part.ok(name, format!("{shown} can be written")),
        Err(error) => part.failed(
            name,
            format!("{shown}: {}", error.desc()),
            "make it writable for the collector's account; run doctor as that account",
        ),
    }
}

fn backlog(output: &Output, look: &Look, now_ms: i64) -> Finding {
    let name = format!("{} backlog", output.name);
    let Some(seen) = look.outputs.iter().find(|seen| seen.name == output.name) else {
        return PART.ok(name, "new: it begins with the next start of `serve`");
    };
    let oldest = look.oldest_waiting_ms.filter(|_| seen.waiting > 0);
    let age_ms = oldest.map_or(0, |at| now_ms.saturating_sub(at).max(0));
    let what = format!(
        "{} batches wait, {} were dropped, the oldest in the outbox is {} s old",
        seen.waiting,
        seen.dropped,
        age_ms / 1000
    );
    if age_ms > time::whole_ms(OLD) {
        PART.warning(
            name,
            what,
            "look at the log for `output failed`; what waits is dropped beyond store.outbox_bytes",
        )
    } else if seen.dropped > 0 {
        let advice = "the destination lacks them; raise store.outbox_bytes for longer outages";
        PART.warning(name, what, advice)
    } else {
        PART.ok(name, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Format};
    use crate::doctor::State;
    use crate::store::look;

    #[test]
    fn what_waits_for_long_or_was_dropped_is_a_warning() {
        let output = Output {
            name: String::from("a"),
            tables: Vec::new(),
            kind: Kind::File(File {
                path: "/".into(),
                format: Format::Json,
                max_bytes: 1,
                max_age: OLD,
            }),
        };
        let of = |waiting, dropped, oldest| {
            let look = Look {
                version: 1,
                batches: 0,
                hosts: 0,
                ends_ms: None,
                received_ms: None,
                evicted: None,
                outputs: vec![look::Output {
                    name: String::from("a"),
                    waiting,
                    dropped,
                }],
                oldest_waiting_ms: oldest,
            };
            backlog(&output, &look, 10_000_000).state
        };
        assert_eq!(of(0, 0, None), State::Ok);
        assert_eq!(of(3, 0, Some(9_900_000)), State::Ok);
        assert_eq!(of(3, 0, Some(1_000_000)), State::Warning);
        assert_eq!(of(0, 0, Some(1_000_000)), State::Ok);
        assert_eq!(of(0, 1, None), State::Warning);
    }
}
