//! Any rows survive sealing and opening, and no bytes at all make a reader panic.

#![forbid(unsafe_code)]

mod support;

use proptest::prelude::*;
use support::{any_batch, sorted};
use wire::{Batch, DecodeError, EdgeRow, Limits, decode, encode, memory};

const FORMATS: [fn(&Batch) -> Vec<u8>; 2] = [format1::encode, encode];

/// What format 1 keeps of a batch.
fn as_format1(mut batch: Batch) -> Batch {
    batch.edges.iter_mut().for_each(|row| row.total = true);
    batch.nats.iter_mut().for_each(|row| row.total = true);
    batch.others.clear();
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_survives_sealing_and_opening(batch in any_batch()) {
        let opened = decode(&encode(&batch), &Limits::default()).expect("own batch");
        prop_assert_eq!(sorted(opened), sorted(batch.clone()));
        let opened = decode(&format1::encode(&batch), &Limits::default()).expect("own batch");
        prop_assert_eq!(sorted(opened), sorted(as_format1(batch)));
    }

    #[test]
    fn sealing_does_not_depend_on_the_order_of_rows(batch in any_batch()) {
        let mut turned = batch.clone();
        turned.edges.reverse();
        turned.sightings.reverse();
        turned.events.reverse();
        turned.processes.reverse();
        turned.nats.reverse();
        for encode in FORMATS {
            let one = decode(&encode(&batch), &Limits::default()).expect("own batch");
            let other = decode(&encode(&turned), &Limits::default()).expect("own batch");
            prop_assert_eq!(sorted(one), sorted(other));
        }
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_batch(
        batch in any_batch(),
        position in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        for encode in FORMATS {
            let mut bytes = encode(&batch);
            let position = position.index(bytes.len());
            bytes[position] ^= 1u8 << bit;
            prop_assert!(matches!(
                decode(&bytes, &Limits::default()),
                Err(DecodeError::Malformed(_) | DecodeError::Unsupported(_))
            ));
        }
    }

    #[test]
    fn a_cut_batch_is_malformed(batch in any_batch(), end in any::<prop::sample::Index>()) {
        for encode in FORMATS {
            let bytes = encode(&batch);
            let cut = &bytes[..end.index(bytes.len())];
            prop_assert!(matches!(decode(cut, &Limits::default()), Err(DecodeError::Malformed(_))));
        }
    }

    #[test]
    fn no_batch_takes_more_memory_than_its_head_says(batch in any_batch()) {
        for encode in FORMATS {
            let bytes = encode(&batch);
            prop_assert!(memory(&bytes, &Limits::default()) >= batch.edges.len() * size_of::<EdgeRow>());
        }
    }

    #[test]
    fn arbitrary_bytes_are_malformed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, &Limits::default()).is_err());
    }
}
