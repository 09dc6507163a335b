//! Histograms as blobs: mostly zeros, so a byte per bucket is enough most of the time.

use wire::{HISTOGRAM_BUCKETS, Histogram};

/// Buckets and sum as LEB128 numbers, without the zeros at the end.
#[cfg(test)]
pub(super) fn encode(histogram: &Histogram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HISTOGRAM_BUCKETS + 9);
    let mut used = 0;
    // The sum goes first: it is the one number that is rarely zero where any is not.
    for mut value in std::iter::once(histogram.sum_us).chain(histogram.buckets) {
        let zero = value == 0;
        while value >= 0x80 {
            bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        bytes.push(value.to_le_bytes()[0]);
        if !zero {
            used = bytes.len();
        }
    }
    bytes.truncate(used);
    bytes
}

/// The inverse of [`encode`]; `None` for bytes it did not make.
pub(super) fn decode(bytes: &[u8]) -> Option<Histogram> {
    let mut numbers = [0_u64; HISTOGRAM_BUCKETS + 1];
    let mut rest = bytes;
    for number in &mut numbers {
        if rest.is_empty() {
            break;
        }
        let mut shift = 0_u32;
        loop {
            let (byte, tail) = rest.split_first()?;
            rest = tail;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (bits << shift) >> shift != bits {
                return None;
            }
            *number |= bits << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
    }
    let (sum_us, buckets) = numbers.split_first()?;
    let buckets = buckets.try_into().ok()?;
    rest.is_empty().then_some(Histogram {
        buckets,
        sum_us: *sum_us,
    })
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::prelude::{any, proptest};
    use wire::Histogram;

    #[test]
    fn an_empty_histogram_takes_no_space() {
        assert!(encode(&Histogram::default()).is_empty());
    }

    proptest! {
        #[test]
        fn a_histogram_survives(buckets in any::<[u64; 32]>(), shift in 0_u32..64, sum_us: u64) {
            let buckets = buckets.map(|n| n.checked_shr(shift).unwrap_or(0));
            let histogram = Histogram { buckets, sum_us };
            assert_eq!(decode(&encode(&histogram)), Some(histogram));
        }

        #[test]
        fn other_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes).map(|_| ());
        }
    }
}
