//! The sentence of a finding, in both languages.

use super::finding::{Finding, Said, Severity, Subject};
use super::rule::Rule;
use super::rule::unit::{self, Unit};
use super::rule::words::{Filled, Language, fill};

/// The sentence of what a rule found.
#[must_use]
pub fn said(rule: &Rule, finding: &Finding) -> Said {
    let in_language = |language: Language| {
        let text = &rule.texts(language).summary;
        fill(text, language, |place| {
            find(rule, finding, (place, language))
        })
    };
    Said {
        en: in_language(Language::En),
        zh: in_language(Language::Zh),
    }
}

fn find(rule: &Rule, finding: &Finding, (place, language): (&str, Language)) -> Option<Filled> {
    let kept = rule.unit.0;
    let text = |text: String| Some(Filled::Text(text));
    let named = |name: Option<String>| name.and_then(text);
    match place {
        // A share is shown as its unit says, and not as a number.
        "value" | "usual" | "spread" => {
            let number = match place {
                "value" => Some(finding.value),
                "usual" => finding.usual.map(|usual| usual.median),
                _ => finding.usual.map(|usual| usual.spread),
            };
            match (number, rule.unit.1.as_str()) {
                (Some(number), "%") => text(unit::said(number, "%")),
                _ => Some(Filled::Number(number, kept)),
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "windows are at most an hour")]
        "window" => Some(Filled::Number(
            Some(rule.window_ms as f64 / 1000.0),
            Unit::SECOND,
        )),
        "severity" => text(String::from(match (finding.severity, language) {
            (Severity::Warning, Language::En) => "warning",
            (Severity::Critical, Language::En) => "critical",
            (Severity::Warning, Language::Zh) => "警告",
            (Severity::Critical, Language::Zh) => "严重",
        })),
        "through" => text(finding.through.join(", ")),
        "subject" => text(finding.subject.to_string()),
        _ => {
            if let Some(limit) = place.strip_prefix("limit.") {
                let limit = rule.limits.iter().find(|known| known.name == limit)?;
                return text(limit.text.clone());
            }
            if let Some((_, _, unit)) = rule.numbers.iter().find(|(name, ..)| name == place) {
                return Some(Filled::Number(finding.numbers.get(place).copied(), *unit));
            }
            named(finding.subject.part(place))
        }
    }
}

impl Subject {
    /// What it is called in a place of a sentence: `client`, `server`, `endpoint`, `host`,
    /// `service`, `address` or `label.NAME`.
    #[must_use]
    pub fn part(&self, place: &str) -> Option<String> {
        let host = |host: &str, name: &str| match name.is_empty() {
            true => String::from(host),
            false => String::from(name),
        };
        match (self, place) {
            (Self::Edge { client, .. }, "client") => Some(client.name.clone()),
            (Self::Edge { server, .. }, "server") => Some(server.name.clone()),
            (Self::Edge { endpoint, .. }, "endpoint" | "address") => Some(endpoint.clone()),
            (Self::Node { node }, "client" | "server" | "service" | "address") => {
                Some(node.name.clone())
            }
            (Self::Node { node }, "host") => {
                let name = node
                    .name
                    .split_once('/')
                    .map(|(host, _)| String::from(host));
                name.or_else(|| Some(node.name.clone()))
            }
            (Self::Host { host: id, name } | Self::Series { host: id, name, .. }, "host") => {
                Some(host(id, name))
            }
            (Self::Gateway { address, .. }, "address") => Some(address.clone()),
            (Self::Series { labels, .. }, "service") => labels.get("service").cloned(),
            (Self::Series { labels, .. }, "address") => {
                let part = |name: &str| labels.get(name).map_or("", String::as_str);
                let (address, port) = (part("local_address"), part("local_port"));
                let address = if address == "::" { "*" } else { address };
                Some(format!("{address}:{port}"))
            }
            (Self::Series { labels, .. }, _) => labels.get(place.strip_prefix("label.")?).cloned(),
            _ => None,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edge {
                client,
                server,
                endpoint,
            } => write!(f, "{} -> {} ({endpoint})", client.name, server.name),
            Self::Node { node } => f.write_str(&node.name),
            Self::Host { host, name } if name.is_empty() => f.write_str(host),
            Self::Host { name, .. } => f.write_str(name),
            Self::Gateway { address, .. } => f.write_str(address),
            Self::Series {
                host,
                name,
                table,
                labels,
            } => {
                let host = if name.is_empty() { host } else { name };
                write!(f, "{host}: {table}")?;
                let mut known = labels.iter().filter(|(_, text)| !text.is_empty());
                known.try_for_each(|(name, text)| write!(f, " {name}={text}"))
            }
            Self::Flow {
                id,
                source,
                destination,
                port,
                ..
            } => {
                write!(f, "flow {id}: {source} -> {destination}")?;
                match port.as_str() {
                    "" => Ok(()),
                    port => write!(f, " ({port})"),
                }
            }
            Self::Collector => f.write_str("collector"),
        }
    }
}
