//! A matrix that the collector keeps: declared by operators, by versions, and held against what was
//! seen without being sent again.

use std::net::SocketAddr;

use collector::server::Running;

use crate::openapi::{Document, Reply, scene, send, send_with};
use crate::people::{add, command, listed};
use crate::support::site::{ADMIN, READER, Site, TOKEN, Who};

/// Allows one of the edges of the fleet, and nothing else.
const FIRST: &[u8] = b"id,source,destination,port,comment\na,curl,nginx,80,=1+1\n";
/// Allows both.
const SECOND: &[u8] = b"source,destination,port\ncurl,nginx,80\nnginx,db,5432\n";

struct Scene {
    site: Site,
    at: SocketAddr,
    document: Document,
    _running: Running,
}

impl Scene {
    fn new() -> Self {
        let site = Site::new();
        let running = site.start("");
        let at = running.address();
        scene::fleet(&site, at);
        let document = Document::of(&site, at);
        Self {
            site,
            at,
            document,
            _running: running,
        }
    }

    fn put(&self, query: &str, matrix: &[u8]) -> Reply {
        let path = format!("/api/v1/matrix{query}");
        let request = ("PUT", path.as_str());
        let reply = send_with(&self.site, self.at, request, Who::Token(ADMIN), matrix);
        let operation = self.document.operation("declareMatrix");
        self.document.hold(&operation, &reply, &path);
        reply
    }

    fn get(&self, path: &str) -> Reply {
        send(&self.site, self.at, ("GET", path), Who::Token(READER), &[])
    }

    /// Asks without a file.
    fn post(&self, id: &str, path: &str) -> Reply {
        let path = format!("{path}?{}", scene::ALL);
        let request = ("POST", path.as_str());
        let reply = send(&self.site, self.at, request, Who::Token(READER), &[]);
        self.document
            .hold(&self.document.operation(id), &reply, &path);
        reply
    }
}

#[test]
fn what_is_declared_is_in_force_until_another_version_is() {
    let scene = Scene::new();
    let check = |scene: &Scene| scene.post("matrix_check", "/api/v1/matrix/check");
    assert_eq!(check(&scene).status, 404, "nothing is declared yet");
    let none = scene.get("/api/v1/matrix").json();
    assert!(none["declared"].is_null(), "{none}");
    let first = scene.put("?note=the%20first&base=0", FIRST).json();
    assert_eq!((&first["version"], &first["flows"]), (&1.into(), &1.into()));
    let report = check(&scene).json();
    assert_eq!(report["summary"]["flows"], 1);
    assert_eq!(report["summary"]["edges_undeclared"], 1, "{report:#}");
    let undeclared = &report["edges"][0];
    assert_eq!(undeclared["state"], "undeclared");
    assert_eq!(undeclared["server"], "data/db");
    // Whoever has not seen the newest changes nothing.
    let stale = scene.put("?base=0", SECOND);
    assert_eq!(
        (stale.status, &stale.json()["error"]),
        (409, &"stale".into())
    );
    let wrong = scene.put("?base=1", b"source,destination\n10.0.0.300,a\n");
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.json()["detail"]
            .as_str()
            .is_some_and(|why| why.contains("line 2"))
    );
    assert_eq!(scene.put("?base=1", SECOND).status, 200);
    let report = check(&scene).json();
    assert_eq!(report["summary"]["edges_undeclared"], 0, "{report:#}");
    let now = scene.get("/api/v1/matrix").json();
    assert_eq!(now["declared"]["version"], 2);
    assert_eq!(now["declared"]["rows"][1]["destination"], "db");
    assert_eq!(now["versions"][1]["note"], "the first");
    let old = scene.get("/api/v1/matrix?version=1").json();
    assert_eq!(old["declared"]["rows"][0]["id"], "a");
    let audit = listed(&scene.site, &["audit"]);
    let changes: Vec<_> = audit
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["action"] == "matrix.declared")
        .collect();
    assert_eq!(changes.len(), 2, "what was refused is no change: {audit:#}");
    let second = changes.iter().find(|one| one["subject"] == "2");
    assert_eq!(second.expect("its record")["before"]["version"], 1);
}

#[test]
fn files_of_it_are_what_they_say_and_execute_nothing() {
    let scene = Scene::new();
    assert_eq!(scene.put("", FIRST).status, 200);
    for (form, media, begins) in [
        ("csv", "text/csv", "\u{feff}id,source"),
        ("toml", "application/toml", "[[flow]]"),
        (
            "xlsx",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "PK",
        ),
    ] {
        let reply = scene.get(&format!("/api/v1/matrix/file?form={form}"));
        assert_eq!(reply.header("content-type"), media);
        let name = format!("attachment; filename=\"matrix-declared.{form}\"");
        assert_eq!(reply.header("content-disposition"), name);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.body.starts_with(begins.as_bytes()), "{form}");
        // It can be declared again, and is the same.
        assert_eq!(scene.put("", &reply.body).status, 200, "{form}");
        let rows = scene.get("/api/v1/matrix").json()["declared"]["rows"].clone();
        assert_eq!(rows[0]["comment"], "=1+1", "{form}");
    }
    let report = scene.post("matrix_report", "/api/v1/matrix/report");
    assert!(report.body.starts_with(b"PK"));
    let html = send(
        &scene.site,
        scene.at,
        (
            "POST",
            &format!("/api/v1/matrix/report?{}&form=html", scene::ALL),
        ),
        Who::Token(READER),
        &[],
    );
    assert!(html.header("content-disposition").starts_with("attachment"));
    let html = String::from_utf8(html.body).expect("UTF-8");
    assert!(html.contains("1 edges are not declared"), "{html}");
    let template = scene.get("/api/v1/matrix/file?of=template&form=csv");
    assert_eq!(
        scene.put("", &template.body).status,
        200,
        "a template can be declared"
    );
}

#[test]
fn viewers_and_agents_declare_nothing() {
    let scene = Scene::new();
    add(&scene.site, "oz", "operator");
    let words = ["token", "add", "oz", "--name", "t", "--role", "operator"];
    let operator = command(&scene.site, &words).trim().to_owned();
    for (who, status) in [
        (Who::Token(READER), 403),
        (Who::Token(TOKEN), 403),
        (Who::Nobody, 401),
        (Who::Token(&operator), 200),
    ] {
        let put = ("PUT", "/api/v1/matrix");
        let reply = send_with(&scene.site, scene.at, put, who, FIRST);
        assert_eq!(reply.status, status);
    }
    let shown = scene.get("/api/v1/matrix").json();
    assert_eq!(shown["declared"]["actor"], "user:oz (token t)");
}
