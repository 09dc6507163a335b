//! Any rows survive sealing and opening, and no bytes at all make a reader panic.

#![forbid(unsafe_code)]

mod support;

use proptest::prelude::*;
use support::{any_batch, sorted};
use wire::{DecodeError, Limits, decode, encode};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_batch_survives_sealing_and_opening(batch in any_batch()) {
        let opened = decode(&encode(&batch), &Limits::default()).expect("own batch");
        prop_assert_eq!(sorted(opened), sorted(batch));
    }

    #[test]
    fn sealing_does_not_depend_on_the_order_of_rows(mut batch in any_batch()) {
        let sealed = encode(&batch);
        batch.edges.reverse();
        batch.sightings.reverse();
        batch.events.reverse();
        let opened = decode(&encode(&batch), &Limits::default()).expect("own batch");
        prop_assert_eq!(sorted(opened), sorted(decode(&sealed, &Limits::default()).expect("own batch")));
    }

    #[test]
    fn a_flipped_bit_is_never_taken_for_a_batch(
        batch in any_batch(),
        position in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let mut bytes = encode(&batch);
        let position = position.index(bytes.len());
        bytes[position] ^= 1u8 << bit;
        prop_assert!(matches!(
            decode(&bytes, &Limits::default()),
            Err(DecodeError::Malformed(_) | DecodeError::Unsupported(_))
        ));
    }

    #[test]
    fn a_cut_batch_is_malformed(batch in any_batch(), end in any::<prop::sample::Index>()) {
        let bytes = encode(&batch);
        let cut = &bytes[..end.index(bytes.len())];
        prop_assert!(matches!(decode(cut, &Limits::default()), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn arbitrary_bytes_are_malformed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, &Limits::default()).is_err());
    }
}
