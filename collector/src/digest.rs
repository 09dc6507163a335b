//! Digests, keys and ids as bytes and as text.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The inverse of [`hex`] for `N` bytes; upper-case digits are taken as well.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer texts are not even looked at.
    let text = Some(text).filter(|text| text.len() == 2 * N)?;
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{hex, sha256, unhex};

    #[test]
    fn digits_are_lower_case_and_both_cases_are_read() {
        assert_eq!(hex(&[0, 0xa5, 0xff]), "00a5ff");
        assert_eq!(unhex("00a5ff"), Some([0, 0xa5, 0xff]));
        assert_eq!(unhex("00A5fF"), Some([0, 0xa5, 0xff]));
        assert_eq!(unhex::<0>(""), Some([]));
    }

    #[test]
    fn what_has_another_length_or_is_no_digit_is_refused() {
        for bad in [
            "", "0", "00a5f", "00a5ff0", "00a5fg", "+0a5ff", "00 a5f", "é0a5f",
        ] {
            assert_eq!(unhex::<3>(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-4, the example of one block.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), abc);
    }
}
