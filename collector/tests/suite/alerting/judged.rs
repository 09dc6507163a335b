//! From batches to alerts: what the server's own judge finds, with the rules that ship.

use std::net::SocketAddr;
use std::time::Duration;

use collector::server::Running;
use serde_json::Value;

use crate::openapi::{Document, Reply, ask, send_with};
use crate::support::site::{self, ADMIN, Site, Who};
use crate::support::until_within;
use crate::support::world::{Carry, Talk, World};

/// A minute is judged within the next two.
const PASS: Duration = Duration::from_secs(200);
/// Five minutes, milliseconds.
const STEP_MS: u64 = 300_000;

/// A collector whose rules of these names fire at once and are over at once, so that a trial waits
/// for a minute and not for an hour.
fn start(site: &Site, at_once: &[&str]) -> Running {
    let file = site.configure(true, false, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let folder = site.path("rules.d");
    std::fs::create_dir(&folder).expect("a folder");
    let rules = format!("[alerts]\nrules = {:?}\n", folder.display().to_string());
    site.write("collector.toml", &format!("{text}\n{rules}"));
    let changes = at_once
        .iter()
        .map(|name| format!("[change.{name}]\nfor = \"0s\"\nkeep_for = \"0s\"\n"));
    site.write("rules.d/at-once.toml", &changes.collect::<String>());
    site::start(&collector::config::load(&file).expect("valid"))
}

fn now_ms() -> u64 {
    u64::try_from(collector::time::now_ms()).expect("after 1970")
}

fn tell(site: &Site, at: SocketAddr, world: &mut World) {
    for batch in world.tick() {
        assert_eq!(site.send(at, &batch).word(), "stored");
    }
}

fn declare(site: &Site, at: SocketAddr, matrix: &str) {
    let put = ("PUT", "/api/v1/matrix");
    let reply = send_with(site, at, put, Who::Token(ADMIN), matrix.as_bytes());
    assert_eq!(reply.status, 200, "{:?}", reply.json());
}

/// Alerts that fire, by a rule.
fn firing(answer: &Value, rule: &str) -> Vec<Value> {
    let alerts = answer["alerts"].as_array().expect("alerts").iter();
    let of = |alert: &&Value| alert["rule"] == rule && alert["phase"] == "firing";
    alerts.filter(of).cloned().collect()
}

fn alerts(site: &Site, at: SocketAddr) -> Value {
    ask(site, at, "/api/v1/alerts").json()
}

/// The group of that label, and the edge between two groups.
fn groups(document: &Document, reply: &Reply) -> Value {
    document.hold(&document.operation("topology"), reply, "groups");
    reply.json()["grouped"].clone()
}

fn group<'a>(grouped: &'a Value, label: &str) -> &'a Value {
    let mut all = grouped["groups"].as_array().expect("groups").iter();
    all.find(|group| group["label"] == label)
        .expect("the group")
}

fn between<'a>(grouped: &'a Value, client: &str, server: &str) -> &'a Value {
    let [client, server] = [client, server].map(|label| &group(grouped, label)["key"]);
    let mut all = grouped["edges"].as_array().expect("edges").iter();
    all.find(|edge| edge["client"] == *client && edge["server"] == *server)
        .expect("the edge")
}

/// `curl` on `one` calls `nginx` on `web`, which calls `db` on `data`.
fn talks(world: &mut World) -> [Talk<'static>; 2] {
    let hosts = ["one", "web", "data"].map(|name| world.host(name));
    let outer = Talk {
        client: (hosts[0], "curl", "10.1.0.2"),
        server: (hosts[1], "nginx", "10.2.0.2:80"),
        vip: None,
        nat: None,
        carry: Carry::Client,
    };
    let inner = Talk {
        client: (hosts[1], "nginx", "10.2.0.2"),
        server: (hosts[2], "db", "10.3.0.9:5432"),
        ..outer.clone()
    };
    [outer, inner]
}

/// What there is once an alert of a rule fires and none of another one does.
fn instead(site: &Site, at: SocketAddr, rule: &str, other: &str) -> Value {
    until_within(PASS, rule, || {
        let answer = alerts(site, at);
        let is_over = firing(&answer, other).is_empty();
        (is_over && !firing(&answer, rule).is_empty()).then_some(answer)
    })
}

#[test]
fn what_is_not_declared_is_an_alert_until_the_matrix_says_otherwise() {
    let site = Site::new();
    let rules = ["edge-undeclared", "flow-denied-used", "flow-ends-soon"];
    let running = start(&site, &rules);
    let at = running.address();
    let document = Document::of(&site, at);
    let mut world = World::new();
    world.now_ms = now_ms() - 30_000;
    let [outer, inner] = talks(&mut world);
    world.connect(&outer, 12);
    world.connect(&inner, 3);
    tell(&site, at, &mut world);
    // What is judged is not older than five minutes.
    let mut again = || {
        world.now_ms = now_ms() - 15_000;
        world.connect(&inner, 2);
        tell(&site, at, &mut world);
    };
    let shown = || groups(&document, &ask(&site, at, "/api/v1/topology?group=service"));
    // Nothing is declared: nothing is known of it, and nothing is zero.
    let none = shown();
    assert!(group(&none, "db")["undeclared"].is_null(), "{none:#}");
    assert_eq!(group(&none, "db")["alerts"]["warning"], 0, "{none:#}");
    let first = "id,source,destination,port,action\nweb,curl,nginx,80,\nno,nginx,curl,,deny\n";
    declare(&site, at, first);
    let found = instead(&site, at, "edge-undeclared", "flow-denied-used");
    let all = firing(&found, "edge-undeclared");
    assert_eq!(all.len(), 1, "{found:#}");
    assert_eq!(all[0]["name"], "web/nginx -> data/db (10.3.0.9:5432)");
    let said = all[0]["summary"].as_str().expect("a sentence");
    assert!(said.contains("no flow of the declared matrix"), "{said}");
    let mut of_alerts = found["groups"].as_array().expect("groups").iter();
    let matrix = of_alerts.find(|group| group["cause"]["kind"] == "matrix");
    assert_eq!(matrix.expect("a group")["count"], 1, "{found:#}");
    let grouped = shown();
    let edge = between(&grouped, "nginx", "db");
    let counts = (&edge["undeclared"], &edge["alerts"]["warning"]);
    assert_eq!(counts, (&1.into(), &1.into()), "{grouped:#}");
    assert_eq!(between(&grouped, "curl", "nginx")["undeclared"], 0);
    assert_eq!(grouped["groups"][0]["label"], "nginx", "{grouped:#}");
    // It is declared, for three days: that is another alert, about the flow.
    again();
    let soon = collector::time::rfc3339(collector::time::now_ms() + 3 * 86_400_000);
    let second = format!(
        "id,source,destination,port,valid_until,owner\nweb,curl,nginx,80,,\n\
         db,nginx,db,5432,{soon},ann\n"
    );
    declare(&site, at, &second);
    let found = instead(&site, at, "flow-ends-soon", "edge-undeclared");
    let flow = &firing(&found, "flow-ends-soon")[0];
    assert_eq!(flow["subject"]["kind"], "flow");
    assert_eq!(flow["subject"]["owner"], "ann");
    assert_eq!(flow["name"], "flow db: nginx -> db (5432)");
    assert_eq!(between(&shown(), "nginx", "db")["undeclared"], 0);
    // It is denied.
    again();
    let third = "id,source,destination,port,action\nweb,curl,nginx,80,\nno,nginx,db,,deny\n";
    declare(&site, at, third);
    let found = instead(&site, at, "flow-denied-used", "flow-ends-soon");
    let flow = &firing(&found, "flow-denied-used")[0];
    let told = (&flow["severity"], &flow["name"]);
    assert_eq!(told, (&"critical".into(), &"flow no: nginx -> db".into()));
}

#[test]
fn a_backend_that_resets_is_the_first_candidate_with_its_numbers() {
    let site = Site::new();
    let running = start(&site, &["server-resets"]);
    let at = running.address();
    let mut world = World::new();
    let steps = 14;
    world.now_ms = now_ms() - steps * STEP_MS - 20_000;
    let hosts = ["one", "two", "b1", "b2", "b3"].map(|name| world.host(name));
    let clients = [(hosts[0], "10.1.0.1"), (hosts[1], "10.1.0.2")];
    let backends = [
        (hosts[2], "10.2.0.1:8080"),
        (hosts[3], "10.2.0.2:8080"),
        (hosts[4], "10.2.0.3:8080"),
    ];
    let talks = clients.iter().flat_map(|(client, from)| {
        backends.iter().map(move |(server, to)| Talk {
            client: (*client, "curl", *from),
            server: (*server, "api", *to),
            vip: None,
            nat: None,
            carry: Carry::Client,
        })
    });
    let talks: Vec<Talk<'_>> = talks.collect();
    for step in 1..=steps {
        world.now_ms += STEP_MS - 10_000;
        for talk in &talks {
            world.connect(talk, 40);
        }
        if step == steps {
            for talk in talks.iter().filter(|talk| talk.server.0 == hosts[3]) {
                world.change(talk, |row| match row.role {
                    wire::Role::Client => row.reset_remote += 8,
                    wire::Role::Server => row.reset_local += 8,
                });
            }
        }
        tell(&site, at, &mut world);
    }
    let found = until_within(PASS, "the backend is an alert", || {
        let answer = alerts(&site, at);
        (!firing(&answer, "server-resets").is_empty()).then_some(answer)
    });
    let all = firing(&found, "server-resets");
    assert_eq!(all.len(), 1, "{found:#}");
    assert_eq!(all[0]["name"], "b2/api", "{found:#}");
    let mut groups = found["groups"].as_array().expect("groups").iter();
    let group = groups
        .find(|group| group["id"] == all[0]["group"])
        .expect("its group");
    assert_eq!(group["cause"]["kind"], "server");
    let candidates = group["candidates"].as_array().expect("candidates");
    assert!((1..=3).contains(&candidates.len()), "{group:#}");
    let first = &candidates[0];
    assert_eq!(
        (&first["name"], &first["metric"], &first["unit"]),
        (&"b2/api".into(), &"resets".into(), &"%".into()),
        "{group:#}"
    );
    assert_eq!(
        (&first["before"], &first["after"]),
        (&0.0.into(), &20.0.into())
    );
    assert_eq!(first["low_confidence"], false, "{group:#}");
    assert!(first["windows"].as_u64() >= Some(10), "{group:#}");
    let why = first["why"].as_str().expect("a sentence");
    assert!(why.contains("resets of b2/api: 20%, usual 0%"), "{why}");
    // The two that do as ever are none.
    let named = candidates.iter().map(|one| one["name"].as_str());
    assert!(
        named
            .flatten()
            .all(|name| !name.contains("b1") && !name.contains("b3")),
        "{group:#}"
    );
}
