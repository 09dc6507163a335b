//! Which nodes and edges of a picture a question is about.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::failure::{Failure, Problem};
use super::given::Given;
use super::operation::Asking;
use super::parameter::{Kind, Parameter};
use crate::join::Told;
use crate::network::Network;
use crate::query;
use crate::topology::{Node, ProcessNode};

/// The tag that names a namespace.
const NAMESPACE: &str = "namespace";

/// What a topology can be narrowed by.
pub(super) const FILTERS: [Parameter; 6] = [
    Parameter::new(
        "service",
        Kind::Text(256),
        "Edges with an end of this service.",
    ),
    Parameter::new(
        "host",
        Kind::Text(256),
        "Edges with an end on the host of this name, or whose id begins so (8 digits or more).",
    ),
    Parameter::new(
        "ip",
        Kind::Text(64),
        "Edges on which this address, or one of this network (`10.1.0.0/16`), was seen.",
    ),
    Parameter::new(
        "tag",
        Kind::Text(512),
        "Edges with an end that has this tag: `key=value`, or `key` with any value.",
    ),
    Parameter::new(
        "namespace",
        Kind::Text(256),
        "Edges with an end whose tag `namespace` is this.",
    ),
    Parameter::new(
        "wrong",
        Kind::Flag,
        "Only edges on which connections failed or were reset.",
    )
    .or("false"),
];

/// Addresses of services: by host id and service.
pub(super) type Addresses = BTreeMap<(String, String), Vec<IpAddr>>;

/// The addresses that services had in the window of a question.
pub(super) fn addresses(asking: &Asking<'_>) -> Result<Addresses, Failure> {
    let asked = asking.given.asked(asking.now_ms)?;
    let mut addresses = Addresses::new();
    for found in query::addresses(asking.store, asked, asking.now_ms, asking.meter)? {
        let of = addresses.entry((found.host, found.service)).or_default();
        of.push(found.ip);
    }
    Ok(addresses)
}

/// Those of a node.
pub(super) fn of_node<'a>(addresses: &'a Addresses, process: &ProcessNode) -> &'a [IpAddr] {
    let key = (process.host.clone(), process.service.clone());
    addresses.get(&key).map_or(&[], Vec::as_slice)
}

/// What a question is about.
#[derive(Default)]
pub(super) struct Filter {
    service: Option<String>,
    host: Option<String>,
    tag: Option<(String, Option<String>)>,
    namespace: Option<String>,
    network: Option<(Network, Addresses)>,
    wrong: bool,
}

impl Filter {
    /// As the parameters say.
    ///
    /// # Errors
    /// A network that is none, and those of the store.
    pub(super) fn of(asking: &Asking<'_>) -> Result<Self, Failure> {
        let given: &Given = asking.given;
        let text = |name| given.text(name).map(String::from);
        let network = match given.text("ip") {
            None => None,
            Some(text) => {
                let refused = |why| Problem::query(format!("ip: {why}"));
                let network = Network::parse(text).map_err(refused)?;
                Some((network, addresses(asking)?))
            }
        };
        Ok(Self {
            service: text("service"),
            host: text("host"),
            tag: given.text("tag").map(|tag| match tag.split_once('=') {
                Some((key, value)) => (key.into(), Some(value.into())),
                None => (tag.into(), None),
            }),
            namespace: text(NAMESPACE),
            network,
            wrong: given.flag("wrong"),
        })
    }

    /// Whether a node has the names, and an address, that are asked for; `node` makes it, where that
    /// has to be known.
    pub(super) fn node(&self, node: impl Fn() -> Node) -> (bool, bool) {
        let named = self.service.is_some()
            || self.host.is_some()
            || self.tag.is_some()
            || self.namespace.is_some();
        if !named && self.network.is_none() {
            return (true, true);
        }
        let node = node();
        (self.names(&node), self.addresses(&node))
    }

    fn names(&self, node: &Node) -> bool {
        let Some(process) = &node.process else {
            return self.service.is_none()
                && self.host.is_none()
                && self.tag.is_none()
                && self.namespace.is_none();
        };
        let is_host = |host: &String| {
            process.hostname == *host || (host.len() >= 8 && process.host.starts_with(host))
        };
        let has_tag = |(key, value): &(String, Option<String>)| {
            let found = process.tags.get(key);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| found == value))
        };
        let is_service = |service: &String| process.service == *service;
        let is_namespace = |asked: &String| namespace(process) == Some(asked);
        self.service.as_ref().is_none_or(is_service)
            && self.host.as_ref().is_none_or(is_host)
            && self.tag.as_ref().is_none_or(has_tag)
            && self.namespace.as_ref().is_none_or(is_namespace)
    }

    fn addresses(&self, node: &Node) -> bool {
        let Some((network, addresses)) = &self.network else {
            return true;
        };
        match &node.process {
            Some(process) => {
                let own = of_node(addresses, process);
                own.iter().any(|ip| network.has(*ip))
            }
            None => node.id.parse().is_ok_and(|ip| network.has(ip)),
        }
    }

    /// Whether an edge is meant whose ends have, one of them, the names and, one of them, the
    /// addresses that are asked for.
    pub(super) fn edge(&self, told: Told<'_>, names: bool, addresses: bool) -> bool {
        let seen = || {
            let edge = told.edge();
            let via = edge.via.iter().map(|via| via.address.as_str());
            let mut seen = via.chain([edge.server_endpoint.as_str()]);
            seen.any(|text| self.has(text))
        };
        names && (addresses || seen()) && (!self.wrong || told.wrong() > 0)
    }

    fn has(&self, text: &str) -> bool {
        let endpoint = text.parse::<SocketAddr>().map(|at| at.ip());
        let ip = endpoint.or_else(|_| text.parse::<IpAddr>());
        let network = self.network.as_ref();
        ip.is_ok_and(|ip| network.is_none_or(|(network, _)| network.has(ip)))
    }
}

/// The namespace of a node.
pub(super) fn namespace(process: &ProcessNode) -> Option<&str> {
    process.tags.get(NAMESPACE).map(String::as_str)
}
