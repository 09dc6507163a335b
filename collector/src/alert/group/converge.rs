//! Which alerts are one trouble.

use std::collections::{BTreeMap, BTreeSet};

use super::headline::headline;
use super::trouble::{Cause, Context, Group};
use crate::alert::finding::{End, Severity, Subject};
use crate::alert::state::Alert;
use crate::digest::{hex, sha256};

/// So many edges with a gateway in common, to more than one server, are one trouble.
const THROUGH: usize = 3;
/// A client that has trouble with so many servers is the one that has it.
const SERVERS: usize = 3;
/// Less confidence than this is said.
const SURE: f64 = 0.8;

/// Groups of the alerts that fire, the worst and oldest first. The order of `alerts` does not matter.
#[must_use]
pub fn converge(alerts: &[&Alert], context: &Context) -> Vec<Group> {
    let all: BTreeMap<&str, &Alert> = alerts.iter().map(|one| (one.id.as_str(), *one)).collect();
    let mut left: Vec<&Alert> = all.into_values().collect();
    let mut groups: BTreeMap<Cause, Vec<&Alert>> = BTreeMap::new();
    // What is not declared may work very well: it says nothing of the others, nor they of it.
    take(&mut left, &mut groups, |alert| {
        alert.finding.declared.then_some(Cause::Matrix)
    });
    down(&mut left, context, &mut groups);
    through(&mut left, &mut groups);
    rest(&left, &mut groups);
    let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
    groups.sort_by(|a, b| {
        let worse = b.severity.cmp(&a.severity);
        worse
            .then(a.since_ms.cmp(&b.since_ms))
            .then(a.id.cmp(&b.id))
    });
    groups
}

/// Takes those out that a predicate gives a cause.
fn take<'a>(
    left: &mut Vec<&'a Alert>,
    groups: &mut BTreeMap<Cause, Vec<&'a Alert>>,
    cause: impl Fn(&Alert) -> Option<Cause>,
) {
    left.retain(|alert| match cause(alert) {
        Some(cause) => {
            groups.entry(cause).or_default().push(alert);
            false
        }
        None => true,
    });
}

/// Hosts that are down, with all that is theirs.
fn down<'a>(
    left: &mut Vec<&'a Alert>,
    context: &Context,
    groups: &mut BTreeMap<Cause, Vec<&'a Alert>>,
) {
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for alert in &*left {
        if let Subject::Host { host, name } = &alert.finding.subject
            && context.silent.contains(host)
        {
            hosts.insert(host.clone(), name.clone());
        }
    }
    take(left, groups, |alert| {
        let host = touched(&alert.finding.subject, context)
            .into_iter()
            .find(|host| hosts.contains_key(host))?;
        let name = hosts[&host].clone();
        Some(Cause::Down { host, name })
    });
}

/// Hosts that something rests on, the server's first.
fn touched(subject: &Subject, context: &Context) -> Vec<String> {
    let home = |address: &str| {
        let address = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
        let address = address.trim_matches(['[', ']']);
        context.homes.get(address).cloned()
    };
    match subject {
        Subject::Edge {
            client,
            server,
            endpoint,
        } => {
            let server = server.host.clone().or_else(|| home(endpoint));
            server.into_iter().chain(client.host.clone()).collect()
        }
        Subject::Node { node } => {
            let host = node.host.clone().or_else(|| home(&node.name));
            host.into_iter().collect()
        }
        other => other.hosts().into_iter().map(str::to_owned).collect(),
    }
}

/// Gateways, with the edges through them.
fn through<'a>(left: &mut Vec<&'a Alert>, groups: &mut BTreeMap<Cause, Vec<&'a Alert>>) {
    let mut troubled = BTreeSet::new();
    for alert in &*left {
        if let Subject::Gateway { address, .. } = &alert.finding.subject {
            troubled.insert(address.clone());
        }
    }
    take(left, groups, |alert| {
        let address = match &alert.finding.subject {
            Subject::Gateway { address, .. } => address.clone(),
            Subject::Edge { .. } => first_of(&alert.finding.through, &troubled)?,
            _ => return None,
        };
        Some(Cause::Gateway { address })
    });
    // What most have in common first, then what most of the rest have.
    while let Some(address) = shared(left) {
        take(left, groups, |alert| {
            alert
                .finding
                .through
                .contains(&address)
                .then(|| Cause::Gateway {
                    address: address.clone(),
                })
        });
    }
}

fn first_of(through: &[String], known: &BTreeSet<String>) -> Option<String> {
    let found: BTreeSet<&String> = through.iter().filter(|one| known.contains(*one)).collect();
    found.first().map(|one| (*one).clone())
}

/// The gateway that most edges have in common, where they are enough and have no server in common.
fn shared(left: &[&Alert]) -> Option<String> {
    let mut counted: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for alert in left {
        if let Subject::Edge { server, .. } = &alert.finding.subject {
            for address in &alert.finding.through {
                let (edges, servers) = counted.entry(address).or_default();
                edges.insert(alert.finding.subject.key());
                servers.insert(end_key(server));
            }
        }
    }
    let fits = |(edges, servers): &(BTreeSet<String>, BTreeSet<String>)| {
        edges.len() >= THROUGH && servers.len() > 1
    };
    let mut best: Vec<_> = counted.into_iter().filter(|(_, of)| fits(of)).collect();
    best.sort_by(|(a, (left, _)), (b, (right, _))| right.len().cmp(&left.len()).then(a.cmp(b)));
    best.first().map(|(address, _)| String::from(*address))
}

fn end_key(end: &End) -> String {
    match &end.host {
        Some(host) => format!("{host}/{}", end.service),
        None => end.name.clone(),
    }
}

/// Servers before clients, then what is left by itself.
fn rest<'a>(left: &[&'a Alert], groups: &mut BTreeMap<Cause, Vec<&'a Alert>>) {
    let mut nodes = BTreeSet::new();
    let mut clients_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut servers_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in left {
        match &alert.finding.subject {
            Subject::Node { node } => drop(nodes.insert(end_key(node))),
            Subject::Edge { client, server, .. } => {
                let (client, server) = (end_key(client), end_key(server));
                clients_of
                    .entry(server.clone())
                    .or_default()
                    .insert(client.clone());
                servers_of.entry(client).or_default().insert(server);
            }
            _ => {}
        }
    }
    for alert in left {
        let cause = match &alert.finding.subject {
            Subject::Node { node } => Cause::Server {
                name: node.name.clone(),
            },
            Subject::Edge { client, server, .. } => {
                let (from, to) = (end_key(client), end_key(server));
                let at_server = nodes.contains(&to) || clients_of[&to].len() > 1;
                if !at_server && servers_of[&from].len() >= SERVERS {
                    Cause::Client {
                        name: client.name.clone(),
                    }
                } else {
                    Cause::Server {
                        name: server.name.clone(),
                    }
                }
            }
            Subject::Host { host, name } | Subject::Series { host, name, .. } => Cause::Host {
                host: host.clone(),
                name: name.clone(),
            },
            // Taken before.
            Subject::Gateway { address, .. } => Cause::Gateway {
                address: address.clone(),
            },
            Subject::Flow { .. } => Cause::Matrix,
            Subject::Collector => Cause::Collector,
        };
        groups.entry(cause).or_default().push(alert);
    }
}

fn group((cause, mut alerts): (Cause, Vec<&Alert>)) -> Group {
    alerts.sort_by(|a, b| {
        let worse = b.finding.severity.cmp(&a.finding.severity);
        worse.then(a.id.cmp(&b.id))
    });
    let lead = alerts.iter().find(|alert| leads(&cause, alert)).copied();
    let since = |alert: &&Alert| alert.fired_ms.unwrap_or(alert.began_ms);
    let sure = |alert: &&Alert| alert.finding.confidence.is_none_or(|value| value >= SURE);
    let text = serde_json::to_string(&cause).unwrap_or_default();
    let mut ids: Vec<String> = alerts.iter().map(|alert| alert.id.clone()).collect();
    ids.sort();
    Group {
        id: format!("g-{}", hex(&sha256(text.as_bytes())[..8])),
        headline: headline(&cause, &alerts, lead),
        severity: alerts
            .first()
            .map_or(Severity::Warning, |alert| alert.finding.severity),
        since_ms: alerts.iter().map(since).min().unwrap_or(0),
        lead: lead.map(|alert| alert.id.clone()),
        proven: lead.is_some() || alerts.len() == 1,
        low_confidence: !alerts.iter().all(sure),
        candidates: Vec::new(),
        alerts: ids,
        cause,
    }
}

/// Whether an alert is about what a group has in common.
fn leads(cause: &Cause, alert: &Alert) -> bool {
    match (&alert.finding.subject, cause) {
        (Subject::Host { host: one, .. }, Cause::Down { host, .. } | Cause::Host { host, .. }) => {
            one == host
        }
        (Subject::Gateway { .. }, Cause::Gateway { .. })
        | (Subject::Node { .. }, Cause::Server { .. })
        | (Subject::Collector, Cause::Collector) => true,
        _ => false,
    }
}
