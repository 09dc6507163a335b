//! By what alerts are found, silenced and told apart: names with their values.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Subject;
use super::state::Alert;

/// Names of labels.
pub const LABELS: [&str; 12] = [
    "rule", "severity", "kind", "host", "service", "client", "server", "endpoint", "gateway",
    "table", "flow", "owner",
];

/// Values by label; some have several, such as the hosts of an edge, by id and by name.
pub type Labels = BTreeMap<&'static str, BTreeSet<String>>;

/// The labels of an alert.
#[must_use]
pub fn labels(alert: &Alert) -> Labels {
    let mut labels = Labels::new();
    let mut add = |label, value: &str| {
        if !value.is_empty() {
            let values: &mut BTreeSet<String> = labels.entry(label).or_default();
            values.insert(value.to_owned());
        }
    };
    let finding = &alert.finding;
    add("rule", finding.rule.as_str());
    add("severity", finding.severity.name());
    add("kind", kind(&finding.subject));
    for host in finding.subject.hosts() {
        add("host", host);
    }
    for gateway in &finding.through {
        add("gateway", gateway);
    }
    match &finding.subject {
        Subject::Edge {
            client,
            server,
            endpoint,
        } => {
            add("client", &client.name);
            add("server", &server.name);
            add("endpoint", endpoint);
            for end in [client, server] {
                add("service", &end.service);
                add("host", hostname(&end.name, &end.service));
            }
        }
        Subject::Node { node } => {
            add("server", &node.name);
            add("service", &node.service);
            add("host", hostname(&node.name, &node.service));
        }
        Subject::Host { name, .. } => add("host", name),
        Subject::Gateway { address, .. } => add("gateway", address),
        Subject::Series {
            name,
            table,
            labels,
            ..
        } => {
            add("host", name);
            add("table", table);
            if let Some(service) = labels.get("service") {
                add("service", service);
            }
        }
        Subject::Flow { id, owner, .. } => {
            add("flow", id);
            add("owner", owner);
        }
        Subject::Collector => {}
    }
    labels
}

/// The host in the name of a node, which is `<hostname>/<service>`; nothing for an address.
fn hostname<'a>(name: &'a str, service: &str) -> &'a str {
    let host = name.strip_suffix(service).filter(|_| !service.is_empty());
    host.and_then(|host| host.strip_suffix('/')).unwrap_or("")
}

/// The word for what a subject is.
#[must_use]
pub fn kind(subject: &Subject) -> &'static str {
    match subject {
        Subject::Edge { .. } => "edge",
        Subject::Node { .. } => "node",
        Subject::Host { .. } => "host",
        Subject::Gateway { .. } => "gateway",
        Subject::Series { .. } => "series",
        Subject::Flow { .. } => "flow",
        Subject::Collector => "collector",
    }
}

/// What a subject is called among people.
#[must_use]
pub fn named(subject: &Subject) -> String {
    match subject {
        Subject::Edge {
            client,
            server,
            endpoint,
        } if server.name.contains(endpoint.as_str()) => {
            format!("{} -> {}", client.name, server.name)
        }
        Subject::Edge {
            client,
            server,
            endpoint,
        } => format!("{} -> {} ({endpoint})", client.name, server.name),
        Subject::Node { node } => node.name.clone(),
        Subject::Host { host, name } if name.is_empty() => host.clone(),
        Subject::Host { name, .. } => name.clone(),
        Subject::Gateway { address, .. } => address.clone(),
        Subject::Series {
            host,
            name,
            table,
            labels,
        } => {
            let host = if name.is_empty() { host } else { name };
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            if labels.is_empty() {
                format!("{table} of {host}")
            } else {
                format!("{table} of {host}: {}", labels.join(", "))
            }
        }
        Subject::Flow { .. } => subject.to_string(),
        Subject::Collector => String::from("the collector"),
    }
}
