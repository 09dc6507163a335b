//! A shop on fourteen hosts, half an hour of it up to now, for people to look at.

use std::net::SocketAddr;

use wire::{Batch, Endpoint, EventKind, EventRow, ListenerRow, Role};

use crate::support::site::{Site, TOKEN, Who, key};
use crate::support::world::{Carry, Talk, World};

/// Length of an interval here, milliseconds.
pub(super) const INTERVAL_MS: u64 = 60_000;
/// Intervals of the scene.
const INTERVALS: u64 = 30;
/// What [`World::tick`] adds by itself.
const TICK_MS: u64 = 10_000;

/// Hosts with agents; `oracle` has none.
const HOSTS: [&str; 15] = [
    "desk-1", "desk-2", "edge-1", "edge-2", "app-1", "app-2", "app-3", "stock-1", "stock-2",
    "cat-1", "db-1", "db-2", "gw-1", "ops-07", "oracle",
];

/// A name as somebody hostile would choose it.
pub(super) const HOSTILE: &str = "<img src=x onerror=alert(1)>=cmd|'/c calc'!A1";

/// Connections between `app-2` and `stock-2`, and how many of them `stock` reset.
pub(super) const STOCK: (u64, u64) = (30 * INTERVALS, INTERVALS - FAULT_AFTER);
/// Interval after which `stock-2` resets.
const FAULT_AFTER: u64 = 18;

/// 200 declared flows: ten that say something of the scene, and others of which nobody would see
/// anything. One edge is left undeclared, and two break it.
pub(super) fn declared() -> String {
    let mut rows = String::from("id,source,destination,port,action,valid_until,owner,comment\n");
    rows += "u1,firefox,nginx,443,,,web,through the front door\n";
    rows += "u2,nginx,checkout,8080,,,order,\n";
    rows += "u3,checkout,catalog,\"80,8080\",,,order,\n";
    rows += "u4,checkout,stock,8080,,,order,\n";
    rows += "u5,checkout,postgres,5432,,,order,\n";
    rows += "u6,checkout,10.7.3.9,1521,,,order,the old ledger\n";
    rows += "n1,catalog,postgres,5432,,,order,nobody does\n";
    rows += "x1,catalog,redis,6379,,2020-01-01,order,over\n";
    rows += "d1,any,postgres,22,deny,,sec,must not be\n";
    rows += "v1,cron-billing,postgres,5432,deny,,sec,is\n";
    for number in rows.lines().count()..=200 {
        rows += &format!("f{number},service=a{number},service=b{number},443,,,far,=1+{number}\n");
    }
    rows
}

/// Host, service, address.
type End = (usize, &'static str, &'static str);

fn at(host: &str) -> usize {
    let place = HOSTS.iter().position(|name| *name == host);
    place.expect("a host of the scene")
}

fn talk(client: End, server: End) -> Talk<'static> {
    Talk {
        client,
        server,
        vip: None,
        nat: None,
        carry: Carry::Client,
    }
}

/// What is said in each interval, and how often.
fn talks() -> Vec<(Talk<'static>, u64)> {
    let mut talks = Vec::new();
    for (desk, ip) in [("desk-1", "10.1.0.2"), ("desk-2", "10.1.0.3")] {
        for (edge, own) in [("edge-1", "10.2.1.1:443"), ("edge-2", "10.2.1.2:443")] {
            let front = Talk {
                vip: Some("10.1.0.100:443"),
                nat: Some("10.2.0.1"),
                ..talk((at(desk), "firefox", ip), (at(edge), "nginx", own))
            };
            talks.push((front, 12));
        }
    }
    let apps = [
        ("app-1", "10.2.2.1"),
        ("app-2", "10.2.2.2"),
        ("app-3", "10.2.2.3"),
    ];
    for (number, (app, ip)) in apps.into_iter().enumerate() {
        let own = ["10.2.2.1:8080", "10.2.2.2:8080", "10.2.2.3:8080"][number];
        for (edge, edge_ip) in [("edge-1", "10.2.1.1"), ("edge-2", "10.2.1.2")] {
            talks.push((
                talk((at(edge), "nginx", edge_ip), (at(app), "checkout", own)),
                14,
            ));
        }
        let checkout = (at(app), "checkout", ip);
        let catalog = Talk {
            vip: Some("10.9.0.80:80"),
            nat: Some("10.3.0.1"),
            ..talk(checkout, (at("cat-1"), "catalog", "10.3.1.1:8080"))
        };
        talks.push((catalog, 22));
        let (stock, own) = match number {
            1 => ("stock-2", "10.3.2.2:8080"),
            _ => ("stock-1", "10.3.2.1:8080"),
        };
        let stock = Talk {
            nat: Some("10.3.0.1"),
            ..talk(checkout, (at(stock), "stock", own))
        };
        talks.push((stock, 30));
        let postgres = Talk {
            vip: Some("10.9.0.54:5432"),
            ..talk(checkout, (at("db-1"), "postgres", "10.3.3.1:5432"))
        };
        talks.push((postgres, 8));
        talks.push((talk(checkout, (at("oracle"), "oracle", "10.7.3.9:1521")), 3));
    }
    let catalog = (at("cat-1"), "catalog", "10.3.1.1");
    talks.push((talk(catalog, (at("db-2"), "redis", "10.3.3.2:6379")), 40));
    let billing = (at("ops-07"), "cron-billing", "10.8.0.7");
    talks.push((talk(billing, (at("db-1"), "postgres", "10.3.3.1:5432")), 1));
    let hostile = (at("ops-07"), HOSTILE, "10.8.0.7");
    talks.push((talk(hostile, (at("edge-1"), "nginx", "10.2.1.1:443")), 1));
    talks
}

/// The shop, and the time of its agents.
pub(super) struct Scene<'a> {
    site: &'a Site,
    address: SocketAddr,
    world: World,
    talks: Vec<(Talk<'static>, u64)>,
    /// Intervals that went by.
    intervals: u64,
}

/// What is wrong in an interval.
#[derive(Clone, Copy, Default)]
pub(super) struct Wrong {
    /// Connections of `app-2` that `stock-2` resets.
    pub(super) resets: u64,
    /// The way to `catalog` is slow.
    pub(super) is_slow: bool,
}

/// Feeds a collector with the scene, whose last interval ends at `now_ms`.
pub(super) fn feed(site: &Site, address: SocketAddr, now_ms: u64) {
    let mut scene = Scene::new(site, address, now_ms - INTERVALS * INTERVAL_MS);
    for interval in 0..INTERVALS {
        scene.pass(Wrong {
            resets: u64::from(interval >= FAULT_AFTER),
            is_slow: interval > 24,
        });
    }
}

impl<'a> Scene<'a> {
    /// Begins then.
    pub(super) fn new(site: &'a Site, address: SocketAddr, begin_ms: u64) -> Self {
        let mut world = World::new();
        world.now_ms = begin_ms;
        for name in HOSTS {
            world.host(name);
        }
        Self {
            site,
            address,
            world,
            talks: talks(),
            intervals: 0,
        }
    }

    /// An interval goes by, and is told of.
    pub(super) fn pass(&mut self, wrong: Wrong) {
        for (talk, often) in &self.talks {
            self.world.connect(talk, *often);
            if talk.nat.is_some() {
                self.world.track(at("gw-1"), talk, *often);
            }
            let slow = talk.server.1 == "catalog" && wrong.is_slow;
            // Two of a hundred segments of one hop are lost.
            let lossy = talk.client.0 == at("edge-1") && talk.server.0 == at("app-1");
            self.world.change(talk, |row| {
                row.retransmits = row.opened / if lossy { 5 } else { 150 };
                for round in 0..*often {
                    row.rtt
                        .record(300 + 97 * (round % 7) + if slow { 9000 } else { 0 });
                }
            });
        }
        let broken = (0..wrong.resets).filter_map(|n| self.reset(n)).collect();
        self.world.now_ms += INTERVAL_MS - TICK_MS;
        self.tell(broken);
    }

    /// What agents tell of an interval that ends now.
    fn tell(&mut self, mut broken: Vec<EventRow>) {
        let client = self.site.client(Who::Nobody);
        for mut batch in self.world.tick() {
            let name = batch.hosts[0].hostname.clone();
            if name == "oracle" {
                continue;
            }
            complete(&mut batch, &name, self.intervals);
            if name == "app-2" {
                batch.events.append(&mut broken);
            }
            let url = format!("https://{}/api/v1/batches", self.address);
            let answer = client
                .post(url)
                .header("Content-Type", wire::CONTENT_TYPE)
                .header("Idempotency-Key", key(&batch))
                .header("Authorization", format!("Bearer {TOKEN}"))
                .send(wire::encode(&batch))
                .expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        self.intervals += 1;
    }

    /// `stock-2` resets a connection of `app-2`.
    fn reset(&mut self, number: u64) -> Option<EventRow> {
        let (talk, _) = self
            .talks
            .iter()
            .find(|(talk, _)| talk.server.0 == at("stock-2"))?;
        self.world.change(talk, |row| match row.role {
            Role::Client => row.reset_remote += 1,
            Role::Server => row.reset_local += 1,
        });
        let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("endpoint"));
        Some(EventRow {
            kind: EventKind::ResetRemote,
            time_us: self.world.now_ms * 1000 + number,
            role: Role::Client,
            process_id: 1,
            local: endpoint("10.2.2.2:40112"),
            remote: endpoint("10.3.2.2:8080"),
            netns: 4_026_531_840,
            errno: 104,
            duration_us: 5_000_000,
            bytes_sent: 420,
            ..EventRow::default()
        })
    }
}

/// What its agent says of a host, and of the sockets that listen there.
fn complete(batch: &mut Batch, name: &str, interval: u64) {
    let minutes = interval + 1;
    let host = &mut batch.hosts[0];
    host.kernel = String::from(match name {
        "stock-1" | "stock-2" => "4.18.0-553.el8_10.x86_64",
        "db-1" | "db-2" => "3.10.0-1160.el7.x86_64",
        _ => "6.1.0-28-amd64",
    });
    if name.starts_with("db-") {
        host.mode = String::from("observe");
        host.plan = vec![
            (
                "connection".into(),
                "observe: no eBPF: the kernel has no bpf system call".into(),
            ),
            ("listener".into(), "skip: needs eBPF".into()),
        ];
    } else {
        host.plan
            .push(("nat".into(), "skip: no conntrack here".into()));
    }
    host.counters = vec![
        ("agent_cpu_ms_total".into(), minutes * 180),
        ("agent_rss_bytes".into(), 21 << 20),
        ("agent_rss_peak_bytes".into(), 24 << 20),
        ("spool_depth".into(), 1),
    ];
    if name == "edge-2" {
        host.counters
            .push(("records_dropped_ring_full_total".into(), 7 * minutes));
    }
    let Some(nginx) = batch
        .processes
        .iter()
        .find(|process| process.service == "nginx")
    else {
        return;
    };
    batch.listeners.push(ListenerRow {
        process_id: nginx.process_id,
        local: Endpoint::from(SocketAddr::from(([10, 2, 1, 1], 443))),
        since_ms: batch.header.start_ms,
        sockets: 2,
        backlog: 511,
        queue: u32::try_from(interval % 5).expect("small"),
        queue_most: u32::try_from(3 + interval % 11).expect("small"),
        ..ListenerRow::default()
    });
}
