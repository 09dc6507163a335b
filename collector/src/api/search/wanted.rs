//! What a text asks for, and how well nodes and edges fit it.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::filter::{Addresses, of_node};
use crate::api::tuple::{self, At, Tuple};
use crate::network::Network;
use crate::topology::{Edge, Node};

/// What a text was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Understood {
    /// Both ends of a connection.
    Tuple,
    /// An address and a port.
    Endpoint,
    /// An address.
    Address,
    /// A network.
    Network,
    /// A port.
    Port,
    /// A name or a part of one.
    Name,
}

/// What is looked for.
pub(super) enum Wanted {
    Ends(Vec<At>, Option<Tuple>),
    Network(Network),
    Port(u16),
    Name(String),
}

impl Wanted {
    pub(super) fn of(text: &str) -> (Self, Understood) {
        let text = text.trim();
        if let Some(tuple) = Tuple::find(text) {
            let ends = tuple::find(text);
            return (Self::Ends(ends, Some(tuple)), Understood::Tuple);
        }
        if text.contains('/')
            && let Ok(network) = Network::parse(text)
        {
            return (Self::Network(network), Understood::Network);
        }
        let ends = tuple::find(text);
        if let Some(first) = ends.first() {
            let understood = match first.port {
                Some(_) => Understood::Endpoint,
                None => Understood::Address,
            };
            return (Self::Ends(ends, None), understood);
        }
        let digits = text
            .strip_prefix("port ")
            .or(text.strip_prefix(':'))
            .unwrap_or(text);
        if digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(port) = digits.parse::<u16>()
            && port > 0
        {
            return (Self::Port(port), Understood::Port);
        }
        (Self::Name(text.to_lowercase()), Understood::Name)
    }
}

/// How well a node fits, and by what.
pub(super) fn of_node_score(
    wanted: &Wanted,
    node: &Node,
    addresses: &Addresses,
) -> Option<(u32, String)> {
    let ips: Vec<IpAddr> = match &node.process {
        Some(process) => of_node(addresses, process).to_vec(),
        None => node.id.parse().into_iter().collect(),
    };
    match wanted {
        Wanted::Port(_) => None,
        Wanted::Network(network) => {
            let ip = ips.iter().find(|ip| network.has(**ip))?;
            Some((80, format!("address {ip}")))
        }
        Wanted::Ends(ends, _) => {
            let place = ends.iter().position(|end| ips.contains(&end.ip))?;
            Some((
                if place == 0 { 90 } else { 85 },
                format!("address {}", ends[place].ip),
            ))
        }
        Wanted::Name(name) => {
            let Some(process) = &node.process else {
                return Some((score(name, &node.id)?, String::from("address")));
            };
            let own = [
                ("service", process.service.as_str(), 0),
                ("name", node.id.as_str(), 0),
                ("unit", process.unit.as_str(), 5),
                ("program", process.exe.as_str(), 10),
                ("task", process.comm.as_str(), 10),
                ("container", process.container.as_str(), 10),
                ("cgroup", process.cgroup.as_str(), 15),
            ];
            let own = own.map(|(what, text, less)| (what.to_owned(), text.to_owned(), less));
            let tags = process.tags.iter().flat_map(|(key, value)| {
                let what = format!("tag {key}");
                let both = format!("{key}={value}");
                [(what.clone(), value.clone(), 5), (what, both, 5)]
            });
            let fits = own
                .into_iter()
                .chain(tags)
                .filter_map(|(what, text, less)| {
                    Some((score(name, &text)?.saturating_sub(less).max(1), what, text))
                });
            let (score, what, text) = fits.max_by_key(|(score, ..)| *score)?;
            Some((score, format!("{what} {text}")))
        }
    }
}

/// How well an edge fits, and by what.
pub(super) fn of_edge_score(wanted: &Wanted, edge: &Edge) -> Option<(u32, String)> {
    let via = edge.via.iter().map(|via| via.address.as_str());
    let mut seen = via.chain([edge.server_endpoint.as_str()]);
    let ip_of = |text: &str| {
        let endpoint = text.parse::<SocketAddr>().map(|at| at.ip());
        endpoint.or_else(|_| text.parse::<IpAddr>()).ok()
    };
    let socket = |text: &str| text.parse::<SocketAddr>().ok();
    match wanted {
        Wanted::Port(port) => {
            let found = seen.find(|text| socket(text).is_some_and(|at| at.port() == *port))?;
            Some((90, format!("port of {found}")))
        }
        Wanted::Network(network) => {
            let found = seen.find(|text| ip_of(text).is_some_and(|ip| network.has(ip)))?;
            Some((70, format!("address {found}")))
        }
        Wanted::Ends(ends, _) => {
            let mut fits = Vec::new();
            for text in seen {
                for end in ends {
                    let is_port = end.port.is_some()
                        && socket(text).is_some_and(|at| Some(at.port()) == end.port);
                    if ip_of(text) == Some(end.ip) && (is_port || end.port.is_none()) {
                        fits.push(format!("address {text}"));
                    }
                }
            }
            let first = fits.first()?.clone();
            Some((if fits.len() > 1 { 95 } else { 88 }, first))
        }
        Wanted::Name(name) if edge.server_endpoint.contains(name.as_str()) => {
            Some((40, format!("address {}", edge.server_endpoint)))
        }
        Wanted::Name(_) => None,
    }
}

/// How well a text fits a name that is looked for, in lower case.
pub(super) fn score(name: &str, text: &str) -> Option<u32> {
    let text = text.to_lowercase();
    if text == name {
        return Some(100);
    }
    let at = text.find(name)?;
    if at == 0 {
        return Some(80);
    }
    let before = text[..at].chars().next_back();
    Some(if before.is_some_and(char::is_alphanumeric) {
        40
    } else {
        60
    })
}

/// How well a text fits the id of a host.
pub(super) fn host_id(name: &str, host: &str) -> Option<u32> {
    (name.len() >= 8 && host.starts_with(name)).then_some(if name == host { 100 } else { 80 })
}

#[cfg(test)]
mod tests {
    use super::{Understood, Wanted, score};

    #[test]
    fn a_text_is_taken_for_what_it_looks_like() {
        for (text, understood) in [
            ("10.0.0.1:1 -> 10.0.0.2:2", Understood::Tuple),
            ("10.0.0.2:80", Understood::Endpoint),
            ("[::1]:80", Understood::Endpoint),
            (" 10.0.0.2 ", Understood::Address),
            ("fd00::1", Understood::Address),
            ("10.0.0.0/8", Understood::Network),
            (":5432", Understood::Port),
            ("5432", Understood::Port),
            ("port 5432", Understood::Port),
            ("0", Understood::Name),
            ("70000", Understood::Name),
            ("nginx", Understood::Name),
            ("web-01/nginx", Understood::Name),
            ("team=shop", Understood::Name),
        ] {
            assert_eq!(Wanted::of(text).1, understood, "{text}");
        }
    }

    #[test]
    fn the_whole_name_is_better_than_a_part() {
        let scores = ["nginx", "nginx-front", "my-nginx", "mynginx", "apache"];
        let scores = scores.map(|text| score("nginx", text));
        assert_eq!(scores, [Some(100), Some(80), Some(60), Some(40), None]);
        assert_eq!(score("ß", "STRASSE ß"), Some(60));
    }
}
