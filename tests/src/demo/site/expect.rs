//! What must be found at a site, and whether it is.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::plan::Wanted;
use crate::lab::topology::{Edge, Topology};

/// What becomes of the declared flows, by their ids in `matrix.csv`.
const VERDICTS: [(&str, &str); 8] = [
    ("front", "used"),
    ("order", "used"),
    ("stock", "used"),
    ("pay", "used"),
    ("db", "used"),
    ("ledger", "expired"),
    ("cache", "unused"),
    ("guard", "violated"),
];

/// The edge that no flow allows.
const UNDECLARED: (&str, &str) = ("ops-1/report", "pay-1/pay");

/// Whether each of these edges was seen, and what joins it.
///
/// # Errors
/// Names those that are missing.
pub(super) fn edges(topology: &Topology, wanted: &[Wanted]) -> Result<()> {
    let is_there = |wanted: &&Wanted| {
        let among = match wanted.server {
            Some(_) => &topology.edges,
            None => &topology.unjoined,
        };
        among.iter().any(|edge| describes(wanted, edge))
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(|wanted| !is_there(wanted))
        .map(|wanted| format!("\n  missing: {wanted}"))
        .collect();
    ensure!(
        missing.is_empty(),
        "{}\nseen: {}",
        missing.concat(),
        topology.brief()
    );
    Ok(())
}

fn describes(wanted: &Wanted, edge: &Edge) -> bool {
    let is_server = match &wanted.server {
        Some(server) => edge.server == *server && !edge.evidence.is_empty(),
        None => true,
    };
    is_server
        && edge.client == wanted.client
        && edge.server_endpoint == wanted.endpoint.to_string()
        && wanted.via.iter().all(|via| edge.via.contains(via))
        // Beside what the ends saw, a gateway may have told of itself.
        && edge.via.iter().filter(|via| via.kind != "gateway").count() == wanted.via.len()
}

/// Whether the check of the declared matrix says what it should.
///
/// # Errors
/// Names the flow or edge of which it says something else.
pub(super) fn verdicts(report: &Value) -> Result<()> {
    let all = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    for (id, expected) in VERDICTS {
        let flows = all("flows");
        let verdict = flows.iter().find(|flow| flow["id"] == id);
        let verdict = verdict.map_or(&Value::Null, |flow| &flow["verdict"]);
        ensure!(
            verdict == expected,
            "flow {id} is {verdict}, not {expected}: {report}"
        );
    }
    let edges = all("edges");
    // Of what one side alone has told so far, the other end is not known yet.
    let undeclared = edges.iter().filter(|edge| {
        let evidence = edge["evidence"].as_array();
        edge["state"] == "undeclared" && evidence.is_some_and(|found| !found.is_empty())
    });
    let ends: Vec<_> = undeclared
        .map(|edge| (edge["client"].as_str(), edge["server"].as_str()))
        .collect();
    let (client, server) = UNDECLARED;
    ensure!(
        ends == [(Some(client), Some(server))],
        "undeclared are {ends:?}: {report}"
    );
    Ok(())
}

/// Whether the alert of this rule fires about this host.
///
/// # Errors
/// With all alerts that fire.
pub(super) fn alert(alerts: &[Value], rule: &str, host: &str) -> Result<()> {
    let is_it = |alert: &&Value| {
        let name = alert["name"].as_str().unwrap_or_default();
        alert["rule"] == rule && name.contains(host)
    };
    if !alerts.iter().any(|alert| is_it(&alert)) {
        bail!("{rule} does not fire about {host}: {alerts:?}");
    }
    Ok(())
}

/// The expected edges, for programs.
pub(super) fn as_json(wanted: &[Wanted]) -> Vec<Value> {
    let edge = |wanted: &Wanted| {
        let via = wanted.via.iter().map(|via| via.address.as_str());
        json!({
            "client": wanted.client,
            "server": wanted.server,
            "server_endpoint": wanted.endpoint,
            "via": via.collect::<Vec<_>>(),
        })
    };
    wanted.iter().map(edge).collect()
}

#[cfg(test)]
mod tests {
    use super::super::shop::SITE;
    use super::*;

    #[test]
    fn a_missing_edge_and_a_wrong_address_between_are_named() {
        let wanted = SITE.wanted().unwrap();
        let said = edges(&Topology::default(), &wanted)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("missing: desk-1/browser -> web-1/nginx"),
            "{said}"
        );
        let text = r#"{"nodes":[],"unjoined":[],"ambiguous_tokens":0,"edges":[{
            "client":"web-1/nginx","server":"shop-1/shop","server_endpoint":"10.3.0.11:8080",
            "via":[],"evidence":[{"kind":"token","connections":3}],"confidence":1.0,
            "connections":3,"sampled":false,"client_counters":null,"server_counters":null}]}"#;
        let mut seen: Topology = serde_json::from_str(text).unwrap();
        let one: Vec<_> = wanted
            .into_iter()
            .filter(|edge| {
                edge.client == "web-1/nginx" && edge.endpoint.ip().to_string() == "10.3.0.11"
            })
            .collect();
        edges(&seen, &one).unwrap();
        seen.edges[0]
            .via
            .push(crate::lab::topology::nat([10, 0, 0, 2].into()));
        assert!(edges(&seen, &one).is_err());
    }

    #[test]
    fn a_verdict_that_changed_is_named() {
        let flows: Vec<Value> = VERDICTS
            .iter()
            .map(|(id, verdict)| json!({ "id": id, "verdict": verdict }))
            .collect();
        let edge = |client: &str, evidence: &[&str]| {
            json!({ "state": "undeclared", "client": client, "server": UNDECLARED.1,
                    "evidence": evidence })
        };
        let seen = [edge(UNDECLARED.0, &["token"]), edge("10.0.0.2", &[])];
        let mut report = json!({ "flows": flows, "edges": seen });
        verdicts(&report).unwrap();
        report["flows"][7]["verdict"] = "kept".into();
        let said = verdicts(&report).unwrap_err().to_string();
        assert!(
            said.contains("flow guard is \"kept\", not violated"),
            "{said}"
        );
        report["flows"][7]["verdict"] = "violated".into();
        report["edges"] = json!([]);
        assert!(verdicts(&report).is_err());
    }
}
