//! Which slices a question reads, and which are kept.

use std::collections::BTreeMap;

use super::{path, store};
use crate::store::slice::LENGTHS;
use crate::store::slices::pieces;
use crate::store::{Piece, Reader, Retention, Slice, Window};

const SHORT: i64 = LENGTHS[0];
const MIDDLE: i64 = LENGTHS[1];
const LONG: i64 = LENGTHS[2];

fn window(from_ms: i64, to_ms: i64) -> Window {
    Window { from_ms, to_ms }
}

fn joined(length_ms: i64, start_ms: i64) -> Piece {
    Piece::Joined(Slice {
        length_ms,
        start_ms,
    })
}

/// Two of the longest, the first with all of its parts and the second with its first one.
fn slices() -> BTreeMap<(i64, i64), bool> {
    let keys = (0..=LONG / SHORT).map(|n| (SHORT, n * SHORT));
    let keys = keys.chain([(MIDDLE, 0), (MIDDLE, MIDDLE), (MIDDLE, LONG)]);
    keys.chain([(LONG, 0), (LONG, LONG)])
        .map(|key| (key, true))
        .collect()
}

#[test]
fn a_question_reads_the_longest_slices_that_are_whole_in_its_window() {
    let mut slices = slices();
    let whole = [joined(LONG, 0), joined(LONG, LONG)];
    assert_eq!(pieces(&slices, window(0, 2 * LONG)), whole);
    // From the middle of the second of the shortest ones, up to within the last.
    let from = SHORT + 1;
    let cut = pieces(&slices, window(from, LONG + SHORT / 2));
    let expected = [
        Piece::Rows(window(from, 2 * SHORT)),
        joined(SHORT, 2 * SHORT),
        joined(MIDDLE, MIDDLE),
        Piece::Rows(window(LONG, LONG + SHORT / 2)),
    ];
    assert_eq!(cut, expected);
    // One that is not joined is read from its rows, and so are those that it is part of.
    for key in [(LONG, 0), (MIDDLE, 0), (SHORT, SHORT), (SHORT, 2 * SHORT)] {
        slices.insert(key, false);
    }
    let expected = [
        joined(SHORT, 0),
        Piece::Rows(window(SHORT, 3 * SHORT)),
        joined(MIDDLE, MIDDLE),
        joined(LONG, LONG),
    ];
    assert_eq!(pieces(&slices, window(0, 2 * LONG)), expected);
}

#[test]
fn where_nothing_is_joined_a_question_reads_its_window_at_once() {
    let mut slices = slices();
    slices.values_mut().for_each(|is_joined| *is_joined = false);
    let all = window(-5, 5 * LONG);
    assert_eq!(pieces(&slices, all), [Piece::Rows(all)]);
    assert_eq!(pieces(&BTreeMap::new(), all), [Piece::Rows(all)]);
}

#[test]
fn what_was_joined_outlives_its_rows_and_goes_by_its_own_age() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = store(&dir);
    for key in slices().into_keys() {
        let values = [key.0, key.1];
        let slice = "INSERT INTO slice (length_ms, start_ms, generation, joined, marked_ms, bytes)
             VALUES (?1, ?2, 3, 2, 0, 5)";
        store.connection.execute(slice, values).unwrap();
        let body = "INSERT INTO joined VALUES (?1, ?2, x'00')";
        store.connection.execute(body, values).unwrap();
    }
    let mut store = store;
    let read = |window| {
        let mut reader = Reader::open(&path(&dir)).unwrap();
        let view = reader.view().unwrap();
        (
            view.pieces(window).unwrap(),
            view.next_slice(i64::MAX / 2).unwrap(),
        )
    };
    let all = window(0, 2 * LONG);
    assert_eq!(read(all).0, [Piece::Rows(all)], "all have changed since");
    // Rows go; the first of the longest ones and all shorter ones of it are old, too.
    let now = 2 * LONG;
    let mut retention = Retention::new(LONG - SHORT).with_joined(LONG, 3 * LONG);
    while store.retain(&mut retention, now).unwrap().more {}
    let (pieces, next) = read(all);
    assert_eq!(pieces, [joined(LONG, 0), joined(SHORT, LONG)]);
    assert_eq!(next, None, "nothing is made again of rows that are gone");
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE length_ms < {LONG}");
        store
            .connection
            .query_row(&sql, (), |row| row.get(0))
            .unwrap()
    };
    assert_eq!((count("slice"), count("joined")), (2, 2));
}
