//! What the collector says, read strictly: a missing key is a broken contract.

mod edge;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use edge::brief;
pub use edge::{Counters, Edge, Evidence, Quantiles, Via};

/// The answer of `waybill-collector topology --format json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Topology {
    /// Everything that is an end of an edge.
    pub nodes: Vec<Node>,
    /// Edges both of whose ends are known.
    pub edges: Vec<Edge>,
    /// Edges of which one end is only an address.
    pub unjoined: Vec<Edge>,
    /// Tokens that were seen by more ends than a connection has.
    pub ambiguous_tokens: u64,
}

/// A process on a host, or an address that nobody claimed.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// `<host name>/<service>`, or the address.
    pub id: String,
    /// `process` or `address`.
    #[serde(default)]
    pub kind: String,
    /// Host name.
    #[serde(default)]
    pub hostname: String,
    /// Service name.
    #[serde(default)]
    pub service: String,
    /// cgroup path of the process last seen.
    #[serde(default)]
    pub cgroup: String,
    /// Business tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// An edge that must be there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Id of the client's node.
    pub client: String,
    /// Id of the server's node.
    pub server: String,
    /// The server's own address and port.
    pub endpoint: SocketAddr,
    /// Exact number of connections.
    pub connections: u64,
    /// Addresses that only one side sees; exactly these, in any order.
    pub via: Vec<Via>,
}

impl Topology {
    /// The joined edge from `client` that ends at `endpoint`.
    ///
    /// # Errors
    /// When there is none.
    pub fn edge(&self, client: &str, endpoint: SocketAddr) -> Result<&Edge> {
        find(&self.edges, client, endpoint)
            .with_context(|| format!("no edge {client} -> {endpoint} in {}", self.brief()))
    }

    /// The edge from `client` to an address that nobody claimed.
    ///
    /// # Errors
    /// When there is none.
    pub fn outward(&self, client: &str, endpoint: SocketAddr) -> Result<&Edge> {
        find(&self.unjoined, client, endpoint)
            .with_context(|| format!("no unjoined {client} -> {endpoint} in {}", self.brief()))
    }

    /// Checks that exactly the expected edges are joined by tokens, with exact counts.
    ///
    /// # Errors
    /// Names every edge that is missing, wrong or too many.
    pub fn check(&self, expected: &[Expected]) -> Result<()> {
        self.check_by("token", expected)
    }

    /// Checks that exactly the expected edges are joined by this kind of evidence, with exact counts.
    ///
    /// # Errors
    /// Names every edge that is missing, wrong or too many.
    pub fn check_by(&self, kind: &str, expected: &[Expected]) -> Result<()> {
        let mut wrong = String::new();
        let mut left: Vec<&Edge> = self.edges.iter().collect();
        for want in expected {
            let place = left.iter().position(|edge| want.describes(edge));
            match place {
                None => writeln!(wrong, "missing: {want}")?,
                Some(place) => {
                    let edge = left.swap_remove(place);
                    if let Err(reason) = want.agrees(edge, kind) {
                        writeln!(wrong, "wrong: {want}: {reason}")?;
                    }
                }
            }
        }
        for edge in left {
            writeln!(wrong, "not expected: {}", brief(edge))?;
        }
        if self.ambiguous_tokens > 0 {
            writeln!(wrong, "{} ambiguous tokens", self.ambiguous_tokens)?;
        }
        ensure!(wrong.is_empty(), "{wrong}seen: {}", self.brief());
        Ok(())
    }

    /// All edges on one line each.
    #[must_use]
    pub fn brief(&self) -> String {
        let joined = self.edges.iter().map(|edge| format!("\n  {}", brief(edge)));
        let unjoined = self
            .unjoined
            .iter()
            .map(|edge| format!("\n  unjoined {}", brief(edge)));
        joined.chain(unjoined).collect()
    }
}

impl Expected {
    /// Whether an edge is meant: same ends, same via.
    fn describes(&self, edge: &Edge) -> bool {
        edge.client == self.client
            && edge.server == self.server
            && edge.server_endpoint == self.endpoint.to_string()
            && edge.via.len() == self.via.len()
            && self.via.iter().all(|via| edge.via.contains(via))
    }

    /// Whether numbers and evidence of the edge are right.
    fn agrees(&self, edge: &Edge, kind: &str) -> Result<()> {
        ensure!(
            edge.connections == self.connections,
            "{} connections",
            edge.connections
        );
        let joined: u64 = edge
            .evidence
            .iter()
            .filter(|evidence| evidence.kind == kind)
            .map(|evidence| evidence.connections)
            .sum();
        ensure!(joined > 0, "no {kind} evidence");
        ensure!(
            edge.sampled || joined == self.connections,
            "{joined} connections by {kind} although all were reported"
        );
        // Ten connections prove less than a thousand, and addresses less than a secret number.
        let least = match kind {
            "token" => 0.9,
            "sequence" => 0.8,
            _ => 0.5,
        };
        ensure!(edge.confidence > least, "confidence {}", edge.confidence);
        Ok(())
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} -> {} at {} x{}",
            self.client, self.server, self.endpoint, self.connections
        )?;
        for via in &self.via {
            write!(f, " {via}")?;
        }
        Ok(())
    }
}

/// The virtual address that the client saw.
#[must_use]
pub fn vip(address: SocketAddr) -> Via {
    Via {
        seen_by: "client".into(),
        kind: "vip".into(),
        address: address.to_string(),
    }
}

/// The translating address that the server saw.
#[must_use]
pub fn nat(address: IpAddr) -> Via {
    Via {
        seen_by: "server".into(),
        kind: "nat".into(),
        address: address.to_string(),
    }
}

fn find<'a>(edges: &'a [Edge], client: &str, endpoint: SocketAddr) -> Option<&'a Edge> {
    let endpoint = endpoint.to_string();
    edges
        .iter()
        .find(|edge| edge.client == client && edge.server_endpoint == endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Topology {
        let text = r#"{"nodes":[],"unjoined":[],"ambiguous_tokens":0,"edges":[{
            "client":"a/x","server":"b/y","server_endpoint":"10.2.1.2:8080",
            "via":[{"seen_by":"client","kind":"vip","address":"10.9.0.100:80"}],
            "evidence":[{"kind":"token","connections":3}],"confidence":1.0,
            "connections":3,"sampled":false,"client_counters":null,"server_counters":null}]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn wanted() -> Expected {
        Expected {
            client: "a/x".into(),
            server: "b/y".into(),
            endpoint: "10.2.1.2:8080".parse().unwrap(),
            connections: 3,
            via: vec![vip("10.9.0.100:80".parse().unwrap())],
        }
    }

    #[test]
    fn the_expected_edge_is_accepted() {
        seen().check(&[wanted()]).unwrap();
    }

    #[test]
    fn an_edge_too_many_an_edge_too_few_and_a_wrong_count_are_named() {
        assert!(
            seen()
                .check(&[])
                .unwrap_err()
                .to_string()
                .contains("not expected: a/x")
        );
        let mut other = wanted();
        other.connections = 4;
        let error = seen().check(&[other]).unwrap_err().to_string();
        assert!(error.contains("3 connections"), "{error}");
        let mut other = wanted();
        other.via.clear();
        let error = seen().check(&[other]).unwrap_err().to_string();
        assert!(
            error.contains("missing: a/x -> b/y at 10.2.1.2:8080 x3"),
            "{error}"
        );
    }
}
