//! The two threads and their handle, with a closure in the place of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::assert_sum;
use crate::delivery::{Drained, Full, Handle};
use crate::metrics::Metrics;
use crate::spool::tests::{Place, batch, eventually, roomy};
use crate::spool::thread::Request;
use crate::spool::{Bounds, Sealed};
use crate::upload::answer::Answer;
use crate::upload::thread::start_with;
use crate::upload::transport::Unanswered;

pub(super) const LONG: Duration = Duration::from_secs(30);

pub(super) type Sent = Result<Answer, Unanswered>;

/// A handle whose batches go to `send`; and a way to the spool thread.
pub(super) fn start(
    place: &Place,
    bounds: Bounds,
    metrics: &Arc<Metrics>,
    send: impl FnMut(&Sealed) -> Sent + Send + 'static,
) -> (Handle, Sender<Request>) {
    let mut send = send;
    let mut way = None;
    let handle = Handle::start_with(
        place.open_with(bounds),
        Arc::clone(metrics),
        |client, metrics| {
            way = Some(client.requests());
            let about = move |sealed: &Sealed, _| send(sealed).map(|answer| words(answer, sealed));
            start_with(about, crossbeam_channel::never(), client, metrics)
        },
    );
    (handle.expect("start the threads"), way.expect("started"))
}

pub(super) fn answer(status: u16) -> Sent {
    Ok(Answer {
        status,
        ..Answer::default()
    })
}

/// The same in a collector's own words about this batch.
fn words(answer: Answer, sealed: &Sealed) -> Answer {
    let (status, key) = (answer.status, sealed.idempotency_key());
    let what = match status {
        200 => "stored",
        400 | 413 | 415 => "refused",
        _ => "kept",
    };
    let body = format!(r#"{{"status":"{what}","batch":"{key}"}}"#).into_bytes();
    Answer { body, ..answer }
}

/// A uploader whose answers the test gives one by one, and who tells what it is sent.
pub(super) fn uploader() -> (
    impl FnMut(&Sealed) -> Sent + Send + 'static,
    Receiver<u64>,
    Sender<Sent>,
) {
    let (sent, seen) = unbounded();
    let (answers, answer) = unbounded::<Sent>();
    let send = move |sealed: &Sealed| {
        let _told = sent.send(sealed.id.sequence);
        answer.recv().unwrap_or(Err(Unanswered {
            reason: "over".to_owned(),
            timed_out: false,
            by_proxy: false,
        }))
    };
    (send, seen, answers)
}

pub(super) fn next(seen: &Receiver<u64>) -> u64 {
    seen.recv_timeout(LONG).expect("a batch is sent")
}

#[test]
fn batches_are_sent_one_by_one_and_leave_at_the_answer() {
    let (place, metrics) = (Place::new(), Arc::default());
    let (send, seen, answers) = uploader();
    let (handle, _way) = start(&place, roomy(), &metrics, send);
    for sequence in 1..=3 {
        handle.try_put(batch(sequence, 100)).expect("room");
    }
    for sequence in 1..=3 {
        assert_eq!(next(&seen), sequence);
        assert_eq!(metrics.upload_acked_total.get(), sequence - 1);
        answers.send(answer(200)).expect("listening");
        eventually("the ack", || metrics.upload_acked_total.get() == sequence);
    }
    assert_eq!(metrics.upload_acked_bytes_total.get(), 300);
    drop(handle);
    assert_sum(3, &metrics);
}

#[test]
fn a_kick_ends_a_back_off() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (send, seen, answers) = uploader();
    let (handle, _way) = start(&place, roomy(), &metrics, send);
    handle.try_put(batch(1, 100)).expect("room");
    next(&seen);
    // At least a minute.
    answers.send(answer(403)).expect("listening");
    eventually("the wait", || metrics.upload_unauthorized_total.get() == 1);
    handle.kick();
    assert_eq!(next(&seen), 1);
    answers.send(answer(200)).expect("listening");
    eventually("the ack", || metrics.upload_acked_total.get() == 1);
}

#[test]
fn without_a_kick_a_failed_batch_is_sent_again_by_itself() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (send, seen, answers) = uploader();
    let (_handle, _way) = start(&place, roomy(), &metrics, send);
    _handle.try_put(batch(1, 100)).expect("room");
    next(&seen);
    let begun = Instant::now();
    answers.send(answer(502)).expect("listening");
    assert_eq!(next(&seen), 1);
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_secs(1) && waited < Duration::from_secs(10),
        "{waited:?}"
    );
    assert_eq!(metrics.upload_retried_total.get(), 1);
    answers.send(answer(200)).expect("listening");
}

#[test]
fn a_full_queue_counts_the_newest_and_never_blocks() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (handle, way) = start(&place, roomy(), &metrics, |_| answer(200));
    let (resume, wait) = bounded::<()>(0);
    let (standing, stands) = bounded::<()>(0);
    let stand_still = move || {
        drop(standing);
        let _over = wait.recv();
    };
    way.send(Request::Run(Box::new(stand_still)))
        .expect("listening");
    drop(way);
    let _closed = stands.recv();
    let mut refused = 0;
    for sequence in 1..=40 {
        refused += u64::from(handle.try_put(batch(sequence, 10)) == Err(Full));
    }
    assert_eq!((refused, metrics.batch_dropped_full_total.get()), (24, 24));
    drop(resume);
    assert_eq!(
        handle.drain(LONG),
        Drained {
            stored: true,
            upload_ended: true,
            left: 0
        }
    );
    assert_eq!(metrics.upload_acked_total.get(), 16);
    assert_sum(40, &metrics);
}

#[test]
fn a_dead_spool_thread_hangs_nobody() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (handle, way) = start(&place, roomy(), &metrics, |_| answer(200));
    way.send(Request::Run(Box::new(|| panic!("asked to by the test"))))
        .expect("listening");
    drop(way);
    let mut sealed = 0;
    eventually("the end of the thread", || {
        sealed += 1;
        let _full = handle.try_put(batch(sealed, 10));
        metrics.spool_dropped_error_total.get() > 0
    });
    handle.kick();
    let drained = handle.drain(LONG);
    assert_eq!((drained.stored, drained.upload_ended), (false, true));
}

#[test]
fn a_dead_upload_thread_leaves_a_spool_that_stores() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let dies = |_: &Sealed| -> Sent { panic!("asked to by the test") };
    let (handle, way) = start(&place, roomy(), &metrics, dies);
    drop(way);
    handle.try_put(batch(1, 10)).expect("room");
    handle.kick();
    let mut sealed = 1;
    eventually("ten batches", || {
        sealed += 1;
        let _full = handle.try_put(batch(sealed, 10));
        metrics.spool_depth.get() >= 10
    });
    let drained = handle.drain(LONG);
    assert_eq!((drained.stored, drained.upload_ended), (true, false));
    assert_eq!(place.open().depth(), drained.left);
    assert_sum(sealed, &metrics);
}

#[test]
fn a_thread_that_does_not_start_leaves_none_behind() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let refuse = |_, _| Err(std::io::Error::other("no thread to give"));
    let error = Handle::start_with(place.open(), metrics, refuse).expect_err("refused");
    assert_eq!(
        format!("{error:#}"),
        "start the upload thread: no thread to give"
    );
    // SQLite removes its log when the last connection is closed.
    assert!(!place.dir().join("spool.db-wal").exists());
}

#[test]
fn a_forgotten_handle_ends_its_threads() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (handle, way) = start(&place, roomy(), &metrics, |_| answer(200));
    drop(way);
    drop(handle);
    assert!(!place.dir().join("spool.db-wal").exists());
}

#[test]
fn what_earlier_runs_left_is_uploaded_without_a_new_batch() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    place.open().put(&batch(1, 10));
    let (_handle, _way) = start(&place, roomy(), &metrics, |_| answer(200));
    eventually("the ack", || metrics.upload_acked_total.get() == 1);
    assert_eq!(metrics.spool_found_total.get(), 1);
    assert_sum(0, &metrics);
}

#[test]
fn a_poisonous_batch_does_not_stop_the_others() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let poison = |sealed: &Sealed| answer(if sealed.id.sequence == 1 { 500 } else { 200 });
    let (handle, _way) = start(&place, roomy(), &metrics, poison);
    for sequence in 1..=10 {
        handle.try_put(batch(sequence, 10)).expect("room");
    }
    eventually("nine acks", || {
        handle.kick();
        metrics.upload_acked_total.get() == 9
    });
    let drained = handle.drain(LONG);
    assert_eq!(drained.left, 1);
    assert_sum(10, &metrics);
}

#[test]
fn losses_add_up_under_a_flood_with_a_moody_collector_and_a_small_spool() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let bounds = Bounds {
        max_bytes: 50_000,
        max_age: LONG,
    };
    let asked = AtomicU64::new(0);
    let moody = move |sealed: &Sealed| match asked.fetch_add(1, Ordering::Relaxed) % 7 {
        0 => answer(400),
        1 => answer(503),
        2 => Err(Unanswered {
            reason: "lost".to_owned(),
            timed_out: sealed.rows == 0,
            by_proxy: false,
        }),
        _ => answer(200),
    };
    let (handle, _way) = start(&place, bounds, &metrics, moody);
    let sealed = 2000;
    for sequence in 1..=sealed {
        let mut batch = batch(sequence, 5_000);
        // By the clock, or all would be too old at once.
        batch.sealed_ms = u64::MAX >> 1;
        let _full = handle.try_put(batch);
        handle.kick();
        if sequence % 16 == 0 {
            eventually("half the queue", || {
                let taken =
                    metrics.spool_stored_total.get() + metrics.batch_dropped_full_total.get();
                handle.kick();
                taken + 8 >= sequence
            });
        }
    }
    let drained = handle.drain(LONG);
    assert!(drained.stored && drained.upload_ended);
    assert_sum(sealed, &metrics);
    assert!(metrics.spool_evicted_size_total.get() > 0);
    assert!(metrics.upload_acked_total.get() > 0);
}
