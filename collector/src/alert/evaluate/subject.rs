//! Which subject a row is about.

use std::collections::BTreeMap;

use super::plan::Fold;
use super::row::{Cell, Ends, Row};
use crate::alert::finding::{End, Subject};
use crate::alert::rule::By;
use crate::alert::rule::source::Source;
use crate::alert::rule::unit;

/// The subject of a row; `None` where it has none of that kind.
pub(super) fn of(fold: &Fold, source: &Source, row: &Row) -> Option<Subject> {
    if let Some(ends) = &row.ends {
        return of_edge(&fold.by, ends);
    }
    let host = || Subject::Host {
        host: row.host.clone(),
        name: row.hostname.clone(),
    };
    match &fold.by {
        By::Subject("all") => Some(Subject::Collector),
        By::Subject("host") => Some(host()),
        By::Subject("service") => {
            (!row.service.is_empty()).then(|| Subject::Node { node: node(row) })
        }
        By::Subject(_) | By::Columns(_) => Some(Subject::Series {
            host: row.host.clone(),
            name: row.hostname.clone(),
            table: String::from(source.name()),
            labels: labels(fold, row),
        }),
    }
}

fn node(row: &Row) -> End {
    let host = match row.hostname.is_empty() {
        true => &row.host,
        false => &row.hostname,
    };
    End {
        name: format!("{host}/{}", row.service),
        host: Some(row.host.clone()),
        service: row.service.clone(),
    }
}

fn of_edge(by: &By, ends: &Ends) -> Option<Subject> {
    let By::Subject(by) = by else { return None };
    let host = |end: &End| {
        let name = match end.name.split_once('/') {
            Some((name, _)) => String::from(name),
            None => String::new(),
        };
        end.host.clone().map(|host| Subject::Host { host, name })
    };
    match *by {
        "client" => Some(Subject::Node {
            node: ends.client.clone(),
        }),
        "server" => Some(Subject::Node {
            node: ends.server.clone(),
        }),
        "client_host" => host(&ends.client),
        "server_host" => host(&ends.server),
        "vip" => ends.vip.clone().map(|address| Subject::Gateway {
            host: None,
            address,
        }),
        "gateway" => ends.gateways.first().map(|address| Subject::Gateway {
            host: None,
            address: address.clone(),
        }),
        "flow" => ends.flow.as_deref().cloned(),
        "all" => Some(Subject::Collector),
        _ => Some(Subject::Edge {
            client: ends.client.clone(),
            server: ends.server.clone(),
            endpoint: ends.endpoint.clone(),
        }),
    }
}

fn labels(fold: &Fold, row: &Row) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, at) in &fold.labels {
        let text = text(row.cells.get(*at));
        labels.insert(name.clone(), text);
    }
    if matches!(fold.by, By::Subject("row")) && !row.service.is_empty() {
        labels.insert(String::from("service"), row.service.clone());
    }
    labels
}

/// A cell as a label.
pub(super) fn text(cell: Option<&Cell>) -> String {
    match cell {
        Some(Cell::Text(text)) => text.clone(),
        Some(Cell::Number(value)) => unit::digits(*value),
        Some(Cell::Flag(flag)) => flag.to_string(),
        _ => String::new(),
    }
}
