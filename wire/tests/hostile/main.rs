//! What a hostile sender can put into a batch is refused, without a panic and within the limits.

#![forbid(unsafe_code)]

mod format2;
mod formats;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt8Array};
use arrow_schema::{DataType, Field};
use formats::{
    FORMAT1, FORMAT2, Format, is_malformed, is_too_large, is_unsupported, label, named, open,
    resum, with_column,
};
use proptest::prelude::*;
use support::{any_batch, sorted};
use wire::{Batch, Limits, decode, memory};

const FORMATS: [Format; 2] = [FORMAT1, FORMAT2];

#[test]
fn another_arrow_implementation_reads_the_streams_and_its_streams_are_read() {
    for format in FORMATS {
        let tables = format.tables_of_full();
        assert!(tables.len() > 10);
        let opened = format.open_with(&tables).expect("the same tables");
        assert_eq!(sorted(opened), sorted((format.full)()));
    }
}

#[test]
fn columns_tables_and_families_of_a_newer_minor_schema_are_skipped() {
    let (format, batch) = (FORMAT1, (FORMAT1.full)());
    let tables = format.tables_of_full();
    let newer = |table| with_column(table, "newer", &label(table));
    let mut tables: Vec<_> = tables.iter().map(newer).collect();
    let things: ArrayRef = Arc::new(UInt8Array::from(vec![1, 2, 3]));
    let thing = Field::new("thing", DataType::UInt8, false);
    tables.push(named(vec![thing], vec![things], "newer"));
    let mut bytes = format.around(&batch, &formats::streams(&tables));
    // Schema 1.9, with three rows of family 77.
    bytes[6] = 9;
    let entries = usize::from(bytes[format.tables]);
    bytes[format.tables] += 1;
    let end = format.counts + 5 * entries;
    bytes.splice(end..end, [77, 3, 0, 0, 0]);
    assert_eq!(open(&resum(bytes)).expect("readable"), batch);
}

#[test]
fn other_versions_and_dictionaries_are_named_as_unsupported() {
    for format in FORMATS {
        let sealed = (format.encode)(&(format.full)());
        for (position, value) in format.unknown {
            let mut bytes = sealed.clone();
            bytes[*position] = *value;
            assert!(is_unsupported(&open(&resum(bytes))), "byte {position}");
        }
    }
}

#[test]
fn a_row_count_that_is_not_that_of_the_table_is_malformed() {
    for format in FORMATS {
        let sealed = (format.encode)(&(format.full)());
        for entry in 0..usize::from(sealed[format.tables]) {
            for change in [1, 255] {
                let mut bytes = sealed.clone();
                let count = format.counts + 5 * entry + 1;
                bytes[count] = bytes[count].wrapping_add(change);
                assert!(is_malformed(&open(&resum(bytes))), "entry {entry}");
            }
        }
    }
}

#[test]
fn a_table_that_is_counted_twice_is_malformed() {
    for format in FORMATS {
        let mut bytes = (format.encode)(&(format.full)());
        let first: Vec<_> = bytes[format.counts..format.counts + 5].to_vec();
        bytes[format.tables] += 1;
        bytes.splice(format.counts..format.counts, first);
        assert!(is_malformed(&open(&resum(bytes))));
    }
}

#[test]
fn a_bomb_is_refused_by_what_it_claims_and_by_what_it_holds() {
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).expect("compresses");
    assert!(bomb.len() < 64 << 10);
    for format in FORMATS {
        let batch = (format.full)();
        let claims = format.resealed(&batch, &bomb, 256 << 20);
        assert!(is_too_large(&open(&claims)));
        assert!(is_malformed(&open(&format.resealed(&batch, &bomb, 1000))));
        assert!(is_malformed(&open(
            &format.around(&batch, &vec![0; 32 << 20])
        )));
    }
}

#[test]
fn many_frames_of_nothing_are_malformed() {
    let nothing = zstd::bulk::compress(&[], 1).expect("compresses");
    for format in FORMATS {
        let nothing = nothing.repeat(100_000);
        let opened = open(&format.resealed(&(format.full)(), &nothing, 0));
        assert!(is_malformed(&opened));
    }
}

#[test]
fn every_limit_is_kept() {
    for format in FORMATS {
        let batch = (format.full)();
        let sealed = (format.encode)(&batch);
        let enough = Limits {
            max_rows: batch.row_count(),
            max_bytes: sealed.len(),
            max_raw_bytes: (format.arrow_streams)(&batch).len(),
        };
        let few_rows = Limits {
            max_rows: enough.max_rows - 1,
            ..enough
        };
        let few_bytes = Limits {
            max_bytes: enough.max_bytes - 1,
            ..enough
        };
        let few_raw = Limits {
            max_raw_bytes: enough.max_raw_bytes - 1,
            ..enough
        };
        for limits in [few_rows, few_bytes, few_raw] {
            assert!(is_too_large(&decode(&sealed, &limits)));
            assert_eq!(memory(&sealed, &limits), 0);
        }
        let opened = decode(&sealed, &enough).expect("fits");
        assert_eq!(sorted(opened), sorted(batch));
    }
}

#[test]
fn a_table_that_is_missing_or_comes_twice_is_malformed() {
    for (format, lists_may_be_empty) in [(FORMAT1, true), (FORMAT2, false)] {
        let batch = (format.full)();
        let tables = format.tables_of_full();
        for (index, table) in tables.iter().enumerate() {
            let mut twice = tables.clone();
            twice.push(table.clone());
            let opened = format.open_with(&twice);
            assert!(is_malformed(&opened), "table {index} twice");
            let mut fewer = tables.clone();
            fewer.remove(index);
            let opened = format.open_with(&fewer);
            let missing = is_malformed(&opened)
                || lists_may_be_empty && opened.is_ok_and(|opened| opened != batch);
            assert!(missing, "table {index} missing");
        }
    }
}

#[test]
fn a_column_that_is_missing_is_never_taken_for_another_number() {
    for format in FORMATS {
        let tables = format.tables_of_full();
        for (index, table) in tables.iter().enumerate() {
            for column in 0..table.num_columns() {
                let name = table.schema().field(column).name().clone();
                let mut fewer = tables.clone();
                fewer[index].remove_column(column);
                // Without one of the higher parts a number is another one, if it needed it.
                let part = name.contains("<<");
                let opened = format.open_with(&fewer);
                assert!(part || is_malformed(&opened), "table {index} column {name}");
            }
        }
    }
}

/// Overwrites some bytes of `raw`.
fn mutate(raw: &mut [u8], changes: &[(prop::sample::Index, u8)]) {
    for (position, value) in changes {
        let position = position.index(raw.len());
        raw[position] = *value;
    }
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(0x7f), Just(0xff), 0..80u8];
    prop::collection::vec((any::<prop::sample::Index>(), value), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_streams_are_other_rows_or_refused(batch in any_batch(), changes in changes()) {
        let known = Batch { others: Vec::new(), ..batch.clone() };
        for (format, batch) in [(FORMAT1, known), (FORMAT2, batch)] {
            let mut raw = (format.arrow_streams)(&batch);
            prop_assume!(!raw.is_empty());
            mutate(&mut raw, &changes);
            if let Ok(opened) = open(&format.around(&batch, &raw)) {
                prop_assert_eq!(opened.row_count(), batch.row_count());
                // Whatever was read can be sealed and opened again.
                let again = open(&wire::encode(&opened)).expect("own batch");
                prop_assert_eq!(sorted(again), sorted(opened));
            }
        }
    }

    #[test]
    fn changed_frames_and_heads_are_other_rows_or_refused(
        batch in any_batch(),
        changes in changes(),
    ) {
        for format in FORMATS {
            let mut bytes = (format.encode)(&batch);
            mutate(&mut bytes, &changes);
            if let Ok(opened) = open(&resum(bytes)) {
                prop_assert!(opened.row_count() <= Limits::default().max_rows);
            }
        }
    }

    #[test]
    fn cut_streams_are_malformed(batch in any_batch(), end in any::<prop::sample::Index>()) {
        for format in FORMATS {
            let raw = (format.arrow_streams)(&batch);
            prop_assume!(!raw.is_empty());
            let cut = &raw[..end.index(raw.len())];
            prop_assert!(open(&format.around(&batch, cut)).is_err());
        }
    }
}
