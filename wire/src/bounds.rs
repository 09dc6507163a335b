//! How large rows may be, and what a batch takes once it is unpacked.

use crate::DecodeError;
use crate::rows::{HostRow, ProcessRow};

/// Bounds a reader puts on one batch before it allocates for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Compressed bytes.
    pub max_bytes: usize,
    /// Decompressed bytes.
    pub max_raw_bytes: usize,
    /// Rows of all families.
    pub max_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_raw_bytes: 64 << 20,
            max_rows: 200_000,
        }
    }
}

/// Most bytes of a host row, as [`HostRow::bytes`] counts them.
pub const MAX_HOST_BYTES: usize = 256 << 10;
/// Most bytes of each of a host's own names: host, kernel, agent, mode.
pub const MAX_HOST_NAME: usize = 255;
/// Most bytes of a process row, as [`ProcessRow::bytes`] counts them.
pub const MAX_PROCESS_BYTES: usize = 64 << 10;

/// Most pairs of a list of a host row.
const MAX_PAIRS: usize = 4096;
/// Bytes that a pair takes beside its text.
const PAIR_BYTES: usize = 16;

/// Bytes of texts once unpacked for each byte before, at most: an empty text is an offset of four
/// bytes, and a text of 24 bytes in its column and once more in its row.
pub(crate) const RAW_FACTOR: usize = 16;

/// A small batch may grow by more than a large one.
const UNPACKED_BYTES: usize = 16 << 20;

/// Most bytes of a batch once it is unpacked, beside those it is unpacked from.
pub(crate) fn unpacked(limits: &Limits) -> usize {
    limits
        .max_raw_bytes
        .saturating_mul(2)
        .saturating_add(UNPACKED_BYTES)
}

/// Refuses what would take more.
pub(crate) fn check(bytes: usize, limits: &Limits) -> Result<(), DecodeError> {
    let limit = unpacked(limits);
    if bytes <= limit {
        return Ok(());
    }
    Err(DecodeError::TooLarge {
        what: "bytes of unpacked rows",
        limit,
    })
}

/// Refuses host rows that are together longer than so many may be, before they are unpacked.
pub(crate) fn check_hosts(text_bytes: usize, rows: u32) -> Result<(), DecodeError> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    if text_bytes <= rows.saturating_mul(MAX_HOST_BYTES) {
        return Ok(());
    }
    let what = format!("a host row of more than {MAX_HOST_BYTES} bytes");
    Err(DecodeError::Malformed(what))
}

impl HostRow {
    /// Bytes of its texts, and 16 for each pair and counter.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [&self.hostname, &self.kernel, &self.agent, &self.mode];
        let lists = [&self.plan, &self.facts, &self.paths_off];
        let pairs = lists.into_iter().map(|list| pairs(list)).sum::<usize>();
        let counters = self
            .counters
            .iter()
            .map(|(name, _)| name.len() + PAIR_BYTES);
        texts.iter().map(|text| text.len()).sum::<usize>() + pairs + counters.sum::<usize>()
    }

    /// Makes it a row that every reader takes: long names are cut, and pairs at the end of lists
    /// left out, of destinations first; the number of texts that were cut and pairs left out.
    pub fn fit(&mut self) -> u64 {
        let mut lost = 0;
        for text in [
            &mut self.hostname,
            &mut self.kernel,
            &mut self.agent,
            &mut self.mode,
        ] {
            if text.len() > MAX_HOST_NAME {
                text.truncate(text.floor_char_boundary(MAX_HOST_NAME));
                lost += 1;
            }
        }
        lost += cut(&mut self.counters, MAX_PAIRS);
        for list in [&mut self.paths_off, &mut self.facts, &mut self.plan] {
            lost += cut(list, MAX_PAIRS);
        }
        let mut over = self.bytes().saturating_sub(MAX_HOST_BYTES);
        for list in [&mut self.paths_off, &mut self.facts, &mut self.plan] {
            while over > 0
                && let Some((key, value)) = list.pop()
            {
                over = over.saturating_sub(key.len() + value.len() + PAIR_BYTES);
                lost += 1;
            }
        }
        while over > 0
            && let Some((name, _)) = self.counters.pop()
        {
            over = over.saturating_sub(name.len() + PAIR_BYTES);
            lost += 1;
        }
        lost
    }
}

impl ProcessRow {
    /// Bytes of its texts, and 16 for each tag.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.comm,
            &self.exe,
            &self.cgroup,
            &self.container,
            &self.unit,
            &self.service,
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + pairs(&self.tags)
    }
}

fn pairs(list: &[(String, String)]) -> usize {
    let bytes = |(key, value): &(String, String)| key.len() + value.len() + PAIR_BYTES;
    list.iter().map(bytes).sum()
}

fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let lost = list.len().saturating_sub(most);
    list.truncate(most);
    lost as u64
}

#[cfg(test)]
mod tests {
    use super::{MAX_HOST_BYTES, MAX_HOST_NAME};
    use crate::rows::HostRow;

    fn pairs(n: usize, bytes: usize) -> Vec<(String, String)> {
        (0..n)
            .map(|at| (format!("{at:08}"), "é".repeat(bytes / 2)))
            .collect()
    }

    #[test]
    fn a_row_that_fits_stays_as_it_is() {
        let row = HostRow {
            hostname: String::from("one"),
            plan: pairs(20, 100),
            facts: pairs(50, 100),
            paths_off: pairs(1000, 100),
            counters: vec![(String::from("a_total"), 7)],
            ..HostRow::default()
        };
        let mut same = row.clone();
        assert_eq!(same.fit(), 0);
        assert_eq!(same, row);
    }

    #[test]
    fn a_row_that_does_not_fit_loses_its_ends_and_says_how_many() {
        let mut row = HostRow {
            hostname: "é".repeat(200),
            plan: pairs(20, 100),
            facts: pairs(50, 100),
            paths_off: pairs(5000, 100),
            counters: vec![(String::from("a_total"), 7)],
            ..HostRow::default()
        };
        let lost = row.fit();
        assert!(row.bytes() <= MAX_HOST_BYTES);
        assert!(row.bytes() > MAX_HOST_BYTES - 200);
        assert_eq!(row.hostname.len(), MAX_HOST_NAME - 1);
        assert_eq!((row.plan.len(), row.facts.len()), (20, 50));
        assert_eq!(lost, 1 + 5000 - row.paths_off.len() as u64);
    }

    #[test]
    fn whatever_a_row_is_full_of_it_fits_afterwards() {
        let huge = || vec![(String::from("k"), "v".repeat(MAX_HOST_BYTES))];
        let mut row = HostRow {
            plan: huge(),
            facts: huge(),
            counters: (0..5000).map(|n| (format!("{n:0100}"), n)).collect(),
            ..HostRow::default()
        };
        assert!(row.fit() > 900);
        assert!(row.bytes() <= MAX_HOST_BYTES);
    }
}
