//! What is different between two matrices.

use std::collections::HashMap;

use serde::Serialize;

use super::flow::{Fields, Flow};

/// What the second matrix has and the first has not, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Flows of the second alone, as `source -> destination port`.
    pub added: Vec<String>,
    /// Flows of the first alone.
    pub removed: Vec<String>,
    /// Flows of both with other fields.
    pub changed: Vec<Changed>,
}

/// A flow with other fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// As `source -> destination port`.
    pub flow: String,
    /// Column, text before, text after.
    pub fields: Vec<(&'static str, String, String)>,
}

impl Difference {
    /// Whether both say the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Source, destination, ports and protocol: what a flow is about, whatever else is said of it.
type Key = [String; 4];

fn key(fields: &Fields) -> Key {
    let plain = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let [port, protocol] =
        [&fields.port, &fields.protocol].map(|text| match plain(text).as_str() {
            "" | "*" => String::from("any"),
            other => other.to_lowercase(),
        });
    let protocol = if protocol == "any" {
        String::from("tcp")
    } else {
        protocol
    };
    [
        plain(&fields.source),
        plain(&fields.destination),
        port,
        protocol,
    ]
}

/// Compares two matrices. The order of flows and their ids mean nothing.
#[must_use]
pub fn diff(before: &[Flow], after: &[Flow]) -> Difference {
    let mut left: HashMap<Key, Vec<&Flow>> = HashMap::new();
    for flow in before.iter().rev() {
        left.entry(key(&flow.text)).or_default().push(flow);
    }
    let mut difference = Difference::default();
    for flow in after {
        match left.get_mut(&key(&flow.text)).and_then(Vec::pop) {
            None => difference.added.push(title(flow)),
            Some(old) => {
                let fields = changes(&old.text, &flow.text);
                if !fields.is_empty() {
                    let flow = title(flow);
                    difference.changed.push(Changed { flow, fields });
                }
            }
        }
    }
    let mut removed: Vec<&Flow> = left.into_values().flatten().collect();
    removed.sort_by_key(|flow| flow.line);
    difference.removed = removed.into_iter().map(title).collect();
    difference
}

fn changes(before: &Fields, after: &Fields) -> Vec<(&'static str, String, String)> {
    let pairs: [(&'static str, &String, &String); 4] = [
        ("action", &before.action, &after.action),
        ("owner", &before.owner, &after.owner),
        ("valid_until", &before.valid_until, &after.valid_until),
        ("comment", &before.comment, &after.comment),
    ];
    let other = pairs.into_iter().filter(|(column, old, new)| {
        let default = |text: &String| match (*column, text.trim()) {
            ("action", "") => String::from("allow"),
            (_, text) => String::from(text),
        };
        default(old) != default(new)
    });
    other
        .map(|(column, old, new)| (column, old.clone(), new.clone()))
        .collect()
}

fn title(flow: &Flow) -> String {
    let [source, destination, port, protocol] = key(&flow.text);
    format!("{source} -> {destination} {port}/{protocol}")
}

#[cfg(test)]
mod tests {
    use super::diff;
    use crate::matrix::read;

    #[test]
    fn order_blanks_and_ids_make_no_difference() {
        let a = read(b"id,source,destination,port\n1,web,db,5432\n2,web,cache,6379\n").unwrap();
        let b = read(b"source,destination,port,action\n web ,cache,6379,allow\nweb,db,5432,\n");
        let b = b.unwrap();
        assert!(diff(&a.flows, &b.flows).is_empty());
    }

    #[test]
    fn what_came_went_and_changed_is_told() {
        let a = read(b"source,destination,port,owner\nweb,db,5432,ann\nweb,cache,6379,ann\n");
        let b = read(b"source,destination,port,owner\nweb,db,5432,bob\nweb,queue,5672,ann\n");
        let found = diff(&a.unwrap().flows, &b.unwrap().flows);
        assert_eq!(found.added, ["web -> queue 5672/tcp"]);
        assert_eq!(found.removed, ["web -> cache 6379/tcp"]);
        assert_eq!(found.changed.len(), 1);
        let owner = ("owner", String::from("ann"), String::from("bob"));
        assert_eq!(found.changed[0].fields, [owner]);
    }
}
