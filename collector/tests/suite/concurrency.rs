//! Slow, stuck and too many peers.

use collector::accept::Reason;
use wire::Batch;

use crate::support::raw::Raw;
use crate::support::site::{Site, TOKEN};
use crate::support::until;
use crate::support::world::World;

pub(crate) fn batch(sequence: u64) -> Batch {
    let mut world = World::new();
    world.host("one");
    let mut batch = world.tick().remove(0);
    batch.header.sequence = sequence;
    batch
}

#[test]
fn a_body_that_does_not_arrive_gives_its_place_back() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1\nbody_timeout = \"200ms\"");
    let mut slow = Raw::connect(&site, running.address());
    slow.begin(TOKEN, &batch(1));
    let answer = slow.answer();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("\r\nretry-after: "),
        "{answer}"
    );
    assert!(answer.contains("\"slow\""), "{answer}");
    assert_eq!(running.metrics().refusals(Reason::Slow), 1);
    assert_eq!(site.send(running.address(), &batch(1)).word(), "stored");
}

#[test]
fn a_connection_that_breaks_leaves_nothing_behind() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1");
    let mut broken = Raw::connect(&site, running.address());
    broken.begin(TOKEN, &batch(1));
    drop(broken);
    until("the break is noticed", || {
        (running.metrics().ingest_batches_in_flight.get() == 0).then_some(())
    });
    assert_eq!(site.send(running.address(), &batch(1)).word(), "stored");
}

#[test]
fn many_agents_at_once_are_all_stored() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 4");
    let at = running.address();
    std::thread::scope(|scope| {
        for agent in 0..8_u8 {
            let site = &site;
            scope.spawn(move || {
                for sequence in 1..=10 {
                    let mut batch = batch(sequence);
                    batch.header.host = [agent; 16];
                    // As agents do: what is told to come back comes back.
                    until("it is stored", || match site.send(at, &batch).status {
                        200 => Some(()),
                        429 => None,
                        other => panic!("{other}"),
                    });
                }
            });
        }
    });
    assert_eq!(running.metrics().ingest_batches_stored_total.get(), 80);
    running.stop().expect("stops");
    assert_eq!(crate::support::site::count(&site.store(), "batch"), 80);
}
