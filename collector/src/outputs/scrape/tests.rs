use std::net::SocketAddr;
use std::sync::Arc;

use wire::{Batch, BatchHeader, EdgeRow, Endpoint, HostRow, ListenerRow, ProcessRow, Role};

use super::Scrape;
use crate::config;
use crate::outputs::exposed::Place;
use crate::outputs::sink::{Parcel, Sink as _};
use crate::outputs::status::Counters;

/// An output, and what it shows.
struct World {
    scrape: Scrape,
    counters: Arc<Counters>,
    position: i64,
}

impl World {
    fn new(labels: &[&str], max_series: usize) -> Self {
        let counters = Arc::<Counters>::default();
        let config = config::Scrape {
            labels: labels.iter().map(|label| String::from(*label)).collect(),
            max_series,
        };
        let scrape = Scrape::new(&config, &[], &counters, || 5_000);
        Self {
            scrape,
            counters,
            position: 0,
        }
    }

    fn take(&mut self, host: u8, end_ms: u64, mut batch: Batch) {
        self.position += 1;
        batch.header = BatchHeader {
            host: [host; 16],
            boot: [2; 16],
            sequence: self.position.unsigned_abs(),
            start_ms: end_ms - 1000,
            end_ms,
        };
        let parcel = Parcel::new((self.position, 5_000), &batch, |_| true);
        self.scrape.take(parcel);
        let done = self.scrape.send(false).unwrap().unwrap();
        assert_eq!(done.position, self.position);
    }

    fn text(&self) -> String {
        let (mut text, mut place) = (String::new(), Place::default());
        let exposed = self.counters.exposed.lock().unwrap();
        while exposed.write(&mut place, 5_000, &mut text) {}
        text
    }

    /// The lines of a metric.
    fn lines(&self, metric: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix(metric));
        lines.map(String::from).collect()
    }
}

fn end(text: &str) -> Endpoint {
    Endpoint::from(text.parse::<SocketAddr>().unwrap())
}

fn edge(process: u32, port: u16, opened: u64) -> EdgeRow {
    let remote = end(&format!("10.0.0.2:{port}"));
    let mut row = EdgeRow::new((process, Role::Client, end("10.0.0.1:0"), remote), 1, 0);
    row.total = false;
    row.opened = opened;
    row
}

fn process(id: u32, service: &str) -> ProcessRow {
    ProcessRow {
        process_id: id,
        service: service.into(),
        ..ProcessRow::default()
    }
}

#[test]
fn edges_of_a_service_are_one_series_by_the_names_that_hosts_tell() {
    let mut world = World::new(&["hostname", "service"], 10);
    let batch = Batch {
        edges: vec![
            edge(1, 80, 1),
            edge(1, 81, 2),
            edge(2, 80, 4),
            edge(9, 80, 8),
        ],
        processes: vec![process(1, "web"), process(2, "web")],
        hosts: vec![HostRow {
            hostname: "alpha".into(),
            ..HostRow::default()
        }],
        ..Batch::default()
    };
    world.take(1, 1000, batch);
    // Another host has another process of that number.
    let batch = Batch {
        edges: vec![edge(1, 80, 16)],
        ..Batch::default()
    };
    world.take(2, 1000, batch);
    assert_eq!(
        world.lines("waybill_edge_opened_total"),
        [
            "{} 16",
            "{hostname=\"alpha\"} 8",
            "{hostname=\"alpha\",service=\"web\"} 7"
        ]
    );
}

#[test]
fn a_total_adds_what_lost_batches_had_and_not_itself() {
    let mut world = World::new(&["role"], 10);
    let of = |row: EdgeRow| Batch {
        edges: vec![row],
        ..Batch::default()
    };
    world.take(1, 1000, of(edge(1, 80, 5)));
    let mut total = edge(1, 80, 12);
    total.total = true;
    world.take(1, 3000, of(total.clone()));
    world.take(1, 3000, of(total));
    assert_eq!(
        world.lines("waybill_edge_opened_total"),
        ["{role=\"client\"} 12"]
    );
}

#[test]
fn gauges_are_shown_where_nothing_is_added_up() {
    let listener = ListenerRow {
        process_id: 1,
        local: end("10.0.0.1:80"),
        queue: 3,
        ..ListenerRow::default()
    };
    let batch = || Batch {
        listeners: vec![listener.clone()],
        ..Batch::default()
    };
    let mut sums = World::new(&["host"], 10);
    sums.take(1, 1000, batch());
    assert_eq!(sums.lines("waybill_listener_queue{"), [] as [&str; 0]);
    let all = [
        "host",
        "boot",
        "process_id",
        "netns",
        "local_address",
        "local_port",
    ];
    let mut each = World::new(&all, 10);
    each.take(1, 1000, batch());
    let lines = each.lines("waybill_listener_queue{");
    assert!(lines[0].ends_with("} 3"), "{lines:?}");
}

#[test]
fn counters_of_agents_are_shown_for_each_host_as_they_are() {
    let mut world = World::new(&["role"], 2);
    for (host, at, n) in [(1, 1000, 5), (1, 2000, 7), (2, 1000, 1), (3, 1000, 9)] {
        let host_row = HostRow {
            counters: vec![("records_dropped".into(), n)],
            ..HostRow::default()
        };
        let batch = Batch {
            hosts: vec![host_row],
            ..Batch::default()
        };
        world.take(host, at, batch);
    }
    let host = |host: u8| {
        format!(
            "{{host=\"{}\",name=\"records_dropped\"}}",
            format!("{host:02x}").repeat(16)
        )
    };
    assert_eq!(
        world.lines("waybill_host_counters_total"),
        [format!("{} 7", host(1)), format!("{} 1", host(2))]
    );
    // Totals of hosts cannot be added up: the third is said to be left out.
    assert_eq!(world.scrape.left_out(), 1);
}

#[test]
fn series_are_bounded_and_what_is_in_other_is_counted() {
    let mut world = World::new(&["remote_port"], 3);
    let batch = Batch {
        edges: (0..10).map(|port| edge(1, 80 + port, 1)).collect(),
        ..Batch::default()
    };
    world.take(1, 1000, batch);
    let lines = world.lines("waybill_edge_opened_total");
    assert_eq!(lines.len(), 4);
    assert!(
        lines.contains(&"{remote_port=\"other\"} 7".into()),
        "{lines:?}"
    );
    assert_eq!(world.counters.rows_in_other.get(), 7);
}
