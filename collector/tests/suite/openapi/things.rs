//! Nodes, edges, chains and what a search finds.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::scene::{ALL, DATA, ONE, edge, fleet};
use super::{Document, ask};
use crate::support::site::Site;

struct Scene<'a> {
    site: &'a Site,
    at: SocketAddr,
    document: Document,
}

impl Scene<'_> {
    #[track_caller]
    fn get(&self, id: &str, path: &str) -> Value {
        let path = format!("{path}{}{ALL}", if path.contains('?') { '&' } else { '?' });
        let reply = ask(self.site, self.at, &path);
        assert_eq!(
            reply.status,
            200,
            "{path}: {:?}",
            String::from_utf8_lossy(&reply.body)
        );
        self.document
            .hold(&self.document.operation(id), &reply, &path);
        reply.json()
    }

    /// Kind and title of each hit.
    #[track_caller]
    fn search(&self, text: &str) -> Vec<(String, String)> {
        let found = self.get("search", &format!("/api/v1/search?q={}", encoded(text)));
        let hits = found["hits"].as_array().expect("hits").iter();
        let word = |hit: &Value, name: &str| hit[name].as_str().expect("text").to_owned();
        let hits: Vec<_> = hits
            .map(|hit| (word(hit, "kind"), word(hit, "title")))
            .collect();
        for hit in found["hits"].as_array().expect("hits") {
            let href = hit["href"].as_str().expect("an address");
            let window = format!("{href}{}{ALL}", if href.contains('?') { '&' } else { '?' });
            assert_eq!(
                ask(self.site, self.at, &window).status,
                200,
                "{text}: {window}"
            );
        }
        hits
    }

    #[track_caller]
    fn chain(&self, text: &str) -> Value {
        self.get("chain", &format!("/api/v1/chain?tuple={}", encoded(text)))
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| format!("%{byte:02x}");
    text.bytes().map(byte).collect()
}

fn scene(test: impl FnOnce(&Scene<'_>)) {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let document = Document::of(&site, at);
    test(&Scene {
        site: &site,
        at,
        document,
    });
}

#[test]
fn a_node_says_what_it_is_and_whom_it_talks_to() {
    scene(|scene| {
        let node = scene.get("node", "/api/v1/nodes/web%2Fnginx");
        assert_eq!(node["node"]["exe"], "/usr/bin/nginx");
        assert_eq!(node["node"]["tags"], json!({ "team": "lab" }));
        assert_eq!(node["addresses"], json!(["10.2.0.2"]));
        let total = json!({ "edges": 2, "connections": 17, "wrong": 0 });
        assert_eq!(node["clients"]["total"], total);
        assert_eq!(node["clients"]["edges"][0]["client"], "one/curl");
        assert_eq!(node["servers"]["edges"][0]["server"], "data/db");
        let listener = &node["listeners"][0]["values"];
        assert_eq!(
            (&listener["local_port"], &listener["backlog"]),
            (&json!(8080), &json!(511))
        );
        // The key leads to the same node.
        let key = node["key"].as_str().expect("a key");
        let again = scene.get("node", &format!("/api/v1/nodes/{key}?limit=1"));
        assert_eq!(again["node"], node["node"]);
        assert_eq!(again["clients"]["left_out"], 1);
    });
}

#[test]
fn an_edge_shows_how_it_went_on_and_what_broke() {
    scene(|scene| {
        let key = edge(scene.site, scene.at, DATA);
        let found = scene.get("edge", &format!("/api/v1/edges/{key}?step=15m"));
        assert_eq!(found["connections"], 7);
        assert_eq!(
            found["evidence"],
            json!([{ "kind": "token", "connections": 7 }])
        );
        assert_eq!(found["client_node"]["id"], "web/nginx");
        // All of it was in the first quarter of an hour after 22:13:20.
        let steps = found["steps"].as_array().expect("steps");
        let connections: Vec<_> = steps.iter().map(|step| &step["connections"]).collect();
        assert_eq!(
            connections,
            [&json!(7), &Value::Null, &Value::Null, &Value::Null]
        );
        assert_eq!(steps[0]["client"]["opened"], 7);
        assert_eq!(steps[3]["to_ms"], found["to_ms"]);
        let rtt = &found["client_times"]["rtt"];
        assert_eq!(rtt["count"], 7);
        assert_eq!(rtt["p99"]["low_us"], 128);
        assert_eq!(rtt["p99"]["high_us"], 256);
        let broken = found["abnormal"].as_array().expect("rows");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert_eq!(broken[0]["values"]["errno"], 104);
        assert_eq!(broken[0]["values"]["local_port"], 32_786);
        // The other edges of the same service have none of it.
        let other = edge(scene.site, scene.at, ONE);
        let other = scene.get("edge", &format!("/api/v1/edges/{other}"));
        assert_eq!(other["abnormal"], json!([]));
        // Steps of ten seconds tell the two intervals apart.
        let exact =
            format!("/api/v1/edges/{key}?step=10s&from=1700000000000&to=1700000030000&limit=0");
        let exact = ask(scene.site, scene.at, &exact).json();
        let steps = exact["steps"].as_array().expect("steps").iter();
        let connections: Vec<_> = steps.map(|step| step["connections"].clone()).collect();
        assert_eq!(connections, [json!(3), json!(4), Value::Null]);
        assert_eq!(exact["abnormal_left_out"], 1);
    });
}

#[test]
fn a_search_finds_what_was_typed_or_pasted() {
    scene(|scene| {
        let hit = |kind: &str, title: &str| (kind.to_owned(), title.to_owned());
        assert_eq!(scene.search("nginx")[0], hit("node", "web/nginx"));
        assert_eq!(scene.search("NGI")[0], hit("node", "web/nginx"));
        assert_eq!(scene.search("web")[0], hit("host", "web"));
        assert!(scene.search("team=lab").contains(&hit("node", "data/db")));
        assert_eq!(
            scene.search(":5432"),
            [hit("edge", "web/nginx -> data/db 10.3.0.9:5432")]
        );
        assert_eq!(scene.search("10.3.0.9")[0], hit("node", "data/db"));
        assert_eq!(scene.search("::ffff:10.3.0.9")[0], hit("node", "data/db"));
        let of_vip = scene.search("10.1.0.100:80");
        assert_eq!(
            of_vip[0],
            hit("edge", "one/curl -> web/nginx 10.2.0.2:8080")
        );
        assert_eq!(scene.search("10.1.0.0/24").len(), 4);
        let pasted = "ESTAB 0 0 10.1.0.2:32770 10.1.0.100:80 users:((\"curl\",pid=7,fd=3))";
        let pasted = scene.search(pasted);
        assert_eq!(pasted[0], hit("chain", "10.1.0.2:32770 -> 10.1.0.100:80"));
        assert!(pasted.contains(&hit("node", "one/curl")));
        assert_eq!(scene.search("no such thing"), []);
        let few = scene.get("search", "/api/v1/search?q=l&limit=1");
        assert_eq!(few["hits"].as_array().map(Vec::len), Some(1));
        assert!(few["more"].as_u64() > Some(1));
    });
}

/// Kind, name and addresses of each hop.
fn hops(chain: &Value) -> Vec<String> {
    let pair = |pair: &Value| match (pair["source"].as_str(), pair["destination"].as_str()) {
        (Some(source), Some(destination)) => format!("{source}>{destination}"),
        _ => String::from("-"),
    };
    let hops = chain["hops"].as_array().expect("hops").iter();
    let text = |hop: &Value, name: &str| hop[name].as_str().expect("text").to_owned();
    hops.map(|hop| {
        let (kind, name) = (text(hop, "kind"), text(hop, "name"));
        format!(
            "{kind} {name} {} {}",
            pair(&hop["before"]),
            pair(&hop["after"])
        )
    })
    .collect()
}

#[test]
fn a_chain_has_every_hop_that_is_known() {
    scene(|scene| {
        let through = [
            "client one/curl - 10.1.0.2:32770>10.1.0.100:80",
            "gateway gw 10.1.0.2:32770>10.1.0.100:80 10.2.0.1>10.2.0.2:8080",
            "server web/nginx 10.2.0.1:32770>10.2.0.2:8080 -",
        ];
        // As the client sees it, as the server does, and from the other side.
        for (text, reversed) in [
            ("10.1.0.2:32770 -> 10.1.0.100:80", false),
            ("IP 10.1.0.2.32770 > 10.1.0.100.80: Flags [S]", false),
            ("[::ffff:10.2.0.1]:32770 -> [::ffff:10.2.0.2]:8080", false),
            ("10.1.0.100:80 10.1.0.2:32770", true),
            ("10.2.0.2:8080 > 10.2.0.1:32770", true),
        ] {
            let found = scene.chain(text);
            assert_eq!(found["reversed"], reversed, "{text}");
            let chains = found["chains"].as_array().expect("chains");
            assert_eq!(chains.len(), 1, "{text}: {found:#}");
            assert_eq!(hops(&chains[0]), through, "{text}");
            assert_eq!(chains[0]["exact"], true);
            let by_token = json!([{ "kind": "token", "connections": 1 }]);
            assert_eq!(chains[0]["evidence"], by_token);
            assert_eq!(chains[0]["ends"]["complete"], true);
            assert_eq!(chains[0]["ends"]["at"], "web/nginx");
            assert_eq!(chains[0]["edge"], edge(scene.site, scene.at, ONE));
        }
        // Another port was never sighted: it is like the others of its edge, not more.
        let like = scene.chain("10.1.0.2:50000 -> 10.1.0.100:80");
        assert_eq!(like["chains"][0]["exact"], false);
        assert_eq!(
            hops(&like["chains"][0])[0],
            "client one/curl - 10.1.0.2:50000>10.1.0.100:80"
        );
        // Nobody says what is between these.
        let silent = scene.chain("10.1.0.3:32781 -> 10.1.0.100:80");
        assert_eq!(
            hops(&silent["chains"][0])[1],
            "unknown something that no agent reports of 10.1.0.3:32781>10.1.0.100:80 \
             10.2.0.1:32781>10.2.0.2:8080"
        );
        let direct = scene.chain("10.2.0.2:32786 -> 10.3.0.9:5432");
        assert_eq!(hops(&direct["chains"][0]).len(), 2);
        let nothing = scene.chain("10.1.0.2:32770 -> 10.7.7.7:80");
        assert_eq!(nothing["chains"], json!([]));
        assert!(
            nothing["nothing"]
                .as_str()
                .is_some_and(|why| why.contains("fleet"))
        );
    });
}

#[test]
fn a_diagnosis_judges_each_cause_by_what_was_measured() {
    scene(|scene| {
        let of = |(client, server)| {
            let key = edge(scene.site, scene.at, (client, server));
            scene.get("diagnosis", &format!("/api/v1/diagnosis?edge={key}"))
        };
        let verdict = |answer: &Value, cause: &str| {
            let all = answer["statements"].as_array().expect("statements").iter();
            let mut all = all.filter(|one| one["cause"] == cause);
            all.next().map(|one| one["verdict"].clone())
        };
        // A gateway says what it translates, nginx' host how full its queue was.
        let through = of(ONE);
        assert_eq!(verdict(&through, "hop_unseen"), None, "{through:#}");
        assert_eq!(verdict(&through, "queue_full"), Some(json!("ruled_out")));
        assert_eq!(verdict(&through, "end_unseen"), None);
        // One segment in ten is sent again by everybody, so what is shared loses it.
        assert_eq!(verdict(&through, "loss_to_client"), Some(json!("likely")));
        let inner = of(DATA);
        assert_eq!(verdict(&inner, "queue_full"), Some(json!("unknown")));
        let same = scene.get(
            "diagnosis",
            &format!(
                "/api/v1/diagnosis?tuple={}",
                encoded("10.1.0.2:32769 10.1.0.100:80")
            ),
        );
        assert_eq!(same["edge"], through["edge"]);
        assert_eq!(same["statements"], through["statements"]);
    });
}
