//! Hostile batches: refused with a status that says why, and nothing of them is stored.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::collector::{Collector, READER_TOKEN, TOKEN};
use tests::lab::needs::Need;
use wire::{Batch, BatchHeader, CONTENT_TYPE, EdgeRow, Endpoint, ProcessRow, Role};

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[case(
    "badinput::hostile_batches_are_refused_and_the_collector_goes_on",
    hostile,
)
.needing(&[Need::Program("curl")])];

/// Places in the head of a batch, as its format description gives them.
const FORMAT: usize = 4;
const TABLES: usize = 6;
const DICTIONARY: usize = 7;
const RAW: usize = 8;
const COMPRESSED: usize = 12;
const FIXED: usize = 72;
const ENTRY: usize = 5;

/// One good batch with one edge, of the last ten seconds.
fn good(sequence: u64, end_ms: u64) -> Batch {
    let endpoint = |text: &str| -> Endpoint {
        let address: std::net::SocketAddr = text.parse().expect("a literal address");
        address.into()
    };
    Batch {
        header: BatchHeader {
            host: [7; 16],
            boot: [8; 16],
            sequence,
            start_ms: end_ms - 10_000,
            end_ms,
        },
        processes: vec![ProcessRow {
            process_id: 1,
            tgid: 42,
            comm: "forged".into(),
            exe: "/bin/forged".into(),
            service: "forged".into(),
            ..ProcessRow::default()
        }],
        edges: vec![EdgeRow {
            opened: 3,
            closed: 3,
            bytes_sent: 1,
            bytes_received: 1,
            segments_sent: 9,
            segments_received: 9,
            ..EdgeRow::new(
                (
                    1,
                    Role::Client,
                    endpoint("10.66.0.1:0"),
                    endpoint("10.66.0.2:80"),
                ),
                1,
                end_ms - 10_000,
            )
        }],
        ..Batch::default()
    }
}

/// CRC-32 as of IEEE 802.3, which closes every batch.
fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

/// The batch with four bytes replaced and the checksum made right again.
fn forged(batch: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut bytes = batch[..batch.len() - 4].to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    closed(bytes)
}

fn closed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// A batch whose rows unpack to far more than its head says.
fn bomb(batch: &[u8]) -> Result<Vec<u8>> {
    let packed = zstd::bulk::compress(&vec![0; 256 << 20], 3)?;
    let head = FIXED + ENTRY * usize::from(batch[TABLES]);
    let mut bytes = batch[..head].to_vec();
    let length = u32::try_from(packed.len())?;
    bytes[COMPRESSED..COMPRESSED + 4].copy_from_slice(&length.to_le_bytes());
    bytes.extend(packed);
    Ok(closed(bytes))
}

/// One request: what is sent, and the status that must come back.
pub(crate) struct Post<'a> {
    pub(crate) name: &'a str,
    pub(crate) body: Vec<u8>,
    pub(crate) key: String,
    pub(crate) media: &'a str,
    pub(crate) token: &'a str,
    pub(crate) status: &'a str,
}

fn key(sequence: u64) -> String {
    format!("{}-{}-{sequence}", "07".repeat(16), "08".repeat(16))
}

pub(crate) fn post(collector: &Collector, post: &Post<'_>) -> Result<(String, String)> {
    let file = collector.host.directory().join("body");
    std::fs::write(&file, &post.body)?;
    let answer = collector.curl(&[
        "/api/v1/batches",
        "--header",
        &format!("Content-Type: {}", post.media),
        "--header",
        &format!("Idempotency-Key: {}", post.key),
        "--header",
        &format!("Authorization: Bearer {}", post.token),
        "--header",
        "Expect:",
        "--data-binary",
        &format!("@{}", file.display()),
        "--write-out",
        "\n%{http_code}",
    ])?;
    let (body, status) = answer
        .rsplit_once('\n')
        .context("a status after the body")?;
    Ok((status.to_owned(), body.to_owned()))
}

fn posts(sealed: &[u8]) -> Result<Vec<Post<'static>>> {
    let with = |name, status, body: Vec<u8>| Post {
        name,
        body,
        key: key(1),
        media: CONTENT_TYPE,
        token: TOKEN,
        status,
    };
    let flipped = |at: usize| {
        let mut bytes = sealed.to_vec();
        bytes[at] ^= 0x40;
        bytes
    };
    let unknown = |at: usize| {
        let mut bytes = sealed[..sealed.len() - 4].to_vec();
        bytes[at] = 99;
        closed(bytes)
    };
    let mut posts = vec![
        with("nothing", "400", Vec::new()),
        with(
            "noise",
            "400",
            (0..5000_u32)
                .map(|n| n.wrapping_mul(97).to_le_bytes()[1])
                .collect(),
        ),
        with("cut in half", "400", sealed[..sealed.len() / 2].to_vec()),
        with("one bit changed", "400", flipped(sealed.len() / 2)),
        with("format of the future", "415", unknown(FORMAT)),
        with("unknown dictionary", "415", unknown(DICTIONARY)),
        with("a bomb", "400", bomb(sealed)?),
        with("a gigabyte announced", "413", forged(sealed, RAW, 1 << 30)),
        with(
            "a million rows announced",
            "413",
            forged(sealed, FIXED + 1, 1_000_000),
        ),
        with("a body of 9 MiB", "413", vec![1; 9 << 20]),
    ];
    let changed = |name, status, change: &dyn Fn(&mut Post<'static>)| {
        let mut post = with(name, status, sealed.to_vec());
        change(&mut post);
        post
    };
    posts.push(changed("the key of another batch", "400", &|post| {
        post.key = key(2)
    }));
    posts.push(changed("a key that is none", "400", &|post| {
        post.key = "../../etc".into()
    }));
    posts.push(changed("another media type", "415", &|post| {
        post.media = "application/json"
    }));
    posts.push(changed("a wrong token", "401", &|post| {
        post.token = "guess"
    }));
    posts.push(changed("an empty token", "401", &|post| post.token = ""));
    Ok(posts)
}

fn hostile(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ms = u64::try_from(now.as_millis())?;
    let sealed = wire::encode(&good(1, now_ms));
    ensure!(
        crc(&sealed[..sealed.len() - 4]).to_le_bytes() == sealed[sealed.len() - 4..],
        "CRC"
    );
    for bad in posts(&sealed)? {
        let (status, body) = post(&collector, &bad)?;
        ensure!(status == bad.status, "{}: {status} {body}", bad.name);
        ensure!(!body.contains("panicked"), "{}: {body}", bad.name);
        collector
            .curl(&["/healthz", "--fail"])
            .with_context(|| format!("after {}", bad.name))?;
    }
    let nothing = collector.topology()?;
    ensure!(
        nothing.nodes.is_empty() && nothing.unjoined.is_empty(),
        "stored: {nothing:?}"
    );
    let valid = Post {
        name: "valid",
        body: sealed.clone(),
        key: key(1),
        media: CONTENT_TYPE,
        token: TOKEN,
        status: "200",
    };
    let (status, body) = post(&collector, &valid)?;
    ensure!(
        status == "200" && body.contains("stored"),
        "{status} {body}"
    );
    let (status, body) = post(&collector, &valid)?;
    ensure!(
        status == "200" && body.contains("duplicate"),
        "replayed: {status} {body}"
    );
    // The same key with other content: refused, and the first content stays.
    let mut other = good(1, now_ms);
    other.edges[0].opened = 900;
    let forged = Post {
        body: wire::encode(&other),
        ..valid
    };
    let (status, body) = post(&collector, &forged)?;
    ensure!(
        status == "400" || body.contains("duplicate"),
        "replaced: {status} {body}"
    );
    let topology = collector.topology()?;
    let opened = topology
        .unjoined
        .first()
        .context("the valid edge")?
        .client_side()?
        .opened;
    ensure!(opened == 3, "{opened} connections stored");
    let metrics = collector.curl(&[
        "/metrics",
        "--header",
        &format!("Authorization: Bearer {READER_TOKEN}"),
    ])?;
    ensure!(
        metrics.contains("ingest_batches_stored_total 1"),
        "{metrics}"
    );
    ensure!(
        metrics.contains("ingest_batches_duplicate_total"),
        "{metrics}"
    );
    Ok(())
}
