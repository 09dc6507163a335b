//! Tables that no program of ours makes: stored within bounds or counted, shown, and never a panic.

use proptest::prelude::{Just, any};
use wire::schema::{Column, Kind, Shape, Table, Type};
use wire::{DynamicTable, Values};

use super::*;
use crate::store::Which;

const ROWS: usize = 3;

fn values(kind: &Type) -> impl Strategy<Value = Values> + use<> {
    let (kind, max) = (kind.clone(), kind.max());
    let numbers = prop::collection::vec(any::<u64>(), ROWS);
    let texts = prop::collection::vec("\\PC{0,8}", ROWS);
    (numbers, texts).prop_map(move |(numbers, texts)| {
        let pairs = || texts.iter().zip(&numbers);
        match kind {
            Type::Text => Values::Texts(texts),
            Type::Address => {
                let wide = numbers.iter().map(|n| u128::from(*n).to_be_bytes());
                Values::Addresses(wide.collect())
            }
            Type::Histogram => {
                let of = |n: &u64| Histogram {
                    buckets: [*n; 32],
                    sum_us: *n,
                };
                Values::Histograms(numbers.iter().map(of).collect())
            }
            Type::Labels => Values::Labels(
                texts
                    .iter()
                    .map(|text| vec![(text.clone(), text.clone())])
                    .collect(),
            ),
            Type::Counts => {
                Values::Counts(pairs().map(|(text, n)| vec![(text.clone(), *n)]).collect())
            }
            _ if max == u64::MAX => Values::Numbers(numbers),
            _ => Values::Numbers(numbers.iter().map(|n| n % (max + 1)).collect()),
        }
    })
}

fn column() -> impl Strategy<Value = (Column, Values)> {
    let kinds = [
        Kind::Dimension,
        Kind::Counter,
        Kind::Gauge,
        Kind::Histogram,
        Kind::Text,
        Kind::Address,
        Kind::Time,
    ];
    let types = [
        Type::Bool,
        Type::U8,
        Type::U64,
        Type::Enum(vec![String::from("one")]),
        Type::Columns,
        Type::Text,
        Type::Address,
        Type::Histogram,
        Type::Labels,
        Type::Counts,
    ];
    let names = [
        "total",
        "since_ms",
        "process_id",
        "absent",
        "a",
        "b",
        "host",
    ];
    let units = ["", "ms", "us", "By"];
    let select = prop::sample::select::<&str>;
    let types = prop::sample::select(types.to_vec());
    let column = (
        select(names.to_vec()),
        prop::sample::select(kinds.to_vec()),
        types,
        select(units.to_vec()),
        any::<Option<u8>>(),
    );
    column.prop_flat_map(|(name, kind, types, unit, absent)| {
        let filled = values(&types);
        let column = Column {
            name: name.to_owned(),
            kind,
            values: types,
            unit: unit.to_owned(),
            help: String::new(),
            since: 1,
            absent,
        };
        (Just(column), filled)
    })
}

fn table() -> impl Strategy<Value = DynamicTable> {
    let shapes = [Shape::Series, Shape::Events, Shape::Links, Shape::State];
    let shapes = prop::sample::select(shapes.to_vec());
    let columns = prop::collection::vec(column(), 1..7);
    (shapes, columns).prop_map(|(shape, mut columns)| {
        columns.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        columns.dedup_by(|(one, _), (other, _)| one.name == other.name);
        let (columns, filled) = columns.into_iter().unzip();
        let table = Table {
            name: String::from("hostile"),
            family: String::from("hostile"),
            version: 1,
            shape,
            help: String::new(),
            columns,
        };
        DynamicTable {
            table: std::borrow::Cow::Owned(table),
            rows: ROWS,
            columns: filled,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn whatever_a_table_is_described_as_it_is_stored_and_shown_or_counted(
        tables in prop::collection::vec(table(), 1..6),
    ) {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        for (sequence, table) in (1..).zip(&tables) {
            assert_eq!(table.table.check(), Ok(()));
            let mut batch = batch(sequence, vec![]).batch;
            batch.others.push(table.clone());
            // As it travels.
            let limits = wire::Limits::default();
            batch = wire::decode(&wire::encode(&batch), &limits).unwrap();
            assert_eq!(put(&mut store, &opened(batch)), STORED);
        }
        for (silent, intervals) in [(false, false), (true, false), (true, true)] {
            let which = Which {
                table: String::from("hostile"),
                host: None,
                intervals,
                silent,
                most: 100,
            };
            let mut reader = Reader::open(&path(&dir)).unwrap();
            let answer = reader.rows(&which, ALL, &mut rows(10_000)).unwrap();
            let shown = answer.tables.iter().map(|table| table.rows.len()).sum::<usize>();
            assert!(shown > 0);
            crate::table::rows(&mut Vec::new(), &answer).unwrap();
            assert!(serde_json::to_string(&answer).is_ok());
        }
    }
}
