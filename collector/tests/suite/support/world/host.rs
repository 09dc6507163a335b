//! A host of the world, and the batches of its agent.

use std::collections::BTreeMap;

use wire::{
    Batch, BatchHeader, Columns, EdgeRow, Endpoint, EventRow, HostRow, NatRow, ProcessRow, Role,
    SightingRow,
};

/// Unix milliseconds at which every world begins.
pub(crate) const BEGIN_MS: u64 = 1_700_000_000_000;
/// Bytes a client sends and receives per connection.
pub(crate) const SENT: u64 = 500;
pub(crate) const RECEIVED: u64 = 20_000;

type Key = (u32, Role, Endpoint, Endpoint);

/// Client, what it dialled, the address it left with, and where it went.
type Translated = ([u8; 16], Endpoint, [u8; 16], Endpoint);

pub(crate) struct Host {
    pub(crate) id: [u8; 16],
    pub(crate) boot: [u8; 16],
    pub(crate) name: String,
    pub(crate) sequence: u64,
    pub(crate) started_ms: u64,
    pub(crate) closed_ms: u64,
    pub(crate) services: BTreeMap<String, u32>,
    pub(crate) edges: BTreeMap<Key, EdgeRow>,
    pub(crate) reported: BTreeMap<Key, EdgeRow>,
    pub(crate) sightings: Vec<SightingRow>,
    /// The connections that are open by the names of their sequence numbers, and what was told of them.
    pub(crate) held: Vec<(u64, SightingRow)>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) nats: BTreeMap<Translated, u64>,
    /// What its kernel does not count.
    pub(crate) absent: Columns,
}

impl Host {
    pub(crate) fn count(
        &mut self,
        service: &str,
        role: Role,
        local: Endpoint,
        remote: Endpoint,
        now_ms: u64,
    ) {
        let next = u32::try_from(self.services.len() + 1).expect("few services");
        let process_id = *self.services.entry(service.to_owned()).or_insert(next);
        let zero = |endpoint: Endpoint| Endpoint {
            port: 0,
            ..endpoint
        };
        let (local, remote) = match role {
            Role::Client => (zero(local), remote),
            Role::Server => (local, zero(remote)),
        };
        let row = self
            .edges
            .entry((process_id, role, local, remote))
            .or_insert_with(|| empty(process_id, role, local, remote, now_ms));
        row.absent = self.absent;
        let (sent, received) = match role {
            Role::Client => (SENT, RECEIVED),
            Role::Server => (RECEIVED, SENT),
        };
        row.opened += 1;
        row.closed += 1;
        row.bytes_sent += sent;
        row.bytes_received += received;
        row.segments_sent += 10;
        row.segments_received += 10;
        row.retransmits += u64::from(role == Role::Server);
        row.rtt.record(250);
        if role == Role::Client {
            row.connect_latency.record(400);
        }
    }

    pub(crate) fn translations(&self) -> Vec<NatRow> {
        let row = |(key, opened): (&Translated, &u64)| NatRow {
            total: true,
            netns: 4_026_531_840,
            client: key.0,
            dialled: key.1,
            source: key.2,
            server: key.3,
            since_ms: self.started_ms,
            opened: *opened,
        };
        self.nats.iter().map(row).collect()
    }

    /// The rows that are not as they were last reported.
    pub(crate) fn changed(&mut self) -> Vec<EdgeRow> {
        let changed = self
            .edges
            .iter()
            .filter(|(key, row)| self.reported.get(key) != Some(row));
        let rows = changed.map(|(_, row)| row.clone()).collect();
        self.reported = self.edges.clone();
        rows
    }

    pub(crate) fn close(&mut self, now_ms: u64) -> Batch {
        self.sequence += 1;
        let batch = Batch {
            header: BatchHeader {
                host: self.id,
                boot: self.boot,
                sequence: self.sequence,
                start_ms: self.closed_ms,
                end_ms: now_ms,
            },
            edges: self.changed(),
            sightings: std::mem::take(&mut self.sightings),
            processes: self.services.iter().map(process).collect(),
            hosts: vec![HostRow {
                hostname: self.name.clone(),
                kernel: String::from("6.1.0-test"),
                agent: String::from("0.1.0"),
                mode: String::from("sockops"),
                plan: vec![(
                    String::from("connection"),
                    String::from("sockops: header options"),
                )],
                counters: vec![
                    (String::from("batch_dropped_full_total"), 2),
                    (String::from("batch_sealed_total"), self.sequence),
                    (String::from("spool_depth"), 4),
                    (String::from("spool_evicted_age_total"), 0),
                ],
                started_ms: self.started_ms,
                ..HostRow::default()
            }],
            events: std::mem::take(&mut self.events),
            nats: self.translations(),
            ..Batch::default()
        };
        self.closed_ms = now_ms;
        batch
    }
}

fn process((service, process_id): (&String, &u32)) -> ProcessRow {
    ProcessRow {
        process_id: *process_id,
        tgid: 1000 + process_id,
        started_ms: BEGIN_MS,
        comm: service.clone(),
        exe: format!("/usr/bin/{service}"),
        cgroup: format!("/system.slice/{service}.service"),
        unit: format!("{service}.service"),
        service: service.clone(),
        tags: vec![(String::from("team"), String::from("lab"))],
        ..ProcessRow::default()
    }
}

pub(crate) fn empty(
    process_id: u32,
    role: Role,
    local: Endpoint,
    remote: Endpoint,
    now_ms: u64,
) -> EdgeRow {
    EdgeRow::new((process_id, role, local, remote), 4_026_531_840, now_ms)
}
