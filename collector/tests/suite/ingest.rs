//! Batches over HTTPS: what is stored, and every way to be refused.

mod refused;

use collector::accept::Reason;
use wire::{Batch, CONTENT_TYPE, DynamicTable};

use crate::support::pki::Authority;
use crate::support::site::{self, READER, Site, TOKEN, Who, count, key};
use crate::support::until;
use crate::support::world::{Carry, Talk, World};

/// Tables of the store that the rows of [`batch`] come to.
const TABLES: [&str; 5] = ["batch", "process", "sample", "sighting", "event"];

/// A batch with a few rows of every family.
pub(crate) fn batch() -> Batch {
    let mut world = World::new();
    let (one, web) = (world.host("one"), world.host("web"));
    let talk = Talk {
        client: (one, "curl", "10.1.0.2"),
        server: (web, "nginx", "10.2.0.2:80"),
        vip: None,
        nat: Some("10.2.0.1"),
        carry: Carry::Client,
    };
    world.connect(&talk, 3);
    world.event(one, 7);
    world.tick().remove(0)
}

#[test]
fn a_batch_is_stored_once_and_answered_again() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let batch = batch();
    let answers: Vec<_> = (0..3).map(|_| site.send(at, &batch)).collect();
    let words: Vec<_> = answers.iter().map(|a| (a.status, a.word())).collect();
    assert_eq!(
        words,
        [(200, "stored"), (200, "duplicate"), (200, "duplicate")]
    );
    assert_eq!(count(&site.store(), "batch"), 1);
    assert_eq!(count(&site.store(), "event"), 1);
    assert_eq!(count(&site.store(), "sighting"), 3);
    assert_eq!(running.metrics().ingest_batches_stored_total.get(), 1);
    assert_eq!(running.metrics().ingest_batches_duplicate_total.get(), 2);
}

#[test]
fn other_content_under_the_key_of_a_stored_batch_is_a_conflict() {
    let site = Site::new();
    let running = site.start("");
    let mut batch = batch();
    assert_eq!(site.send(running.address(), &batch).word(), "stored");
    batch.edges[0].opened += 1;
    let answer = site.send(running.address(), &batch);
    assert_eq!((answer.status, answer.word()), (400, "conflict"));
    assert_eq!(running.metrics().refusals(Reason::Conflict), 1);
}

#[test]
fn without_a_valid_token_nothing_is_taken() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let wrong = format!("{TOKEN}x");
    let unknown = site.agents.client();
    for who in [
        Who::Nobody,
        Who::Token(""),
        Who::Token(&wrong),
        Who::Certificate(&unknown),
    ] {
        let answer = site.send_as(at, who, &batch()).expect("an answer");
        assert_eq!((answer.status, answer.word()), (401, "unauthorized"));
    }
    assert_eq!(running.metrics().refusals(Reason::Unauthorized), 4);
    assert_eq!(count(&site.store(), "host"), 0);
}

#[test]
fn a_client_certificate_of_the_configured_authority_is_enough() {
    let site = Site::new();
    let running = site::start(&site.config(false, true, ""));
    let at = running.address();
    let agent = site.agents.client();
    let answer = site
        .send_as(at, Who::Certificate(&agent), &batch())
        .expect("an answer");
    assert_eq!(answer.word(), "stored");

    let missing = site.send_as(at, Who::Nobody, &batch()).expect("an answer");
    assert_eq!((missing.status, missing.word()), (401, "unauthorized"));
    // Tokens are not configured: none is valid, not even an empty one.
    for token in [TOKEN, ""] {
        assert_eq!(
            site.send_as(at, Who::Token(token), &batch())
                .expect("answer")
                .status,
            401
        );
    }
    // A certificate of another authority does not get past the handshake; nor does one that
    // the server's own authority signed.
    for stranger in [
        Authority::new("agent authority").client(),
        site.authority.client(),
    ] {
        assert!(
            site.send_as(at, Who::Certificate(&stranger), &batch())
                .is_err()
        );
    }
    // The server counts when it has noticed, which may be after the client has.
    until("both handshakes are counted", || {
        (running.metrics().connections_dropped_handshake_total.get() == 2).then_some(())
    });
    assert_eq!(count(&site.store(), "batch"), 1);
}

#[test]
fn either_credential_suffices_where_both_are_configured() {
    let site = Site::new();
    let running = site::start(&site.config(true, true, ""));
    let at = running.address();
    let agent = site.agents.client();
    let by_token = site
        .send_as(at, Who::Token(TOKEN), &batch())
        .expect("an answer");
    let by_certificate = site
        .send_as(at, Who::Certificate(&agent), &batch())
        .expect("an answer");
    assert_eq!(
        (by_token.word(), by_certificate.word()),
        ("stored", "duplicate")
    );
    assert_eq!(
        site.send_as(at, Who::Nobody, &batch())
            .expect("an answer")
            .status,
        401
    );
}

/// CRC-32 as at the end of a batch.
pub(crate) fn seal(bytes: &mut [u8]) {
    let (content, sum) = bytes.split_last_chunk_mut::<4>().expect("a batch");
    *sum = format1::checksum(content).to_le_bytes();
}

#[test]
fn a_batch_of_format_1_is_stored_as_one_of_format_2() {
    let batch = batch();
    let stored = |body: &[u8]| {
        let site = Site::new();
        let running = site.start("");
        let (at, who) = (running.address(), Who::Token(TOKEN));
        let answer = site.post(at, who, &key(&batch), CONTENT_TYPE, body);
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.word()), (200, "stored"));
        running.stop().expect("stops");
        let store = site.store();
        TABLES.map(|table| count(&store, table))
    };
    let [first, second] = [format1::encode(&batch), wire::encode(&batch)];
    assert!(first[4] == 1 && second[4] == 2);
    let rows = stored(&first);
    assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");
    assert_eq!(rows, stored(&second));
}

#[test]
fn rows_of_a_table_that_only_its_sender_knows_are_stored_within_bounds_and_counted_beyond() {
    let site = Site::new();
    let running = site.start("");
    let mut batch = batch();
    let mut known = batch.row_count() as u64;
    // One host brings no more than 16.
    for n in 0..20 {
        let mut table = DynamicTable::of(&batch.edges);
        table.table.to_mut().name = format!("block_{n}");
        known += if n < 16 { table.rows as u64 } else { 0 };
        batch.others.push(table);
    }
    let unknown = 4 * batch.edges.len() as u64;
    let body = wire::encode(&batch);
    let answer = site.post(
        running.address(),
        Who::Token(TOKEN),
        &key(&batch),
        CONTENT_TYPE,
        &body,
    );
    assert_eq!(answer.expect("an answer").word(), "stored");
    let metrics = running.metrics();
    assert_eq!(metrics.ingest_rows_unknown_total.get(), unknown);
    assert_eq!(metrics.ingest_rows_stored_total.get(), known);
    let series = 16 * batch.edges.len();
    assert_eq!(
        count(&site.store(), "series"),
        i64::try_from(series).unwrap()
    );
}

#[test]
fn a_full_store_goes_on_accepting() {
    const BYTES: u64 = 1 << 20;
    let site = Site::new();
    let mut config = site.config(true, false, "");
    config.store.max_bytes = BYTES;
    let running = site::start(&config);
    let at = running.address();
    let mut batch = batch();
    let row = batch.sightings[0].clone();
    for sequence in 1..=60 {
        batch.header.sequence = sequence;
        batch.header.start_ms += 10_000;
        batch.header.end_ms += 10_000;
        // No two are alike, and none goes on.
        let token = |n: u64| (sequence << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        batch.sightings = (0..3000)
            .map(|n| wire::SightingRow {
                token: token(n),
                life: wire::Life::Ended,
                ..row.clone()
            })
            .collect();
        let answer = site.send(at, &batch);
        assert_eq!(
            (answer.status, answer.word()),
            (200, "stored"),
            "{sequence}"
        );
    }
    assert_eq!(site.get(at, "/healthz", Who::Nobody).status, 200);
    let fleet = site.get(at, "/api/v1/hosts", Who::Token(READER)).json;
    let evicted = fleet["evicted"]["rows"].as_u64();
    assert!(evicted.is_some_and(|rows| rows > 0), "{fleet}");
    let topology = site.get(at, "/api/v1/topology", Who::Token(READER)).json;
    assert!(topology["evicted_before_ms"].is_i64(), "{topology}");
    // The sums add up, once the thread has counted its last step: nothing went uncounted.
    let left = |table: &str| u64::try_from(count(&site.store(), table)).expect("a count");
    let metrics = running.metrics();
    until("all sightings are there or evicted", || {
        let evicted = metrics.store_evicted_sightings_total.get();
        (evicted + left("sighting") == 180_000).then_some(())
    });
    assert_eq!(
        metrics.store_evicted_batches_total.get() + left("batch"),
        60
    );
    assert!(left("sighting") >= 1000, "{}", left("sighting"));
    running.stop().expect("stops");
    let file = site.store().metadata().expect("store").len();
    assert!(file <= BYTES, "{file}");
}

/// What an agent may do with a batch stands in the answer, which names the batch: a status alone
/// can be anybody's.
#[test]
fn only_the_collectors_own_words_about_a_batch_end_it() {
    let site = Site::new();
    let running = site.start("batch_bytes = \"64KiB\"\nbatch_raw_bytes = \"64KiB\"\n");
    let at = running.address();
    let batch = batch();
    let (right, good) = (key(&batch), wire::encode(&batch));
    let post = |who, key: &str, kind, body: &[u8]| {
        let answer = site.post(at, who, key, kind, body).expect("an answer");
        (answer.status, answer.word().to_owned(), answer.ends(&right))
    };
    let with = |status, word: &str, ends| (status, word.to_owned(), ends);
    let agent = Who::Token(TOKEN);

    // About the batch, and for good.
    assert_eq!(
        post(agent, &right, CONTENT_TYPE, b"no batch"),
        with(400, "malformed", true)
    );
    let big = vec![0; 65 << 10];
    assert_eq!(
        post(agent, &right, CONTENT_TYPE, &big),
        with(413, "too_large", true)
    );
    // Headers that an agent never gets wrong: changed on the way, with the batch as it was.
    assert_eq!(
        post(agent, &right, "text/plain", &good),
        with(415, "media_type", false)
    );
    assert_eq!(
        post(agent, "", CONTENT_TYPE, &good),
        with(400, "key", false)
    );
    assert_eq!(
        post(Who::Nobody, &right, CONTENT_TYPE, &good),
        with(401, "unauthorized", false)
    );
    // About another batch.
    let other = format!("{right}0");
    assert_eq!(
        post(agent, &other, CONTENT_TYPE, &good),
        with(400, "key_mismatch", false)
    );
    for word in ["stored", "duplicate"] {
        assert_eq!(
            post(agent, &right, CONTENT_TYPE, &good),
            with(200, word, true)
        );
    }
    // What the HTTP library says by itself is nobody's word about a batch.
    for path in ["/api/v1/batches", "/api/v1/nothing"] {
        let answer = site.get(at, path, agent);
        assert!(matches!(answer.status, 404 | 405), "{path}");
        let form: Result<wire::answer::Answer, _> = serde_json::from_str(&answer.text);
        assert!(form.is_err(), "{path}: {}", answer.text);
    }
}
