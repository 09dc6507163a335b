//! Each address of a batch once, sorted; the families refer to it by its number.

use std::collections::BTreeSet;

use crate::DecodeError;
use crate::overflow::Overflow;
use crate::stream::ArrowTable;
use crate::table::{Number, TableReader, TableWriter};

pub(crate) const TABLE: &str = "address";

const HIGH: Number = Number::delta("high", 8);
const LOW: Number = Number::delta("low", 8);

/// The addresses of a batch.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<u128>);

impl Addresses {
    pub(crate) fn collect(all: impl Iterator<Item = [u8; 16]>) -> Self {
        Self(
            all.map(u128::from_be_bytes)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        )
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of an address that [`Self::collect`] saw.
    pub(crate) fn number(&self, address: [u8; 16]) -> u64 {
        let found = self.0.binary_search(&u128::from_be_bytes(address));
        found.expect("the encoder collected every address it writes") as u64
    }

    /// The address of a decoded number.
    pub(crate) fn get(&self, number: u64) -> Result<[u8; 16], DecodeError> {
        usize::try_from(number)
            .ok()
            .and_then(|index| self.0.get(index))
            .map(|address| address.to_be_bytes())
            .ok_or_else(|| DecodeError::Malformed(format!("no address has the number {number}")))
    }

    pub(crate) fn write(&self, overflow: &mut Overflow) -> ArrowTable {
        let mut writer = TableWriter::new(TABLE, self.0.len(), overflow);
        writer.number(&HIGH, self.0.iter().map(|address| halves(*address).0));
        writer.number(&LOW, self.0.iter().map(|address| halves(*address).1));
        writer.finish()
    }

    pub(crate) fn read(reader: &TableReader<'_>) -> Result<Self, DecodeError> {
        let (highs, lows) = (reader.number(&HIGH)?, reader.number(&LOW)?);
        let whole = |(high, low)| u128::from(high) << 64 | u128::from(low);
        Ok(Self(highs.into_iter().zip(lows).map(whole).collect()))
    }
}

fn halves(address: u128) -> (u64, u64) {
    let bytes = address.to_be_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    (u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
}
