use super::*;
use wire::{Batch, BatchHeader, EdgeRow, Endpoint, Role};

fn parcel(host: u8, position: i64, rows: u32) -> Parcel {
    let end = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
    let ends = (end("10.0.0.1:0"), end("10.0.0.2:80"));
    let row = |id| EdgeRow::new((id, Role::Client, ends.0, ends.1), 1, 1);
    let batch = Batch {
        header: BatchHeader {
            host: [host; 16],
            boot: [2; 16],
            sequence: position.unsigned_abs(),
            start_ms: 1_000,
            end_ms: 2_000,
        },
        edges: (0..rows).map(row).collect(),
        ..Batch::default()
    };
    Parcel::new((position, 2_000), &batch, |_| true)
}

fn kafka(topic: &str) -> Kafka {
    Kafka::new(config::Kafka {
        brokers: vec![String::from("127.0.0.1:9")],
        topic: topic.into(),
        timeout: Duration::from_secs(1),
        ca_file: None,
        client: None,
    })
}

#[test]
fn rows_become_records_by_topic_and_host_with_their_keys() {
    let mut kafka = kafka("waybill-{table}");
    for (host, position) in [(1, 1), (2, 2), (1, 3)] {
        kafka.take(parcel(host, position, 2));
    }
    kafka.fill();
    assert_eq!(kafka.position, Some(3));
    let chunks: Vec<_> = kafka
        .chunks
        .iter()
        .map(|chunk| (&*chunk.topic, chunk.host[0], chunk.records.len()))
        .collect();
    assert_eq!(chunks, [("waybill-edge", 1, 4), ("waybill-edge", 2, 2)]);
    let (position, record) = &kafka.chunks[0].records[3];
    assert_eq!(*position, 3);
    let header = |name: &str| String::from_utf8(record.headers[name].clone()).unwrap();
    let key = format!("{}-{}-3", "01".repeat(16), "02".repeat(16));
    assert_eq!(header("idempotency-key"), key);
    assert_eq!(
        (header("table"), header("row")),
        ("edge".into(), "1".into())
    );
    assert_eq!(record.timestamp.timestamp_millis(), 2_000);
    let line: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(line["row"]["process_id"], 1);
}

#[test]
fn what_is_too_large_is_halved_until_one_record_is_refused() {
    let mut kafka = kafka("waybill");
    kafka.take(parcel(1, 1, 1));
    kafka.take(parcel(1, 2, 2));
    kafka.fill();
    assert_eq!(kafka.chunks.len(), 1);
    kafka.halve("too large".into());
    let lengths = |kafka: &Kafka| {
        let chunks = kafka.chunks.iter();
        chunks.map(|chunk| chunk.records.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&kafka), [1, 2]);
    kafka.halve("too large".into());
    assert_eq!(lengths(&kafka), [2]);
    assert_eq!(kafka.refused, BTreeSet::from([1]));
    assert_eq!(kafka.why.as_deref(), Some("too large"));
}

#[test]
fn nobody_there_is_for_later_and_nothing_is_gone() {
    let mut kafka = kafka("waybill");
    kafka.take(parcel(1, 1, 3));
    let later = kafka.send(false).unwrap_err();
    assert!(!later.again);
    assert!(
        format!("{:#}", later.why).contains("127.0.0.1:9"),
        "{:#}",
        later.why
    );
    assert!(kafka.is_busy());
    assert_eq!(kafka.chunks[0].records.len(), 3);
}
