//! A declared matrix against a collector with a small fleet: by the API and by the command.

mod declared;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::crash::Serve;
use crate::openapi::{Document, scene, send_with};
use crate::support::site::{READER, Site, TOKEN, Who};

/// 200 rows: seven that say something of the fleet, and others of which nobody would see anything.
fn rows() -> String {
    let mut rows = String::from("id,source,destination,port,action,valid_until,owner,comment\n");
    rows += "u1,curl,nginx,80,,,web,by the address that is called\n";
    rows += "u2,web/nginx,10.3.0.0/24,5432,,,db,by network\n";
    rows += "n1,nginx,db,6379,,,db,nobody does\n";
    rows += "d1,any,db,22,deny,,sec,must not be\n";
    rows += "v1,curl,any,80,deny,,sec,is\n";
    rows += "x1,nginx,db,5432,,2020-01-01,db,over\n";
    rows += "o1,nginx,dns,53,,,net,no such service\n";
    for number in rows.lines().count()..=200 {
        rows +=
            &format!("f{number},service=a{number},service=b{number},443,,,far,\"=1+{number}\"\n");
    }
    rows
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(arguments)
        .output()
        .expect("runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn verdict<'a>(report: &'a Value, id: &str) -> &'a str {
    let flows = report["flows"].as_array().expect("flows");
    let flow = flows.iter().find(|flow| flow["id"] == id);
    flow.expect(id)["verdict"].as_str().expect("a verdict")
}

#[test]
fn two_hundred_declared_flows_get_exact_verdicts() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    scene::fleet(&site, serve.at);
    site.write("matrix.csv", &rows());
    let (csv, xlsx) = (site.path("matrix.csv"), site.path("matrix.xlsx"));
    let exported = run(&["matrix", "export", text(&csv), "--output", text(&xlsx)]);
    assert!(exported.status.success(), "{exported:?}");
    let same = run(&["matrix", "diff", text(&csv), text(&xlsx)]);
    assert!(same.status.success(), "{same:?}");

    // By the API, as the document says.
    let document = Document::of(&site, serve.at);
    let operation = document.operation("matrix_check");
    let path = format!("/api/v1/matrix/check?{}", scene::ALL);
    let body = std::fs::read(&xlsx).expect("a workbook");
    let reply = send_with(&site, serve.at, ("POST", &path), Who::Token(READER), &body);
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    document.hold(&operation, &reply, "check");
    let report = reply.json();
    for (id, expected) in [
        ("u1", "used"),
        ("u2", "used"),
        ("n1", "unused"),
        ("d1", "kept"),
        ("v1", "violated"),
        ("x1", "expired"),
        ("o1", "unused"),
        ("f200", "not_observable"),
    ] {
        assert_eq!(verdict(&report, id), expected, "{id}: {report:#}");
    }
    let summary = &report["summary"];
    assert_eq!(summary["flows"], 200);
    assert_eq!(summary["not_observable"], 193);
    assert_eq!(summary["edges_violating"], 2, "{report:#}");
    assert_eq!(summary["edges_undeclared"], 0, "{report:#}");
    let first = &report["edges"][0];
    assert_eq!(
        (&first["state"], &first["flows"][0]),
        (&"violating".into(), &"v1".into())
    );
    assert!(
        first["evidence"]
            .as_array()
            .is_some_and(|found| !found.is_empty()),
        "{first:#}"
    );

    refused(&site, serve.at, (&document, &operation, &path));
    commanded(&site, &serve, (&xlsx, &report));
}

/// Files that are none, and what agents send, are refused as the document says.
fn refused(site: &Site, at: SocketAddr, asked: (&Document, &Value, &str)) {
    let (document, operation, path) = asked;
    for (who, body, status) in [
        (
            Who::Token(READER),
            &b"source,destination\n10.0.0.300,a\n"[..],
            400,
        ),
        (Who::Token(TOKEN), b"source,destination\n", 403),
    ] {
        let reply = send_with(site, at, ("POST", path), who, body);
        assert_eq!(reply.status, status);
        document.hold(operation, &reply, "refused");
    }
}

/// By the command, of the store and over HTTPS: the same report, and an exit code for pipelines.
fn commanded(site: &Site, serve: &Serve, (xlsx, report): (&Path, &Value)) {
    let (store, url) = (site.store(), format!("https://{}", serve.at));
    let (ca, token) = (site.path("ca.crt"), site.path("readers"));
    let window = [
        "--from",
        "2023-11-14T22:00:00Z",
        "--to",
        "2023-11-14T23:00:00Z",
    ];
    let check = ["matrix", "check", text(xlsx), "--format", "json"];
    let at_store = run(&[&check[..], &window, &["--store", text(&store)]].concat());
    let remote = [
        "--url",
        &url,
        "--ca-file",
        text(&ca),
        "--token-file",
        text(&token),
    ];
    let at_url = run(&[&check[..], &window, &remote].concat());
    assert_eq!(at_store.status.code(), Some(6), "{at_store:?}");
    assert_eq!(at_store.stdout, at_url.stdout);
    let shown: Value = serde_json::from_slice(&at_url.stdout).expect("JSON");
    assert_eq!(shown, *report);

    // Reports for people, and the formula that somebody wrote into a comment stays a text.
    let page = site.path("report.html");
    let sheet = site.path("report.csv");
    let reports = ["--report", text(&page), "--report", text(&sheet)];
    let said = run(&[&check[..3], &window, &["--store", text(&store)], &reports].concat());
    let table = String::from_utf8(said.stdout).expect("text");
    assert!(
        table.contains("2 denied flows") || table.contains("1 denied flows"),
        "{table}"
    );
    let html = std::fs::read_to_string(page).expect("a page");
    assert!(html.contains("<td>=1+200</td>"));
    let csv = std::fs::read_to_string(sheet).expect("a sheet");
    assert!(csv.contains(",'=1+200,"), "{csv}");
}

#[test]
fn what_is_learned_is_a_matrix_that_nothing_breaks() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    scene::fleet(&site, serve.at);
    let (store, learned) = (site.store(), site.path("learned.toml"));
    let window = [
        "--from",
        "2023-11-14T22:00:00Z",
        "--to",
        "2023-11-14T23:00:00Z",
    ];
    let source = ["--store", text(&store)];
    let learn = ["matrix", "learn", "--output", text(&learned)];
    let output = run(&[&learn[..], &window, &source].concat());
    assert!(output.status.success(), "{output:?}");
    let matrix = std::fs::read_to_string(&learned).expect("a matrix");
    assert!(
        matrix.contains("service=curl") && matrix.contains("service=nginx"),
        "{matrix}"
    );
    assert!(
        !matrix.contains("10.1.0.2"),
        "a service has a name: {matrix}"
    );
    let check = ["matrix", "check", text(&learned)];
    let output = run(&[&check[..], &window, &source].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let template = site.path("template.xlsx");
    let output = run(&["matrix", "template", "--output", text(&template)]);
    assert!(output.status.success(), "{output:?}");
    let differ = run(&["matrix", "diff", text(&learned), text(&template)]);
    assert_eq!(differ.status.code(), Some(6), "{differ:?}");
}
