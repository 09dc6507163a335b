//! Family `host`: facts, plan and the agent's own counters.

use super::{PAIR_BYTES, pairs_bytes};
use crate::table::table;

/// Most bytes of a host row, as [`HostRow::bytes`] counts them.
pub const MAX_HOST_BYTES: usize = 256 << 10;
/// Most bytes of each of a host's own names: host, kernel, agent, mode.
pub const MAX_HOST_NAME: usize = 255;

/// Most pairs of a list of a host row.
const MAX_PAIRS: usize = 4096;

table! {
    /// The host itself: facts, plan and the agent's own counters.
    HostRow is State "host" of "host" version 1,
    sorted by |row| row.started_ms;

    /// Host name.
    hostname: String = Text "",
    /// `uname -r`, reported and never compared.
    kernel: String = Text "",
    /// Agent version.
    agent: String = Text "",
    /// Injection mode in force: `sockops`, `tc-clone` or `observe`.
    mode: String = Text "",
    /// Family, variant or skip, and the reason, in an operator's words.
    plan: Vec<(String, String)> = Text "",
    /// Facts found, sorted by name.
    facts: Vec<(String, String)> = Text "",
    /// Destinations for which the option is off, with reason and expiry.
    paths_off: Vec<(String, String)> = Text "",
    /// The agent's counters, totals since the agent started, sorted by name.
    counters: Vec<(String, u64)> = Counter "",
    /// Time at which the agent started.
    started_ms: u64 = Time "ms",
}

impl HostRow {
    /// Bytes of its texts, and 16 for each pair and counter.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [&self.hostname, &self.kernel, &self.agent, &self.mode];
        let lists = [&self.plan, &self.facts, &self.paths_off];
        let pairs = lists
            .into_iter()
            .map(|list| pairs_bytes(list))
            .sum::<usize>();
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

fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let lost = list.len().saturating_sub(most);
    list.truncate(most);
    lost as u64
}

#[cfg(test)]
mod tests {
    use super::HostRow;
    use super::{MAX_HOST_BYTES, MAX_HOST_NAME};

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
