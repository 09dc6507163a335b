//! What is no collector's answer costs no batch.

use std::time::Duration;

use crate::upload::tests::assert_sum;
use crate::upload::tests::https::{Agent, LONG, first, serve};
use crate::upload::tests::server::{Reply, STORED};

/// What stands between may say anything; when it is mended, everything arrives.
#[test]
fn strangers_in_front_cost_no_batch_and_are_counted_by_kind() {
    const STATUSES: [u16; 20] = [
        200, 201, 204, 301, 302, 307, 400, 401, 403, 404, 405, 407, 413, 415, 429, 431, 500, 502,
        503, 504,
    ];
    const PAGES: [&str; 4] = [
        "",
        "<html><h1>Welcome to the hotel</h1></html>",
        r#"{"status":"stored"}"#,
        r#"{"status":"refused","batch":"07-09-3"}"#,
    ];
    let all = STATUSES.len() * PAGES.len();
    let script = move |nth: u64| match usize::try_from(nth).ok().filter(|nth| *nth < all) {
        Some(nth) => {
            let (status, page) = (STATUSES[nth % STATUSES.len()], PAGES[nth / STATUSES.len()]);
            let headers = "location: https://127.0.0.1:1/\r\nretry-after: 3600\r\n";
            Reply::Answer(status, headers, if status == 204 { "" } else { page })
        }
        None => STORED,
    };
    let (server, settings) = serve(script);
    let agent = Agent::start(&settings);
    for sequence in 1..=4 {
        agent.put(sequence);
    }
    for nth in 1..=u64::try_from(all).unwrap() {
        server.next();
        agent.eventually_retried(nth);
        agent.handle.kick();
    }
    agent.eventually_acked(4);
    let metrics = &agent.metrics;
    assert_eq!(metrics.upload_dropped_refused_total.get(), 0);
    assert_sum(4, metrics);
    let counted = [
        &metrics.upload_stranger_pages_total,
        &metrics.upload_stranger_redirections_total,
        &metrics.upload_stranger_refusals_total,
        &metrics.upload_stranger_failures_total,
    ];
    let of = |class: u16| {
        STATUSES
            .iter()
            .filter(|status| **status / 100 == class)
            .count()
            * PAGES.len()
    };
    let wanted = [2, 3, 4, 5].map(|class| u64::try_from(of(class)).unwrap());
    assert_eq!(counted.map(|counter| counter.get()), wanted);
}

#[test]
fn what_is_no_answer_keeps_the_batch() {
    let strange = [
        Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"status\""),
        Reply::Raw(b""),
        Reply::Endless,
    ];
    for reply in strange {
        let name = format!("{reply:?}");
        let (server, mut settings) = serve(first(reply));
        settings.timeout = Duration::from_secs(2);
        let agent = Agent::start(&settings);
        agent.put(1);
        server.next();
        agent.eventually_retried(1);
        assert_eq!(agent.metrics.spool_depth.get(), 1, "{name}");
        agent.handle.kick();
        agent.eventually_acked(1);
    }
}

#[test]
fn interim_answers_without_end_are_cut_long_before_the_time_is_over() {
    let (server, mut settings) = serve(first(Reply::Continue));
    settings.timeout = 10 * LONG;
    let agent = Agent::start(&settings);
    agent.put(1);
    server.next();
    agent.eventually_retried(1);
    assert_eq!(agent.metrics.spool_depth.get(), 1);
    agent.handle.kick();
    agent.eventually_acked(1);
}
