//! What is no batch, or none for this collector, is refused in words that say why.

use collector::accept::Reason;
use wire::CONTENT_TYPE;

use super::{batch, seal};
use crate::support::site::{Site, TOKEN, Who, count, key};

#[test]
fn what_is_too_large_is_refused_and_told_so() {
    let site = Site::new();
    let running = site.start("batch_bytes = \"64KiB\"\nbatch_raw_bytes = \"64KiB\"\n");
    let at = running.address();
    let batch = batch();
    let big = vec![0x5a; 200 << 10];
    let who = Who::Token(TOKEN);
    let announced = site
        .post(at, who, &key(&batch), CONTENT_TYPE, &big)
        .expect("an answer");
    assert_eq!((announced.status, announced.word()), (413, "too_large"));

    let mut chunked = std::io::Cursor::new(big);
    let response = site
        .client(who)
        .post(format!("https://{at}/api/v1/batches"))
        .header("Authorization", format!("Bearer {TOKEN}"))
        .header("Content-Type", CONTENT_TYPE)
        .header("Idempotency-Key", key(&batch))
        .send(ureq::SendBody::from_reader(&mut chunked))
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 413);
    assert_eq!(running.metrics().refusals(Reason::TooLarge), 2);
}

#[test]
fn a_bomb_is_refused_before_it_unfolds() {
    let site = Site::new();
    let mut bomb = batch();
    let row = bomb.processes[0].clone();
    bomb.processes = (0..20_000)
        .map(|n| wire::ProcessRow {
            process_id: n,
            cgroup: "/x".repeat(500),
            ..row.clone()
        })
        .collect();
    let bytes = wire::encode(&bomb);
    assert!(bytes.len() < 1 << 20, "a bomb is small: {}", bytes.len());
    for limits in [
        "batch_bytes = \"1MiB\"\nbatch_raw_bytes = \"1MiB\"\n",
        "batch_rows = 10000\n",
    ] {
        let running = site.start(limits);
        let answer = site
            .post(
                running.address(),
                Who::Token(TOKEN),
                &key(&bomb),
                CONTENT_TYPE,
                &bytes,
            )
            .expect("an answer");
        assert_eq!(
            (answer.status, answer.word()),
            (413, "too_large"),
            "{limits}"
        );
        running.stop().expect("stops");
    }
    assert_eq!(count(&site.store(), "batch"), 0);
}

#[test]
fn a_format_or_dictionary_of_the_future_is_unsupported() {
    let site = Site::new();
    let running = site.start("");
    let batch = batch();
    // Format version, dictionary.
    for at in [4, 7] {
        let mut bytes = wire::encode(&batch);
        bytes[at] = 99;
        seal(&mut bytes);
        let answer = site
            .post(
                running.address(),
                Who::Token(TOKEN),
                &key(&batch),
                CONTENT_TYPE,
                &bytes,
            )
            .expect("an answer");
        assert_eq!(
            (answer.status, answer.word()),
            (415, "unsupported"),
            "byte {at}"
        );
    }
    assert_eq!(running.metrics().refusals(Reason::Unsupported), 2);
}

#[test]
fn bytes_that_are_not_a_batch_are_malformed() {
    let site = Site::new();
    let running = site.start("");
    let batch = batch();
    let good = wire::encode(&batch);
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let bodies: [&[u8]; 5] = [b"", b"{}", &[0; 5000], &good[..good.len() - 1], &flipped];
    for body in bodies {
        let answer = site
            .post(
                running.address(),
                Who::Token(TOKEN),
                &key(&batch),
                CONTENT_TYPE,
                body,
            )
            .expect("an answer");
        assert_eq!(
            (answer.status, answer.word()),
            (400, "malformed"),
            "{} bytes",
            body.len()
        );
    }
    let mut impossible = batch.clone();
    (impossible.header.start_ms, impossible.header.end_ms) = (5, 3);
    let answer = site.send(running.address(), &impossible);
    assert_eq!((answer.status, answer.word()), (400, "malformed"));
    assert_eq!(count(&site.store(), "host"), 0);
}

#[test]
fn the_key_must_be_there_and_name_the_batch() {
    let site = Site::new();
    let running = site.start("");
    let batch = batch();
    let bytes = wire::encode(&batch);
    let mut other = batch.clone();
    other.header.sequence += 1;
    let right = key(&batch);
    for (key, word) in [
        (key(&other).as_str(), "key_mismatch"),
        ("", "key"),
        ("1-2-3", "key"),
        (&right[1..], "key"),
    ] {
        let answer = site
            .post(
                running.address(),
                Who::Token(TOKEN),
                key,
                CONTENT_TYPE,
                &bytes,
            )
            .expect("an answer");
        assert_eq!((answer.status, answer.word()), (400, word), "{key}");
    }
    let upper = right.to_ascii_uppercase();
    let answer = site
        .post(
            running.address(),
            Who::Token(TOKEN),
            &upper,
            CONTENT_TYPE,
            &bytes,
        )
        .expect("an answer");
    assert_eq!(answer.word(), "stored");
}

#[test]
fn another_media_type_is_refused() {
    let site = Site::new();
    let running = site.start("");
    let batch = batch();
    let bytes = wire::encode(&batch);
    for media_type in ["application/json", "application/octet-stream", ""] {
        let answer = site
            .post(
                running.address(),
                Who::Token(TOKEN),
                &key(&batch),
                media_type,
                &bytes,
            )
            .expect("an answer");
        assert_eq!(
            (answer.status, answer.word()),
            (415, "media_type"),
            "{media_type}"
        );
    }
    assert_eq!(running.metrics().refusals(Reason::MediaType), 3);
}
