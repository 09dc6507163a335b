//! Clocks of hosts that are ahead, or are set.

use super::*;

#[test]
fn a_host_whose_clock_is_ahead_is_stored_under_the_time_of_arrival() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let ahead = 40 * 365 * 86_400_000;
    for (sequence, opened_count) in [(2, 7), (1, 5)] {
        let mut batch = batch(sequence, vec![edge(0, opened_count)]).batch;
        batch.header.start_ms += ahead;
        batch.header.end_ms += ahead;
        let outcome = store.put(&[&opened(batch)], 20_000).remove(0).unwrap();
        assert_eq!(
            outcome,
            Outcome::Stored {
                clock_ahead: true,
                copied: false,
                unplaced: 0,
                refused: 0,
            }
        );
    }
    assert_eq!(count(&dir, window(0, 1)), 5);
    assert_eq!(count(&dir, window(1, 2)), 2);
    let hosts = Reader::open(&path(&dir))
        .unwrap()
        .hosts(None, 10, 1 << 20)
        .unwrap();
    assert_eq!(hosts[0].clock_ahead_ms, i64::try_from(ahead).unwrap());
}

#[test]
fn a_clock_that_is_set_back_takes_nothing_out_of_its_order() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let ends = [100_000, 110_000, 120_000, 115_000, 125_000, 135_000];
    for (sequence, (end_ms, count)) in (1..).zip(ends.into_iter().zip([5, 7, 9, 20, 30, 31])) {
        let mut batch = batch(sequence, vec![edge(90_000, count)]).batch;
        (batch.header.start_ms, batch.header.end_ms) = (end_ms - 5_000, end_ms);
        assert_eq!(put(&mut store, &opened(batch)), STORED);
    }
    let all = (80_000..160_000).step_by(1_000);
    let counts = all.map(|from_ms| {
        let to_ms = from_ms + 1_000;
        count(&dir, Window { from_ms, to_ms })
    });
    let counts: Vec<_> = counts.filter(|n| *n > 0).collect();
    assert_eq!(counts, [5, 2, 2, 11, 10, 1]);
    // What was stored under its arrival goes on under its own time once that is right.
    let mut ahead = batch(7, vec![edge(90_000, 32)]).batch;
    (ahead.header.start_ms, ahead.header.end_ms) = (5_000_000, 5_000_000);
    let outcome = store.put(&[&opened(ahead)], 150_000).remove(0).unwrap();
    assert_eq!(
        outcome,
        Outcome::Stored {
            clock_ahead: true,
            copied: false,
            unplaced: 0,
            refused: 0,
        }
    );
    let mut right = batch(8, vec![edge(90_000, 33)]).batch;
    (right.header.start_ms, right.header.end_ms) = (155_000, 160_000);
    let outcome = store.put(&[&opened(right)], 160_000).remove(0).unwrap();
    assert_eq!(outcome, STORED);
    let (from_ms, to_ms) = (159_999, 160_000);
    assert_eq!(count(&dir, Window { from_ms, to_ms }), 1);
}
