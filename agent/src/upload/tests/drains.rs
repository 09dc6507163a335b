//! The end of a run: what is queued is stored, and sent once more while there is time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::delivery::Drained;
use crate::metrics::Metrics;
use crate::spool::tests::{Place, batch, eventually, roomy};
use crate::spool::thread::Request;
use crate::upload::answer::Answer;
use crate::upload::tests::assert_sum;
use crate::upload::tests::threads::{LONG, answer, next, start, uploader};

#[test]
fn a_drain_stores_what_is_queued_and_uploads_once_more() {
    let (place, metrics) = (Place::new(), Arc::default());
    let (handle, _way) = start(&place, roomy(), &metrics, |_| answer(200));
    for sequence in 1..=16 {
        handle.try_put(batch(sequence, 100)).expect("room");
    }
    let drained = handle.drain(Duration::MAX);
    assert_eq!(
        drained,
        Drained {
            stored: true,
            upload_ended: true,
            left: 0
        }
    );
    assert_eq!(metrics.upload_acked_total.get(), 16);
}

#[test]
fn a_drain_gives_up_at_the_first_failure_and_keeps_the_batches() {
    let (place, metrics) = (Place::new(), Arc::default());
    let (handle, _way) = start(&place, roomy(), &metrics, |_| answer(503));
    for sequence in 1..=3 {
        handle.try_put(batch(sequence, 100)).expect("room");
    }
    let begun = Instant::now();
    let drained = handle.drain(LONG);
    assert_eq!(
        drained,
        Drained {
            stored: true,
            upload_ended: true,
            left: 3
        }
    );
    assert!(begun.elapsed() < LONG / 3, "{:?}", begun.elapsed());
    assert_eq!(place.open().depth(), 3);
    assert_sum(3, &metrics);
}

#[test]
fn a_drain_cuts_a_back_off_short_for_one_attempt() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (send, seen, answers) = uploader();
    let (handle, _way) = start(&place, roomy(), &metrics, send);
    handle.try_put(batch(1, 100)).expect("room");
    assert_eq!(next(&seen), 1);
    answers.send(answer(401)).expect("listening");
    eventually("the wait", || metrics.upload_unauthorized_total.get() == 1);
    answers.send(answer(200)).expect("listening");
    assert_eq!(
        handle.drain(LONG),
        Drained {
            stored: true,
            upload_ended: true,
            left: 0
        }
    );
}

#[test]
fn a_drain_respects_what_the_collector_asked_for() {
    let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
    let (send, seen, answers) = uploader();
    let (handle, _way) = start(&place, roomy(), &metrics, send);
    handle.try_put(batch(1, 100)).expect("room");
    next(&seen);
    let busy = Answer {
        status: 503,
        retry_after: Some("60".to_owned()),
        ..Answer::default()
    };
    answers.send(Ok(busy)).expect("listening");
    eventually("the wait", || metrics.upload_retried_total.get() == 1);
    handle.kick();
    assert_eq!(
        handle.drain(LONG),
        Drained {
            stored: true,
            upload_ended: true,
            left: 1
        }
    );
    assert!(seen.try_recv().is_err(), "nothing was sent meanwhile");
}

#[test]
fn a_drain_is_over_in_time_although_the_upload_hangs() {
    let (place, metrics) = (Place::new(), Arc::default());
    let (send, seen, answers) = uploader();
    let (handle, _way) = start(&place, roomy(), &metrics, send);
    handle.try_put(batch(1, 100)).expect("room");
    next(&seen);
    handle.try_put(batch(2, 100)).expect("room");
    let begun = Instant::now();
    let drained = handle.drain(Duration::from_millis(100));
    assert_eq!(
        drained,
        Drained {
            stored: true,
            upload_ended: false,
            left: 2
        }
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(place.open().depth(), 2);
    drop(answers);
}

#[test]
fn a_drain_is_over_in_time_although_the_disk_stands_still() {
    let (place, metrics) = (Place::new(), Arc::default());
    let (handle, way) = start(&place, roomy(), &metrics, |_| answer(200));
    let (resume, wait) = bounded::<()>(0);
    let stand_still = move || {
        let _over = wait.recv();
    };
    way.send(Request::Run(Box::new(stand_still)))
        .expect("listening");
    drop(way);
    handle.try_put(batch(1, 100)).expect("room");
    let drained = handle.drain(Duration::from_millis(100));
    assert!(!drained.stored, "what is queued may be lost, and is told");
    drop(resume);
}
