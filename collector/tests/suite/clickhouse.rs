//! The store on ClickHouse from outside: collectors that are killed, and servers that go away.

#[path = "../clickhouse/mod.rs"]
mod servers;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::Batch;

use crate::crash::{PROGRAM, Serve, batch};
use crate::outputs::skipped;
use crate::support::site::{READER, Site, TOKEN, Who};
use crate::support::until;
use crate::support::world::{Carry, Talk, World};
use servers::Servers;

/// Writes the configuration of one of several collectors on the same servers.
fn configure(site: &Site, servers: &Servers, name: &str) -> std::path::PathBuf {
    let of_file = std::fs::read_to_string(site.configure(true, false, "")).expect("written");
    let cluster = servers
        .cluster
        .map(|name| format!("cluster = \"{name}\"\n"));
    let kept = format!(
        "[store.clickhouse]\nurls = {:?}\n{}[limits]",
        servers.urls,
        cluster.unwrap_or_default()
    );
    // What is a collector's own is not shared.
    let text = of_file
        .replace("[store]\n", "[store]\nkind = \"clickhouse\"\n")
        .replace("/collector.db", &format!("/{name}.db"))
        .replace("[limits]", &kept)
        .replace(
            "[auth]\n",
            &format!("[auth]\ndatabase = \"{}\"\n", site.path(name).display()),
        );
    let file = format!("{name}.toml");
    site.write(&file, &text);
    site.path(&file)
}

fn serve(site: &Site, servers: &Servers, name: &str) -> Serve {
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--config");
    Serve::run(command.arg(configure(site, servers, name)))
}

/// The number that a statement answers.
fn number(servers: &Servers, sql: &str) -> u64 {
    let output = Command::new("curl")
        .args([
            "-sS",
            "--fail-with-body",
            "--max-time",
            "30",
            "--data-binary",
            sql,
        ])
        .arg(format!("{}/", servers.urls[0]))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect(&text)
}

/// What is stored, each row once: batches and events.
fn stored(servers: &Servers) -> (u64, u64) {
    let rows = |table, place| {
        let key = format!("(host, boot, sequence{place})");
        number(
            servers,
            &format!("SELECT uniqExact{key} FROM waybill.{table}"),
        )
    };
    (rows("batch", ""), rows("event", ", place"))
}

/// Sends until it is answered, to whichever collector answers.
fn send(site: &Site, at: &Mutex<[SocketAddr; 2]>, first: usize, batch: &Batch) {
    let mut next = first;
    until("a batch is stored", || {
        let at = at.lock().expect("no panic")[next % 2];
        next += 1;
        let answer = site.send_as(at, Who::Token(TOKEN), batch).ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn two_collectors_on_two_nodes_lose_nothing_while_one_after_the_other_is_killed() {
    const AGENTS: u8 = 4;
    const KILLS: usize = 4;
    let Some(servers) = Servers::two_nodes() else {
        return;
    };
    let site = Site::new();
    let mut running = ["one", "two"].map(|name| serve(&site, &servers, name));
    let at = Mutex::new([running[0].at, running[1].at]);
    let over = AtomicBool::new(false);
    let sent: Vec<AtomicU64> = (0..AGENTS).map(|_| AtomicU64::new(0)).collect();
    let total = || sent.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
    std::thread::scope(|scope| {
        for agent in 0..AGENTS {
            let (site, at, over) = (&site, &at, &over);
            let sent = &sent[usize::from(agent)];
            scope.spawn(move || {
                for sequence in 1.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let batch = batch(agent, sequence);
                    let first = usize::from(agent);
                    send(site, at, first, &batch);
                    // Some come again, by the other one.
                    if sequence % 3 == 0 {
                        send(site, at, first + 1, &batch);
                    }
                    sent.store(sequence, Ordering::Relaxed);
                }
            });
        }
        for kill in 0..KILLS {
            let before = total();
            until("there is load", || (total() >= before + 12).then_some(()));
            let which = kill % 2;
            running[which].signal("KILL");
            // The other one takes all meanwhile.
            let before = total();
            until("the other goes on", || {
                (total() >= before + 8).then_some(())
            });
            running[which] = serve(&site, &servers, ["one", "two"][which]);
            at.lock().expect("no panic")[which] = running[which].at;
        }
        over.store(true, Ordering::Relaxed);
    });
    // Each batch has one event.
    assert_eq!(stored(&servers), (total(), total()));
    for Serve { at, .. } in &running {
        let asked = site.get(*at, "/api/v1/hosts", Who::Token(READER));
        let hosts = asked.json["hosts"].as_array().expect(&asked.text);
        assert_eq!(hosts.len(), usize::from(AGENTS));
        assert!(hosts.iter().all(|host| host["batches_missing"] == 0));
    }
}

#[test]
fn edges_by_two_collectors_are_those_of_the_fleet() {
    let all = [Servers::two_nodes(), Servers::current()];
    for servers in all.into_iter().flatten() {
        edges(&servers);
    }
}

fn edges(servers: &Servers) {
    let site = Site::new();
    let running = ["one", "two"].map(|name| serve(&site, servers, name));
    let mut world = World::new();
    let (client, server) = (world.host("client"), world.host("server"));
    let talk = Talk {
        client: (client, "web", "10.0.0.1"),
        server: (server, "db", "10.0.0.2:5432"),
        vip: None,
        nat: None,
        carry: Carry::Client,
    };
    let from_ms = world.now_ms;
    for turn in 0..6 {
        world.connect(&talk, 7);
        for (at, batch) in world.tick().iter().enumerate() {
            // Each end of a connection by another one, and all of it twice.
            for again in 0..2 {
                let at = running[(turn + at + again) % 2].at;
                let word = site.send(at, batch).word().to_owned();
                assert_eq!(word, ["stored", "duplicate"][again]);
            }
        }
    }
    let path = format!("/api/v1/topology?from_ms={from_ms}&to_ms={}", world.now_ms);
    for Serve { at, .. } in &running {
        let asked = site.get(*at, &path, Who::Token(READER));
        let edges = asked.json["edges"].as_array().expect(&asked.text);
        assert_eq!(edges.len(), 1, "{}", asked.text);
        assert_eq!(edges[0]["connections"], 42);
        assert_eq!(edges[0]["evidence"][0]["kind"], "token");
    }
}

#[test]
fn while_the_servers_are_away_batches_are_refused_and_wait_nowhere() {
    let Some(mut servers) = Servers::two_nodes() else {
        return;
    };
    let site = Site::new();
    let serve = serve(&site, &servers, "one");
    for sequence in 1..=5 {
        assert_eq!(site.send(serve.at, &batch(1, sequence)).word(), "stored");
    }
    servers.kill();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", serve.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("a number")
    };
    let mut before = 0;
    for sequence in 6..=60 {
        let answer = site.send(serve.at, &batch(1, sequence));
        assert_eq!((answer.status, answer.word()), (503, "store"));
        assert!(answer.retry_after.is_some_and(|seconds| seconds > 0));
        if sequence == 20 {
            before = memory();
        }
    }
    assert!(
        memory() < before + 8 * 1024,
        "{before} KiB, now {} KiB",
        memory()
    );
    assert_eq!(site.get(serve.at, "/readyz", Who::Nobody).status, 503);
    servers.start();
    // A balancer sends nothing until it says that it is ready.
    until("it is ready again", || {
        let answer = site.get(serve.at, "/readyz", Who::Nobody);
        (answer.status == 200).then_some(())
    });
    assert_eq!(stored(&servers), (5, 5));
    for sequence in 1..=60 {
        let word = if sequence <= 5 { "duplicate" } else { "stored" };
        assert_eq!(site.send(serve.at, &batch(1, sequence)).word(), word);
    }
    assert_eq!(stored(&servers), (60, 60));
}

#[test]
fn doctor_knows_the_nodes() {
    let Some(mut servers) = Servers::two_nodes() else {
        return;
    };
    let site = Site::new();
    drop(serve(&site, &servers, "one"));
    let doctor = |config: &std::path::Path| {
        let output = Command::new(PROGRAM)
            .args(["doctor", "--format", "json", "--config"])
            .arg(config)
            .output()
            .expect("runs");
        let report = serde_json::from_slice(&output.stdout);
        let report: serde_json::Value = report.expect("a report");
        let of_store = |one: &&serde_json::Value| one["part"] == "store";
        let findings = report["findings"].as_array().expect("findings").iter();
        let states = findings.filter(of_store).map(|one| one["state"].clone());
        (output.status.code(), states.collect::<Vec<_>>())
    };
    let (_, states) = doctor(&configure(&site, &servers, "one"));
    assert_eq!(states, ["ok", "ok", "ok"]);
    let other = servers.cluster.replace("elsewhere");
    let (code, states) = doctor(&configure(&site, &servers, "one"));
    assert_eq!(
        (code, &states[..2]),
        (Some(5), &["failed".into(), "failed".into()][..])
    );
    servers.cluster = other;
    servers.kill();
    let (code, states) = doctor(&configure(&site, &servers, "one"));
    assert_eq!(
        (code, states),
        (Some(5), vec!["failed".into(), "failed".into()])
    );
}

/// The answers of a collector about a time, whichever store it has.
fn answers(site: &Site, at: SocketAddr, (from_ms, to_ms): (u64, u64)) -> Vec<String> {
    let window = format!("from={from_ms}&to={to_ms}");
    let paths = [
        format!("/api/v1/topology?{window}"),
        format!("/api/v1/events/event?{window}"),
        format!("/api/v1/rows/event?{window}"),
    ];
    let asked = paths.map(|path| {
        let mut answer = site.get(at, &path, Who::Token(READER));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        // When it was asked.
        answer
            .json
            .as_object_mut()
            .map(|all| all.remove("generated_ms"));
        serde_json::to_string_pretty(&answer.json).expect("JSON")
    });
    asked.to_vec()
}

#[test]
fn a_copy_that_is_killed_goes_on_and_is_the_same_store() {
    const HOSTS: usize = 12;
    let Some(servers) = Servers::two_nodes() else {
        return;
    };
    let site = Site::new();
    let old = Serve::start(&site, "");
    let mut world = World::new();
    let hosts: Vec<usize> = (0..HOSTS).map(|n| world.host(&format!("h{n}"))).collect();
    let names: Vec<(String, String)> = (0..HOSTS)
        .map(|n| (format!("10.0.0.{n}"), format!("10.0.0.{n}:5432")))
        .collect();
    let talk = |n: usize| Talk {
        client: (hosts[n], "web", &names[n].0),
        server: (hosts[(n + 1) % HOSTS], "db", &names[(n + 1) % HOSTS].1),
        vip: None,
        nat: None,
        carry: Carry::Client,
    };
    let from_ms = world.now_ms;
    for turn in 0..8 {
        for (n, host) in hosts.iter().enumerate() {
            world.connect(&talk(n), 3);
            world.event(*host, turn);
        }
        match turn {
            1 => world.hold(&talk(0)),
            2 => world.hold(&talk(1)),
            5 => world.release(&talk(0)),
            _ => {}
        }
        for batch in world.tick() {
            assert_eq!(site.send(old.at, &batch).word(), "stored");
        }
    }
    let window = (from_ms, world.now_ms);
    let expected = answers(&site, old.at, window);
    drop(old);
    // As one that goes on with the servers, and has its old database still.
    let config = configure(&site, &servers, "collector");
    let copy = || {
        let mut command = Command::new(PROGRAM);
        command.args(["store", "copy", "--from", "sqlite", "--to", "clickhouse"]);
        command.arg("--config").arg(&config);
        command
    };
    let mut killed = copy()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    let said = killed.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).expect("a line");
    assert!(line.contains(" of 96 batches"), "{line}");
    killed.kill().expect("killed");
    killed.wait().expect("ends");
    let (before, _) = stored(&servers);
    assert!(before > 0 && before < 96, "{before}");
    for again in [before, 96] {
        let output = copy().args(["--format", "json"]).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        let copied: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(copied["batches_done"], 96);
        assert_eq!(copied["batches_before"], again);
        assert_eq!(copied["rows"]["event"], 96);
        assert_eq!(copied["faults"], serde_json::json!([]));
    }
    assert_eq!(stored(&servers), (96, 96));
    let new = serve(&site, &servers, "collector");
    for (found, expected) in answers(&site, new.at, window).iter().zip(&expected) {
        assert!(found == expected, "{found}\ninstead of\n{expected}");
    }
}
