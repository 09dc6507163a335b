//! Batches that were carried by hand: taken once, by the word of a pinned key, or not at all.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use arrow_array::{Array as _, RecordBatch};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use wire::export::{CONTEXT, Head, Receipt, length, tail};
use wire::schema::Type;
use wire::{Batch, BatchHeader, DynamicTable, HostRow};

use crate::crash::Serve;
use crate::support::site::{Site, count};

const HOST: [u8; 16] = [7; 16];
const BOOT: [u8; 16] = [9; 16];

fn batch(sequence: u64) -> Batch {
    Batch {
        header: BatchHeader {
            host: HOST,
            boot: BOOT,
            sequence,
            start_ms: sequence,
            end_ms: sequence + 1,
        },
        hosts: vec![HostRow {
            hostname: "one".into(),
            ..HostRow::default()
        }],
        ..Batch::default()
    }
}

/// A file as an agent writes it.
fn export(seed: u8, batches: &[Vec<u8>]) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let head = Head {
        key: pair.public_key().as_ref().try_into().expect("32 bytes"),
        host: HOST,
        made_ms: 1,
    };
    let mut bytes = head.bytes();
    for batch in batches {
        bytes.extend(length(batch.len()).expect("a length"));
        bytes.extend(batch);
    }
    bytes.extend(tail(u32::try_from(batches.len()).expect("few")));
    let message = [CONTEXT, digest(&SHA256, &bytes).as_ref()].concat();
    bytes.extend(pair.sign(&message).as_ref());
    bytes
}

fn sealed(sequences: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    sequences.map(|n| wire::encode(&batch(n))).collect()
}

fn file(site: &Site, bytes: &[u8]) -> PathBuf {
    let path = site.path("one.wbx");
    std::fs::write(&path, bytes).expect("written");
    path
}

fn import(site: &Site, file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .arg("import")
        .arg(file)
        .arg("--config")
        .arg(site.path("collector.toml"))
        .args(more)
        .output()
        .expect("runs")
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(text).expect("text")
}

fn receipt(site: &Site) -> Vec<([u8; 16], u64, u64)> {
    let bytes = std::fs::read(site.path("one.wbx.receipt")).expect("a receipt");
    let receipt = Receipt::parse(&bytes).expect("a receipt");
    assert_eq!(receipt.host, HOST);
    receipt.batches
}

#[test]
fn an_export_is_stored_once_beside_a_collector_that_serves() {
    let site = Site::new();
    let _serve = Serve::start(&site, "");
    let file = file(&site, &export(1, &sealed(1..=40)));
    let first = import(&site, &file, &["--trust"]);
    assert!(first.status.success(), "{}", said(&first));
    assert!(
        said(&first).contains("40 batches stored, 0 had been before"),
        "{}",
        said(&first)
    );
    assert_eq!(receipt(&site), [(BOOT, 1, 40)]);
    let second = import(&site, &file, &[]);
    assert!(
        said(&second).contains("0 batches stored, 40 had been before"),
        "{}",
        said(&second)
    );
    assert_eq!(
        (count(&site.store(), "batch"), receipt(&site)),
        (40, vec![(BOOT, 1, 40)])
    );
}

#[test]
fn a_key_is_believed_when_an_operator_says_so_and_pinned_from_then_on() {
    let site = Site::new();
    site.configure(true, false, "");
    let mine = file(&site, &export(1, &sealed(1..=2)));
    let refused = import(&site, &mine, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--trust"), "{}", said(&refused));
    assert!(import(&site, &mine, &["--trust"]).status.success());
    let other = file(&site, &export(2, &sealed(3..=3)));
    for more in [&[][..], &["--trust"]] {
        let refused = import(&site, &other, more);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            said(&refused).contains("--replace-key"),
            "{}",
            said(&refused)
        );
    }
    assert_eq!(count(&site.store(), "batch"), 2);
    assert!(import(&site, &other, &["--replace-key"]).status.success());
    assert_eq!(count(&site.store(), "batch"), 3);
}

#[test]
fn one_other_byte_anywhere_and_nothing_is_imported() {
    let right = export(1, &sealed(1..=2));
    assert!(collector::import::verify(&right).is_ok());
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 1 << (at % 8);
        assert!(collector::import::verify(&wrong).is_err(), "byte {at}");
    }
    let site = Site::new();
    site.configure(true, false, "");
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 4;
    let file = file(&site, &wrong);
    let refused = import(&site, &file, &["--trust"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("was changed"), "{}", said(&refused));
    assert_eq!(
        (
            count(&site.store(), "batch"),
            count(&site.store(), "exporter")
        ),
        (0, 0)
    );
    assert!(!site.path("one.wbx.receipt").exists());
}

#[test]
fn what_cannot_be_taken_is_said_and_has_no_receipt() {
    let site = Site::new();
    site.configure(true, false, "");
    let mut strange = batch(2);
    strange.header.host = [8; 16];
    let mut batches = sealed(1..=3);
    batches[1] = wire::encode(&strange);
    batches.push(b"no batch".to_vec());
    let file = file(&site, &export(1, &batches));
    let done = import(&site, &file, &["--trust"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains("refused: the batch is of another host"),
        "{}",
        said(&done)
    );
    assert!(
        said(&done).contains("refused: not a valid batch"),
        "{}",
        said(&done)
    );
    assert_eq!(receipt(&site), [(BOOT, 1, 1), (BOOT, 3, 3)]);
}

/// Rows and fields of an unpacked file.
fn unpacked(site: &Site, table: &str) -> (arrow_schema::SchemaRef, Vec<RecordBatch>) {
    let file = std::fs::File::open(site.path(&format!("tables/{table}.arrow"))).expect("a table");
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).expect("Arrow");
    let schema = reader.schema();
    (schema, reader.map(|batch| batch.expect("rows")).collect())
}

/// Unpacks two batches with edges, and the same rows in a table that only their sender knows and
/// describes otherwise in each; gives the first one.
fn unpack_probes(site: &Site) -> Batch {
    let mut batch = crate::ingest::batch();
    (batch.header.host, batch.header.boot) = (HOST, BOOT);
    batch.edges[0].absent = wire::Columns::RETRANSMITS.with(wire::Columns::RTT);
    let mut probe = DynamicTable::of(&batch.edges);
    "probe".clone_into(&mut probe.table.to_mut().name);
    // A name that the columns in front have.
    "host".clone_into(&mut probe.table.to_mut().columns[1].name);
    batch.others.push(probe.clone());
    let mut second = batch.clone();
    second.header.sequence += 1;
    "%".clone_into(&mut second.others[0].table.to_mut().columns[1].unit);
    let sealed = [wire::encode(&batch), wire::encode(&second)];
    let file = file(site, &export(1, &sealed));
    let done = Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(["unpack".as_ref(), file.as_os_str(), "--out".as_ref()])
        .arg(site.path("tables"))
        .output()
        .expect("runs");
    assert!(done.status.success(), "{}", said(&done));
    batch
}

#[test]
fn what_is_unpacked_is_made_from_descriptions_also_of_tables_that_are_not_known() {
    let site = Site::new();
    let batch = unpack_probes(&site);
    for table in wire::tables() {
        let (schema, _) = unpacked(&site, &table.name);
        for column in table
            .columns
            .iter()
            .filter(|column| column.values != Type::Columns)
        {
            let of = |field: &&arrow_schema::FieldRef| field.name().starts_with(&column.name);
            let field = schema.fields().iter().find(of).expect(&column.name);
            assert_eq!(field.metadata()["unit"], column.unit);
            assert_eq!(field.metadata()["help"], column.help);
        }
    }
    let (_, edges) = unpacked(&site, "edge");
    let (schema, probes) = unpacked(&site, "probe");
    assert_eq!((edges.len(), probes.len()), (2, 1));
    assert_eq!(unpacked(&site, "probe-2").1.len(), 1);
    assert_eq!(schema.field(0).name(), "host");
    assert!(schema.field_with_name("probe.host").is_ok(), "{schema:?}");
    for name in [
        "role",
        "since_ms",
        "opened",
        "retransmits",
        "rtt_sum_us",
        "rtt_buckets",
    ] {
        let both = [&edges[0], &probes[0]].map(|rows| rows.column_by_name(name).expect(name));
        assert_eq!(both[0], both[1], "{name}");
    }
    let nulls = |name| {
        edges[0]
            .column_by_name(name)
            .expect("a column")
            .null_count()
    };
    assert_eq!(
        [nulls("retransmits"), nulls("rtt_buckets"), nulls("opened")],
        [1, 1, 0]
    );
    let opened = edges[0].column_by_name("opened").expect("a column");
    let opened = opened
        .as_primitive::<UInt64Type>()
        .values()
        .iter()
        .sum::<u64>();
    assert_eq!(
        opened,
        batch.edges.iter().map(|row| row.opened).sum::<u64>()
    );
    let role = edges[0]
        .column_by_name("role")
        .expect("a column")
        .as_string::<i32>();
    assert!(
        role.iter()
            .flatten()
            .all(|role| ["client", "server"].contains(&role))
    );
    let addresses = edges[0].column_by_name("remote_address").expect("a column");
    let addresses = addresses.as_string::<i32>();
    assert!(
        addresses
            .iter()
            .flatten()
            .any(|address| address == "10.2.0.2"),
        "{addresses:?}"
    );
}

#[test]
fn an_export_is_unpacked_into_one_table_for_each_family() {
    let site = Site::new();
    let file = file(&site, &export(1, &sealed(1..=3)));
    let unpack = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
            .arg("unpack")
            .arg(file)
            .arg("--out")
            .arg(site.path("tables"))
            .output()
            .expect("runs")
    };
    let done = unpack(&file);
    assert!(done.status.success(), "{}", said(&done));
    let rows = |table: &str| {
        let batches = unpacked(&site, table).1.into_iter();
        batches.map(|batch| batch.num_rows()).sum::<usize>()
    };
    assert_eq!(rows("host"), 3);
    for family in ["edge", "sighting", "process", "event", "nat"] {
        assert_eq!(rows(family), 0, "{family}");
    }
    let mut wrong = std::fs::read(&file).expect("a file");
    wrong[100] ^= 1;
    std::fs::write(&file, wrong).expect("written");
    assert_eq!(unpack(&file).status.code(), Some(1));
}
