//! Cells of ClickHouse's `RowBinary` format: integers little-endian, texts and arrays with a LEB128
//! length in front, fixed strings as they are.

use crate::store::Error;

/// Longest text or array of one cell: no row that was accepted has longer ones.
const MOST: usize = 64 << 20;

/// Rows that are being written.
#[derive(Debug, Default)]
pub(super) struct Written(pub(super) Vec<u8>);

impl Written {
    /// A number of so many bytes.
    pub(super) fn number(&mut self, value: u64, bytes: usize) {
        self.0.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.0.extend_from_slice(text);
    }

    pub(super) fn length(&mut self, length: usize) {
        let mut left = length;
        while left >= 0x80 {
            self.0.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        self.0.push(left.to_le_bytes()[0]);
    }
}

/// Rows that are being read. What does not fit is [`Error::Damaged`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a>(pub(super) &'a [u8]);

impl<'a> Cells<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("as long as was asked for"))
    }

    /// A number of so many bytes, eight at most.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Error> {
        let mut all = [0; 8];
        all[..bytes].copy_from_slice(self.bytes(bytes)?);
        Ok(u64::from_le_bytes(all))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Error> {
        Ok(i64::from_le_bytes(self.fixed()?))
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        self.bytes(length)
    }

    pub(super) fn string(&mut self) -> Result<String, Error> {
        let text = self.text()?;
        String::from_utf8(text.to_vec()).map_err(|_| Error::Damaged {
            what: "a text that is no UTF-8",
        })
    }

    pub(super) fn length(&mut self) -> Result<usize, Error> {
        let mut length = 0_usize;
        for shift in (0..28).step_by(7) {
            let [byte] = self.fixed()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (length <= MOST).then_some(length).ok_or(SHORT);
            }
        }
        Err(SHORT)
    }
}

const SHORT: Error = Error::Damaged {
    what: "an answer of ClickHouse that breaks off",
};

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in any::<(u64, i64)>(), text in any::<Vec<u8>>(), length in 0..MOST) {
            let mut written = Written::default();
            written.number(numbers.0, 8);
            written.signed(numbers.1);
            written.text(&text);
            written.length(length);
            let mut cells = Cells(&written.0);
            prop_assert_eq!(cells.number(8).unwrap(), numbers.0);
            prop_assert_eq!(cells.signed().unwrap(), numbers.1);
            prop_assert_eq!(cells.text().unwrap(), &text[..]);
            prop_assert_eq!(cells.length().unwrap(), length);
            assert!(cells.is_empty());
        }

        #[test]
        fn bytes_that_break_off_are_an_error_and_never_a_panic(bytes in any::<Vec<u8>>()) {
            let mut cells = Cells(&bytes);
            while !cells.is_empty() && cells.string().is_ok() {}
            drop(cells.number(8));
        }
    }
}
