//! Strategies for arbitrary rows.

use proptest::collection::vec;
use proptest::prelude::*;
use wire::schema::{Column, Kind, Shape, Table, Type};
use wire::{
    Batch, BatchHeader, Columns, DynamicTable, EdgeRow, Endpoint, EventKind, EventRow,
    HISTOGRAM_BUCKETS, Histogram, HostRow, Kept, Life, NatRow, Part, ProcessRow, Role, SightingRow,
    Values,
};

/// Small, large and extreme counters.
fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 4 => 0..2000u64, 2 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z/.-]{1,20}",
        ".{0,12}",
        Just(String::from("\0\u{202e}é\"\\\n🚚"))
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((text(), text()), 0..4)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let v4 = (0..4u8, any::<u8>()).prop_map(|(third, last)| {
        let mut addr = [0; 16];
        addr[10..].copy_from_slice(&[0xff, 0xff, 10, 2, third, last]);
        addr
    });
    let port = prop_oneof![Just(0), Just(443), Just(u16::MAX), any::<u16>()];
    (prop_oneof![v4, any::<[u8; 16]>()], port).prop_map(|(addr, port)| Endpoint { addr, port })
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let some = vec((0..HISTOGRAM_BUCKETS, counter()), 0..5).prop_map(|list| {
        let mut buckets = [0; HISTOGRAM_BUCKETS];
        for (bucket, count) in list {
            buckets[bucket] = count;
        }
        buckets
    });
    let buckets = prop_oneof![some, any::<[u64; HISTOGRAM_BUCKETS]>()];
    (buckets, counter()).prop_map(|(buckets, sum_us)| Histogram { buckets, sum_us })
}

fn columns(bits: u64) -> Columns {
    let bits = u16::try_from(bits & 0x3ff).expect("ten bits");
    Columns::from_bits(bits).expect("ten columns")
}

fn edge() -> impl Strategy<Value = EdgeRow> {
    let key = (0..5u32, role(), endpoint(), endpoint(), any::<u32>());
    let extreme = prop_oneof![Just(u32::MAX), 0..5u32];
    let counters = proptest::array::uniform15(counter());
    (key, extreme, counters, histogram(), histogram()).prop_map(
        |((process, role, local, remote, netns), extreme, n, connect_latency, rtt)| EdgeRow {
            total: n[0] % 2 == 0,
            process_id: process.max(extreme),
            role,
            local,
            remote,
            netns,
            since_ms: n[0],
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
            adopted: n[14],
            connect_latency,
            rtt,
            absent: columns(n[13]),
        },
    )
}

fn sighting() -> impl Strategy<Value = SightingRow> {
    let kept = prop_oneof![
        Just(Kept::Sampled),
        Just(Kept::Abnormal),
        Just(Kept::LongLived),
        Just(Kept::First),
        Just(Kept::Adopted)
    ];
    let life = prop_oneof![Just(Life::Unknown), Just(Life::Open), Just(Life::Ended)];
    let part = prop_oneof![Just(Part::Wrote), Just(Part::Read), Just(Part::Sequence)];
    let what = (
        any::<u64>(),
        part,
        any::<bool>(),
        role(),
        (kept, life),
        any::<u8>(),
    );
    let whom = (
        any::<u32>(),
        endpoint(),
        endpoint(),
        any::<u32>(),
        counter(),
    );
    (what, whom).prop_map(
        |(
            (token, part, answer, role, (kept, life), level),
            (process_id, local, remote, netns, start_us),
        )| {
            SightingRow {
                token,
                part,
                answer: answer && part != Part::Sequence,
                role,
                kept,
                life,
                sample_level: level,
                process_id,
                local,
                remote,
                netns,
                start_us,
            }
        },
    )
}

fn process() -> impl Strategy<Value = ProcessRow> {
    let texts = (text(), text(), text(), text(), text(), text());
    (any::<u32>(), any::<u32>(), counter(), texts, pairs()).prop_map(
        |(process_id, tgid, started_ms, texts, tags)| ProcessRow {
            process_id,
            tgid,
            started_ms,
            comm: texts.0,
            exe: texts.1,
            cgroup: texts.2,
            container: texts.3,
            unit: texts.4,
            service: texts.5,
            tags,
        },
    )
}

fn host() -> impl Strategy<Value = HostRow> {
    let texts = (text(), text(), text(), text());
    let lists = (pairs(), pairs(), pairs(), vec((text(), counter()), 0..4));
    (texts, lists, counter()).prop_map(|(texts, lists, started_ms)| HostRow {
        hostname: texts.0,
        kernel: texts.1,
        agent: texts.2,
        mode: texts.3,
        plan: lists.0,
        facts: lists.1,
        paths_off: lists.2,
        counters: lists.3,
        started_ms,
    })
}

fn event() -> impl Strategy<Value = EventRow> {
    let kind = prop_oneof![
        Just(EventKind::Failed),
        Just(EventKind::Refused),
        Just(EventKind::ResetLocal),
        Just(EventKind::ResetRemote),
        Just(EventKind::Retransmits),
        Just(EventKind::TimedOut)
    ];
    let whom = (role(), any::<u32>(), endpoint(), endpoint(), any::<u32>());
    let numbers = proptest::array::uniform6(counter());
    (kind, whom, any::<u32>(), numbers).prop_map(
        |(kind, (role, process_id, local, remote, netns), errno, n)| EventRow {
            kind,
            time_us: n[0],
            role,
            process_id,
            local,
            remote,
            netns,
            token: n[1],
            errno,
            duration_us: n[2],
            bytes_sent: n[3],
            bytes_received: n[4],
            retransmits: n[5],
        },
    )
}

fn nat() -> impl Strategy<Value = NatRow> {
    let ends = (endpoint(), endpoint(), endpoint(), endpoint());
    (any::<u32>(), ends, counter(), counter()).prop_map(
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

/// Any batch of a few rows of each family.
pub(crate) fn any_batch() -> impl Strategy<Value = Batch> {
    let header = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<u64>(),
        counter(),
        counter(),
    );
    let header = header.prop_map(|(host, boot, sequence, start_ms, end_ms)| BatchHeader {
        host,
        boot,
        sequence,
        start_ms,
        end_ms,
    });
    let rows = (
        vec(edge(), 0..12),
        vec(sighting(), 0..6),
        vec(process(), 0..6),
        vec(host(), 0..3),
        vec(event(), 0..6),
        vec(nat(), 0..6),
        vec(other(), 0..2),
    );
    (header, rows).prop_map(
        |(header, (edges, sightings, processes, hosts, events, nats, others))| {
            let mut batch = Batch {
                header,
                edges,
                sightings,
                processes,
                hosts,
                events,
                nats,
                ..Batch::default()
            };
            batch.others = others;
            batch
        },
    )
}

/// A table that no reader has a struct for.
pub(crate) fn other() -> impl Strategy<Value = DynamicTable> {
    let rows = (1..5usize).prop_flat_map(|rows| {
        let numbers = vec(counter(), rows).prop_map(Values::Numbers);
        let small = vec(0..3u64, rows).prop_map(Values::Numbers);
        let texts = vec(text(), rows).prop_map(Values::Texts);
        let addresses = vec(endpoint().prop_map(|end| end.addr), rows).prop_map(Values::Addresses);
        let histograms = vec(histogram(), rows).prop_map(Values::Histograms);
        let labels = vec(pairs(), rows).prop_map(Values::Labels);
        let counts = vec(vec((text(), counter()), 0..3), rows).prop_map(Values::Counts);
        let times = vec(counter(), rows).prop_map(Values::Numbers);
        (
            Just(rows),
            (
                numbers, small, texts, addresses, histograms, labels, counts, times,
            ),
        )
    });
    rows.prop_map(
        |(rows, (numbers, small, texts, addresses, histograms, labels, counts, times))| {
            let names = ["a", "b", "c"].map(str::to_owned).to_vec();
            let columns = [
                ("numbers", Kind::Counter, Type::U64, "", numbers),
                ("small", Kind::Dimension, Type::Enum(names), "", small),
                ("texts", Kind::Text, Type::Text, "", texts),
                ("addresses", Kind::Address, Type::Address, "", addresses),
                (
                    "histograms",
                    Kind::Histogram,
                    Type::Histogram,
                    "us",
                    histograms,
                ),
                ("labels", Kind::Text, Type::Labels, "", labels),
                ("counts", Kind::Counter, Type::Counts, "", counts),
                ("times", Kind::Time, Type::U64, "us", times),
            ];
            let (columns, values) = columns
                .into_iter()
                .map(|(name, kind, values, unit, content)| {
                    let column = Column {
                        name: name.to_owned(),
                        kind,
                        values,
                        unit: unit.to_owned(),
                        help: format!("About {name}."),
                        since: 1,
                        absent: None,
                    };
                    (column, content)
                })
                .unzip();
            let table = Table {
                name: String::from("other"),
                family: String::from("others"),
                version: 2,
                shape: Shape::Series,
                help: String::from("Of a program that an operator loaded."),
                columns,
            };
            DynamicTable {
                table: std::borrow::Cow::Owned(table),
                rows,
                columns: values,
            }
        },
    )
}

/// The batch with its rows in an order that depends on their content alone.
pub(crate) fn sorted(mut batch: Batch) -> Batch {
    batch.edges.sort_by_cached_key(|row| format!("{row:?}"));
    batch.sightings.sort_by_cached_key(|row| format!("{row:?}"));
    batch.processes.sort_by_cached_key(|row| format!("{row:?}"));
    batch.hosts.sort_by_cached_key(|row| format!("{row:?}"));
    batch.events.sort_by_cached_key(|row| format!("{row:?}"));
    batch.nats.sort_by_cached_key(|row| format!("{row:?}"));
    batch
}
