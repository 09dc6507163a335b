//! Family `nat`: which connections a gateway translated, without their ephemeral ports.
//!
//! Counters only grow while a row is in the table. A row that was quiet for long is forgotten; if
//! it comes back, its `since_ms` is new and it counts from zero.

use std::collections::HashMap;

use wire::{Endpoint, NatRow};

use crate::family::totals::{Close, Owed, Totals};
use crate::spool::Lost;

/// Intervals without a change after which a row is forgotten: an hour at 10 s.
const QUIET_INTERVALS: u64 = 360;

/// Both of conntrack's tuples, as seen at the connection's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Translation {
    /// Who dialled; the port is ephemeral.
    pub client: Endpoint,
    /// What it dialled.
    pub dialled: Endpoint,
    /// With which address the connection went on; the port is ephemeral.
    pub source: Endpoint,
    /// Where it went.
    pub server: Endpoint,
}

impl Translation {
    /// Whether anything but ephemeral ports was translated.
    #[must_use]
    pub fn changes_addresses(&self) -> bool {
        self.client.addr != self.source.addr || self.dialled != self.server
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    client: [u8; 16],
    dialled: Endpoint,
    source: [u8; 16],
    server: Endpoint,
}

#[derive(Debug)]
struct Counted {
    since_ms: u64,
    opened: u64,
    /// The part of `opened` that this interval added.
    added: u64,
    owed: Owed,
    changed: u64,
}

/// The translations of one network namespace.
#[derive(Debug)]
pub struct Translations {
    netns: u32,
    bound: usize,
    rows: HashMap<Key, Counted>,
    totals: Totals,
    interval: u64,
    overflowed: u64,
}

impl Translations {
    /// An empty table for at most `bound` rows.
    #[must_use]
    pub fn new(netns: u32, bound: usize) -> Self {
        Self {
            netns,
            bound,
            rows: HashMap::new(),
            totals: Totals::new(bound),
            interval: 1,
            overflowed: 0,
        }
    }

    /// Takes one connection; one that was not translated is not kept.
    pub fn fold(&mut self, one: &Translation, now_ms: u64) {
        if !one.changes_addresses() {
            return;
        }
        let key = Key {
            client: one.client.addr,
            dialled: one.dialled,
            source: one.source.addr,
            server: one.server,
        };
        if self.rows.len() >= self.bound && !self.rows.contains_key(&key) {
            self.overflowed += 1;
            return;
        }
        let (interval, totals) = (self.interval, &mut self.totals);
        let row = self.rows.entry(key).or_insert_with(|| Counted {
            since_ms: now_ms,
            opened: 0,
            added: 0,
            owed: totals.series(),
            changed: interval,
        });
        row.opened += 1;
        row.added += 1;
        row.changed = interval;
    }

    /// Rows of these batches will never arrive: what they said is told again as totals.
    pub fn lost(&mut self, batches: Lost) {
        self.totals.lost(batches);
    }

    /// Whether totals are owed that found no place at the last close.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.totals.is_short()
    }

    /// Ends the interval: what it added, and the totals whose turn it is, sorted.
    pub fn close(&mut self, close: &Close) -> Vec<NatRow> {
        let (interval, netns, totals) = (self.interval, self.netns, &mut self.totals);
        let mut rows = Vec::new();
        totals.begin(close);
        self.rows.retain(|key, counted| {
            let added = std::mem::take(&mut counted.added);
            let ends = interval - counted.changed >= QUIET_INTERVALS;
            let tells = totals.tells(&mut counted.owed, close, (added > 0, ends));
            let kinds = [(added > 0, false, added), (tells, true, counted.opened)];
            for (_, total, opened) in kinds.into_iter().filter(|(there, ..)| *there) {
                rows.push((*key, total, counted.since_ms, opened));
            }
            !ends || counted.owed.owes()
        });
        totals.end();
        self.interval += 1;
        rows.sort_unstable();
        let row = |(key, total, since_ms, opened): (Key, bool, u64, u64)| NatRow {
            netns,
            client: key.client,
            dialled: key.dialled,
            source: key.source,
            server: key.server,
            since_ms,
            total,
            opened,
        };
        rows.into_iter().map(row).collect()
    }

    /// Rows in the table.
    #[must_use]
    pub fn size(&self) -> usize {
        self.rows.len()
    }

    /// Connections that found the table full.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::clock::Now;

    fn endpoint(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn through(port: u16, server: &str) -> Translation {
        Translation {
            client: endpoint(&format!("10.1.0.1:{port}")),
            dialled: endpoint("10.1.0.100:80"),
            source: endpoint(&format!("10.2.0.1:{port}")),
            server: endpoint(server),
        }
    }

    /// The end of an interval.
    fn end(batch: u64) -> Close {
        Close {
            now: Now::default(),
            batch,
            length: Duration::from_secs(10),
            is_last: false,
            lost: None,
        }
    }

    #[test]
    fn connections_add_up_without_their_ephemeral_ports() {
        let mut table = Translations::new(7, 10);
        for port in 1..=5 {
            table.fold(&through(port, "10.2.0.2:8080"), 1_000);
        }
        table.fold(&through(6, "10.2.0.3:8080"), 2_000);
        let rows = table.close(&end(1));
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].opened, rows[0].since_ms), (5, 1_000));
        assert_eq!((rows[1].opened, rows[1].netns), (1, 7));
        assert_eq!(table.close(&end(2)), [], "nothing changed");
        table.fold(&through(9, "10.2.0.2:8080"), 3_000);
        table.lost(Lost::from(1));
        let rows = table.close(&end(3));
        let rows: Vec<_> = rows.iter().map(|row| (row.total, row.opened)).collect();
        assert_eq!(rows, [(false, 1), (true, 6), (true, 1)]);
        let last = Close {
            is_last: true,
            ..end(4)
        };
        table.fold(&through(10, "10.2.0.3:8080"), 4_000);
        let rows = table.close(&last);
        let rows: Vec<_> = rows.iter().map(|row| (row.total, row.opened)).collect();
        assert_eq!(rows, [(false, 1), (true, 2)]);
    }

    #[test]
    fn what_was_quiet_for_long_is_forgotten_with_its_total_told() {
        let mut table = Translations::new(7, 10);
        table.fold(&through(1, "10.2.0.2:80"), 1_000);
        let rows = (1..=QUIET_INTERVALS + 1).flat_map(|batch| table.close(&end(batch)));
        let rows: Vec<_> = rows.map(|row| (row.total, row.opened)).collect();
        assert_eq!(rows, [(false, 1), (true, 1)]);
        assert_eq!(table.size(), 0);
    }

    #[test]
    fn what_keeps_its_addresses_is_no_translation() {
        let mut table = Translations::new(1, 10);
        let mut one = through(1, "10.1.0.100:80");
        one.source = endpoint("10.1.0.1:40000");
        table.fold(&one, 0);
        assert_eq!(table.close(&end(1)), []);
    }

    #[test]
    fn a_full_table_counts_what_it_turns_away() {
        let mut table = Translations::new(1, 1);
        table.fold(&through(1, "10.2.0.2:80"), 0);
        table.fold(&through(2, "10.2.0.3:80"), 0);
        table.fold(&through(3, "10.2.0.2:80"), 0);
        assert_eq!((table.size(), table.overflowed()), (1, 1));
        assert_eq!(table.close(&end(1))[0].opened, 2);
    }
}
