//! Files that carry batches by hand, and the receipts that come back: layout only, no signatures.
//!
//! ```text
//! "WYBX" | 1 | 0 0 0 | public key 32 | host 16 | Unix ms 8
//! { length 4 | batch }*
//! 0 4 | number of batches 4 | signature 64
//! ```
//!
//! Numbers are little-endian. Batches are as they would be uploaded, all of one host. The signature
//! (Ed25519, RFC 8032) covers [`CONTEXT`] and the SHA-256 of everything before it, so that a file
//! can be written and checked piece by piece.

use std::fmt::Write as _;

use notation::{hex, unhex};

/// First bytes of an export.
pub const MAGIC: [u8; 4] = *b"WYBX";
/// What is signed begins with this, apart from everything else that a key may sign.
pub const CONTEXT: &[u8] = b"waybill-export 1\n";
/// Bytes of the head.
pub const HEAD_BYTES: usize = 64;
/// Bytes behind the last batch, signature included.
pub const TAIL_BYTES: usize = 8 + SIGNATURE_BYTES;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// First line of a receipt.
const RECEIPT: &str = "waybill-receipt 1";
/// Bytes that a receipt may have.
pub const MAX_RECEIPT_BYTES: usize = 16 << 20;

/// Why bytes are not an export or a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Public half of the key that signed it.
    pub key: [u8; 32],
    /// The host whose batches it holds.
    pub host: [u8; 16],
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
}

impl Head {
    /// The first bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.host);
        bytes.extend_from_slice(&self.made_ms.to_le_bytes());
        bytes
    }
}

/// What stands before a batch of so many bytes; `None` for one that is empty or far too large.
#[must_use]
pub fn length(bytes: usize) -> Option<[u8; 4]> {
    let length = u32::try_from(bytes).ok().filter(|length| *length > 0)?;
    Some(length.to_le_bytes())
}

/// What stands behind the last batch, before the signature.
#[must_use]
pub fn tail(batches: u32) -> [u8; 8] {
    (u64::from(batches) << 32).to_le_bytes()
}

/// A file whose layout is right. Its signature is not looked at here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export<'a> {
    /// What it says of itself.
    pub head: Head,
    /// The batches, undecoded.
    pub batches: Vec<&'a [u8]>,
    /// Everything that the signature covers.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Export<'a> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// It is none, or bytes are missing or too many. It never panics, whatever the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Invalid> {
        const CUT: Invalid = Invalid("the file is cut off, or was changed");
        if !bytes.starts_with(&MAGIC) {
            return Err(Invalid("not a file of waybill-agent export"));
        }
        if bytes.get(4..8) != Some(&[1, 0, 0, 0]) {
            return Err(Invalid(
                "a version of exports that this program does not know",
            ));
        }
        let mut rest = bytes.get(8..).ok_or(CUT)?;
        let head = Head {
            key: take(&mut rest).ok_or(CUT)?,
            host: take(&mut rest).ok_or(CUT)?,
            made_ms: u64::from_le_bytes(take(&mut rest).ok_or(CUT)?),
        };
        let mut batches = Vec::new();
        loop {
            let length = u32::from_le_bytes(take(&mut rest).ok_or(CUT)?);
            if length == 0 {
                break;
            }
            let length = usize::try_from(length).map_err(|_| CUT)?;
            let (batch, behind) = rest.split_at_checked(length).ok_or(CUT)?;
            batches.push(batch);
            rest = behind;
        }
        let count = u32::from_le_bytes(take(&mut rest).ok_or(CUT)?);
        if rest.len() != SIGNATURE_BYTES || u32::try_from(batches.len()) != Ok(count) {
            return Err(CUT);
        }
        Ok(Self {
            head,
            batches,
            signed: &bytes[..bytes.len() - SIGNATURE_BYTES],
            signature: rest,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

/// What arrived of an export.
///
/// ```text
/// waybill-receipt 1
/// host 000102030405060708090a0b0c0d0e0f
/// batches 101112131415161718191a1b1c1d1e1f 1 250
/// crc32 1c291ca3
/// ```
///
/// The sum keeps a damaged medium from deleting the wrong batches. There is no signature, for what a
/// receipt can do is bounded where it is taken: only what was exported is deleted by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The host.
    pub host: [u8; 16],
    /// Run of the agent, first and last number, from 1.
    pub batches: Vec<([u8; 16], u64, u64)>,
}

impl Receipt {
    /// A receipt for these batches of one host, each its run and its number.
    #[must_use]
    pub fn new(host: [u8; 16], mut arrived: Vec<([u8; 16], u64)>) -> Self {
        arrived.sort_unstable();
        let mut batches: Vec<([u8; 16], u64, u64)> = Vec::new();
        for (boot, sequence) in arrived {
            match batches.last_mut() {
                Some((last, _, to)) if *last == boot && sequence <= to.saturating_add(1) => {
                    *to = sequence;
                }
                _ => batches.push((boot, sequence, sequence)),
            }
        }
        Self { host, batches }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{RECEIPT}\nhost {}\n", hex(&self.host));
        for (boot, from, to) in &self.batches {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "batches {} {from} {to}", hex(boot));
        }
        let sum = crate::checksum::crc32(text.as_bytes());
        let _ = writeln!(text, "crc32 {sum:08x}");
        text
    }

    /// Reads the text.
    ///
    /// # Errors
    /// It is none, or was changed. It never panics, whatever the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        const CHANGED: Invalid = Invalid("the receipt is cut off, or was changed");
        let text = std::str::from_utf8(bytes).map_err(|_| CHANGED)?;
        let rest = text
            .strip_prefix(RECEIPT)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(Invalid("not a receipt of waybill-collector import"))?;
        let (rest, sum) = rest.split_once("crc32 ").ok_or(CHANGED)?;
        let signed = text.len() - sum.len() - "crc32 ".len();
        let found = format!("{:08x}\n", crate::checksum::crc32(&bytes[..signed]));
        if sum != found {
            return Err(CHANGED);
        }
        let mut receipt = Self::default();
        let mut lines = rest.lines();
        let host = lines.next().and_then(|line| line.strip_prefix("host "));
        receipt.host = host.and_then(unhex).ok_or(CHANGED)?;
        for line in lines {
            let mut words = line.strip_prefix("batches ").ok_or(CHANGED)?.split(' ');
            let boot = words.next().and_then(unhex).ok_or(CHANGED)?;
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            let (from, to) = (number().ok_or(CHANGED)?, number().ok_or(CHANGED)?);
            if words.next().is_some() || from > to {
                return Err(CHANGED);
            }
            receipt.batches.push((boot, from, to));
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(batches: &[&[u8]]) -> Vec<u8> {
        let head = Head {
            key: [1; 32],
            host: [2; 16],
            made_ms: 3,
        };
        let mut bytes = head.bytes();
        assert_eq!(bytes.len(), HEAD_BYTES);
        for batch in batches {
            bytes.extend(length(batch.len()).expect("a length"));
            bytes.extend_from_slice(batch);
        }
        bytes.extend(tail(u32::try_from(batches.len()).expect("few")));
        bytes.extend([9; SIGNATURE_BYTES]);
        bytes
    }

    #[test]
    fn a_file_is_taken_apart_as_it_was_put_together() {
        let bytes = file(&[b"one", b"two!"]);
        let export = Export::parse(&bytes).expect("an export");
        assert_eq!(export.batches, [&b"one"[..], b"two!"]);
        assert_eq!((export.head.host, export.head.made_ms), ([2; 16], 3));
        assert_eq!(export.signature, [9; SIGNATURE_BYTES]);
        assert_eq!(export.signed.len() + SIGNATURE_BYTES, bytes.len());
        assert_eq!(length(0), None);
    }

    #[test]
    fn a_file_that_is_cut_off_or_continued_is_refused() {
        let bytes = file(&[b"one", b"two!"]);
        for end in 0..bytes.len() {
            assert!(Export::parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Export::parse(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn neighbours_are_one_range_of_a_receipt() {
        let arrived = vec![
            ([1; 16], 3),
            ([0; 16], 9),
            ([1; 16], 2),
            ([1; 16], 2),
            ([1; 16], 5),
        ];
        let receipt = Receipt::new([7; 16], arrived);
        let ranges = [([0; 16], 9, 9), ([1; 16], 2, 3), ([1; 16], 5, 5)];
        assert_eq!(receipt.batches, ranges);
        assert_eq!(Receipt::parse(receipt.text().as_bytes()), Ok(receipt));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
            let _export = Export::parse(&bytes);
            let _export = Export::parse(&[&MAGIC[..], &[1, 0, 0, 0], &bytes].concat());
            prop_assert!(Receipt::parse(&bytes).is_err());
        }

        #[test]
        fn a_receipt_with_another_byte_is_refused(at in 0..110_usize, byte: u8) {
            let receipt = Receipt::new([7; 16], vec![([1; 16], 2), ([1; 16], 3)]);
            let mut bytes = receipt.text().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(Receipt::parse(&bytes).is_err());
        }
    }
}
