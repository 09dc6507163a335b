//! Questions that together have every parameter of every operation.

use super::scene::ALL;

/// Questions that together have every parameter: operation, path and query, status.
pub(super) fn asked() -> Vec<(&'static str, String, u16)> {
    let topology = |query: &str| ("topology", format!("/api/v1/topology?{ALL}&{query}"), 200);
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        topology("service=nginx"),
        topology("host=web&ip=10.2.0.0/16&wrong=false"),
        topology("tag=team&namespace=shop"),
        topology("focus=web/nginx&depth=1&limit=2"),
        topology("group=service&max_age=2m"),
        topology("group=site&limit=1"),
        topology("group=tag:team"),
        get(
            "topology",
            "/api/v1/topology?from_ms=0&to_ms=1800000000000",
            200,
        ),
        get("topology", "/api/v1/topology?focus=nobody", 404),
        get("topology", "/api/v1/topology?colour=red", 400),
        get("hosts", "/api/v1/hosts", 200),
        get("fleet", "/api/v1/fleet?limit=1", 200),
        get("fleet", "/api/v1/fleet?cursor=bad", 400),
        get("tables", "/api/v1/tables", 200),
        get("settings", "/api/v1/settings", 200),
        get("settings", "/api/v1/settings?x=1", 400),
        (
            "rows",
            format!("/api/v1/rows/event?{ALL}&host=web&intervals=true&silent=true&limit=5"),
            200,
        ),
        get("rows", "/api/v1/rows/nothing", 404),
        get("rows", "/api/v1/rows/edge", 400),
        get(
            "audit",
            "/api/v1/audit?from=2023-01-01T00:00:00Z&to=now&before_id=9&limit=2",
            200,
        ),
        get("audit", "/api/v1/audit?limit=0", 400),
        get("openapi", "/api/v1/openapi.json", 200),
        get("metrics", "/metrics", 200),
        get("health", "/healthz", 200),
        get("ready", "/readyz", 200),
    ]
}

/// The same, of one thing.
pub(super) fn of_things(edge: &str) -> Vec<(&'static str, String, u16)> {
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        (
            "node",
            format!("/api/v1/nodes/web%2Fnginx?{ALL}&limit=5&max_age=30s"),
            200,
        ),
        get("node", "/api/v1/nodes/nobody", 404),
        (
            "edge",
            format!("/api/v1/edges/{edge}?{ALL}&step=10m&limit=5"),
            200,
        ),
        ("edge", format!("/api/v1/edges/{edge}?{ALL}&step=1s"), 400),
        get("edge", "/api/v1/edges/e-0000000000000000", 404),
        (
            "search",
            format!("/api/v1/search?{ALL}&q=nginx&limit=3&max_age=30s"),
            200,
        ),
        get("search", "/api/v1/search", 400),
        (
            "chain",
            format!("/api/v1/chain?{ALL}&tuple=10.1.0.2:32769+10.1.0.100:80"),
            200,
        ),
        get("chain", "/api/v1/chain?tuple=web", 400),
        (
            "diagnosis",
            format!("/api/v1/diagnosis?{ALL}&edge={edge}&language=zh"),
            200,
        ),
        (
            "diagnosis",
            format!("/api/v1/diagnosis?{ALL}&tuple=10.1.0.2:32769+10.1.0.100:80"),
            200,
        ),
        get(
            "diagnosis",
            "/api/v1/diagnosis?edge=e-0000000000000000",
            404,
        ),
        get(
            "diagnosis",
            "/api/v1/diagnosis?tuple=10.9.9.9:1+10.9.9.8:2",
            404,
        ),
        get("diagnosis", "/api/v1/diagnosis", 400),
    ]
}

/// The same, of the communication matrix.
pub(super) fn of_matrix() -> Vec<(&'static str, String, u16)> {
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        (
            "matrix_learned",
            format!("/api/v1/matrix/learned?{ALL}&least_confidence=50"),
            200,
        ),
        get(
            "matrix_learned",
            "/api/v1/matrix/learned?least_confidence=101",
            400,
        ),
        get("matrix", "/api/v1/matrix", 200),
        get("matrix", "/api/v1/matrix?version=1&rows=false", 200),
        get("matrix", "/api/v1/matrix?version=9", 404),
        get("matrix", "/api/v1/matrix?version=0", 400),
        (
            "matrix_file",
            format!("/api/v1/matrix/file?{ALL}&of=learned&least_confidence=50&form=csv"),
            200,
        ),
        get("matrix_file", "/api/v1/matrix/file?of=template", 200),
        get(
            "matrix_file",
            "/api/v1/matrix/file?version=1&form=toml",
            200,
        ),
        get("matrix_file", "/api/v1/matrix/file?version=9", 404),
        get("matrix_file", "/api/v1/matrix/file?form=html", 400),
    ]
}

/// The same, of tables by their descriptions.
pub(super) fn of_tables() -> Vec<(&'static str, String, u16)> {
    let series = |query: &str, status| {
        (
            "series",
            format!("/api/v1/series/probe?{ALL}&{query}"),
            status,
        )
    };
    let get = |id, path: &str, status| (id, String::from(path), status);
    vec![
        series(
            "value=opened&function=rate&group=host,role&step=10m&where=role=client&limit=5",
            200,
        ),
        series("value=rtt&percentile=50&host=web", 200),
        series("value=rtt&function=distribution&step=10m", 200),
        series("value=opened&group=colour", 400),
        series("value=colour", 400),
        series("value=rtt&function=sum", 400),
        series("value=role", 400),
        series("value=opened&step=1s", 400),
        get("series", "/api/v1/series/nothing?value=x", 404),
        get("series", "/api/v1/series/edge?value=opened", 400),
        (
            "events",
            format!("/api/v1/events/event?{ALL}&host=web&where=kind=reset_remote&limit=1"),
            200,
        ),
        get("events", "/api/v1/events/event?where=kind", 400),
        get("events", "/api/v1/events/nothing", 404),
        get("events", "/api/v1/events/event?cursor=bad", 400),
    ]
}
