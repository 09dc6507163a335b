//! Hostile bytes and hostile rows, through everything the collector does with them.

use collector::accept::{self, BatchKey, Opened};
use collector::digest::sha256;
use collector::query::{self, Asked};
use collector::store::{Outcome, Store};
use collector::{escape, table};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, proptest};
use tempfile::TempDir;
use wire::{
    Batch, BatchHeader, Columns, EdgeRow, Endpoint, Histogram, HostRow, Kept, Limits, NatRow, Part,
    ProcessRow, Role, SightingRow,
};

use crate::support::site::{ROOM, rows};
use crate::support::world::{Carry, Talk, World};

/// Small limits, so that a mutation that announces much is cut off soon.
const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_raw_bytes: 4 << 20,
    max_rows: 10_000,
};

fn good() -> Batch {
    let mut world = World::new();
    let (one, web) = (world.host("one"), world.host("web"));
    let talk = Talk {
        client: (one, "curl", "10.1.0.2"),
        server: (web, "nginx", "10.2.0.2:80"),
        vip: Some("10.1.0.100:80"),
        nat: None,
        carry: Carry::Answer,
    };
    world.connect(&talk, 5);
    world.event(one, 7);
    world.tick().remove(0)
}

/// Does with a batch what the collector does, up to the table on the screen.
fn digest_fully(batch: Batch) {
    if accept::check(&batch).is_err() {
        return;
    }
    let dir = TempDir::new().expect("directory");
    let path = dir.path().join("collector.db");
    let mut store = Store::open(&path, ROOM).expect("store");
    let opened = Opened {
        batch,
        digest: sha256(b""),
        bytes: 0,
        credential: None,
        payload: None,
    };
    let outcome = store
        .put(&[&opened], 1)
        .remove(0)
        .expect("what passed the check is stored");
    assert!(matches!(outcome, Outcome::Stored { .. }));
    for (from_ms, to_ms) in [
        (None, None),
        (Some(i64::MIN), Some(i64::MAX)),
        (Some(5), Some(2)),
    ] {
        let asked = Asked { from_ms, to_ms };
        let topology = query::topology(&path, asked, 1, rows(100_000)).expect("an answer");
        let mut text = Vec::new();
        table::topology(&mut text, &topology.document()).expect("written");
        escape::json(&mut text, &topology).expect("written");
        assert!(text.iter().all(|byte| *byte >= b' ' || *byte == b'\n'));
    }
    let mut text = Vec::new();
    table::hosts(&mut text, &query::fleet(&path).expect("an answer")).expect("written");
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let few = prop::sample::select(vec![[0; 16], [1; 16], [255; 16]]);
    (few, any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port })
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Client, Role::Server])
}

/// Mostly extreme.
fn number() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 1, 2, i64::MAX.unsigned_abs(), u64::MAX])
}

/// Of those that pass the check.
fn time() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 1, 2, 1_700_000_000_000, i64::MAX.unsigned_abs()])
}

fn edge() -> impl Strategy<Value = EdgeRow> {
    let numbers = prop::collection::vec(number(), 15);
    let ends = (endpoint(), endpoint(), 0_u32..2);
    (0_u32..3, role(), ends, time(), numbers).prop_map(
        |(process_id, role, (local, remote, netns), since_ms, n)| EdgeRow {
            total: n[0] % 2 == 0,
            process_id,
            role,
            local,
            remote,
            netns,
            since_ms,
            opened: n[1],
            closed: n[2],
            failed: n[3],
            refused: n[4],
            reset_local: n[5],
            reset_remote: n[6],
            bytes_sent: n[7],
            bytes_received: n[8],
            segments_sent: n[9],
            segments_received: n[10],
            retransmits: n[11],
            out_of_order: n[12],
            zero_windows: n[13],
            adopted: n[4],
            connect_latency: Histogram {
                buckets: [n[14]; 32],
                sum_us: n[14],
            },
            rtt: Histogram {
                buckets: [n[1]; 32],
                sum_us: n[2],
            },
            absent: u16::try_from(n[3] & 0x3ff)
                .ok()
                .and_then(Columns::from_bits)
                .expect("ten bits are ten columns"),
        },
    )
}

fn sighting() -> impl Strategy<Value = SightingRow> {
    let part = prop::sample::select(vec![Part::Wrote, Part::Read, Part::Sequence]);
    (
        0_u64..4,
        part,
        role(),
        any::<u8>(),
        endpoint(),
        endpoint(),
        time(),
    )
        .prop_map(
            |(token, part, role, sample_level, local, remote, start_us)| SightingRow {
                token,
                part,
                answer: false,
                role,
                kept: Kept::First,
                life: wire::Life::Ended,
                sample_level,
                process_id: 1,
                local,
                remote,
                netns: 1,
                start_us,
            },
        )
}

fn process() -> impl Strategy<Value = ProcessRow> {
    (
        0_u32..3,
        any::<String>(),
        any::<Vec<(String, String)>>(),
        number(),
    )
        .prop_map(|(process_id, name, tags, started_ms)| ProcessRow {
            process_id,
            started_ms,
            comm: name.clone(),
            exe: name.clone(),
            service: name,
            tags,
            ..ProcessRow::default()
        })
}

fn host() -> impl Strategy<Value = HostRow> {
    let pairs = prop::collection::vec(any::<(String, String)>(), 0..5);
    let counters = prop::collection::vec(("[a-z_]*dropped", number()), 0..5);
    (any::<String>(), pairs, counters).prop_map(|(name, pairs, counters)| HostRow {
        hostname: name.clone(),
        kernel: name,
        plan: pairs.clone(),
        paths_off: pairs,
        counters,
        ..HostRow::default()
    })
}

fn nat() -> impl Strategy<Value = NatRow> {
    let ends = (endpoint(), endpoint(), endpoint(), endpoint());
    (0_u32..2, ends, time(), number()).prop_map(
        |(netns, (client, dialled, source, server), since_ms, opened)| NatRow {
            total: opened % 2 == 0,
            netns,
            client: client.addr,
            dialled,
            source: source.addr,
            server,
            since_ms,
            opened,
        },
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    let header = (any::<[u8; 16]>(), 1..u64::MAX / 2, time(), time());
    let rows = (
        prop::collection::vec(edge(), 0..8),
        prop::collection::vec(sighting(), 0..12),
        prop::collection::vec(process(), 0..4),
        prop::collection::vec(host(), 0..2),
        prop::collection::vec(nat(), 0..8),
    );
    (header, rows).prop_map(
        |(header, (edges, sightings, processes, hosts, nats))| Batch {
            header: BatchHeader {
                host: header.0,
                boot: header.0,
                sequence: header.1,
                start_ms: header.2.min(header.3),
                end_ms: header.2.max(header.3),
            },
            edges,
            sightings,
            processes,
            hosts,
            events: Vec::new(),
            nats,
            ..Batch::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_rows_a_batch_holds_nothing_panics(batch in batch()) {
        digest_fully(batch);
    }

    #[test]
    fn a_mutated_batch_is_refused_or_digested(
        good in Just(wire::encode(&good())),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        sealed: bool,
    ) {
        let mut bytes = good;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // With a right checksum the mutation gets as far as the decompressor and the reader.
        if sealed && bytes.len() >= 4 {
            crate::ingest::seal(&mut bytes);
        }
        let header = bytes.get(20..60).and_then(|ids| {
            let sequence = u64::from_le_bytes(ids[32..40].try_into().ok()?);
            Some(BatchKey { host: ids[..16].try_into().ok()?, boot: ids[16..32].try_into().ok()?, sequence })
        });
        if let Some(key) = header
            && let Ok(opened) = accept::open(&bytes, &key, &LIMITS)
        {
            digest_fully(opened.batch);
        }
    }
}
