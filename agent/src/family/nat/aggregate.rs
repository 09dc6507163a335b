//! Family `nat`: which connections a gateway translated, without their ephemeral ports.
//!
//! Counters only grow while a row is in the table. A row that was quiet for long is forgotten; if
//! it comes back, its `since_ms` is new and it counts from zero.

use std::collections::HashMap;

use wire::{Endpoint, NatRow};

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
    changed: u64,
}

/// The translations of one network namespace.
#[derive(Debug)]
pub struct Translations {
    netns: u32,
    bound: usize,
    rows: HashMap<Key, Counted>,
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
        let interval = self.interval;
        let row = self.rows.entry(key).or_insert(Counted {
            since_ms: now_ms,
            opened: 0,
            changed: interval,
        });
        row.opened += 1;
        row.changed = interval;
    }

    /// Ends the interval: the rows that changed in it, sorted.
    pub fn close(&mut self) -> Vec<NatRow> {
        let interval = self.interval;
        let mut changed: Vec<(&Key, &Counted)> = self
            .rows
            .iter()
            .filter(|(_, row)| row.changed == interval)
            .collect();
        changed.sort_by_key(|(key, _)| **key);
        let rows = changed.into_iter().map(|(key, row)| NatRow {
            total: true,
            netns: self.netns,
            client: key.client,
            dialled: key.dialled,
            source: key.source,
            server: key.server,
            since_ms: row.since_ms,
            opened: row.opened,
        });
        let rows = rows.collect();
        self.rows
            .retain(|_, row| interval - row.changed < QUIET_INTERVALS);
        self.interval += 1;
        rows
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

    use super::*;

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

    #[test]
    fn connections_add_up_without_their_ephemeral_ports() {
        let mut table = Translations::new(7, 10);
        for port in 1..=5 {
            table.fold(&through(port, "10.2.0.2:8080"), 1_000);
        }
        table.fold(&through(6, "10.2.0.3:8080"), 2_000);
        let rows = table.close();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].opened, rows[0].since_ms), (5, 1_000));
        assert_eq!((rows[1].opened, rows[1].netns), (1, 7));
        assert_eq!(table.close(), [], "nothing changed");
        table.fold(&through(9, "10.2.0.2:8080"), 3_000);
        assert_eq!(table.close()[0].opened, 6, "counters are cumulative");
    }

    #[test]
    fn what_keeps_its_addresses_is_no_translation() {
        let mut table = Translations::new(1, 10);
        let mut one = through(1, "10.1.0.100:80");
        one.source = endpoint("10.1.0.1:40000");
        table.fold(&one, 0);
        assert_eq!(table.close(), []);
    }

    #[test]
    fn a_full_table_counts_what_it_turns_away() {
        let mut table = Translations::new(1, 1);
        table.fold(&through(1, "10.2.0.2:80"), 0);
        table.fold(&through(2, "10.2.0.3:80"), 0);
        table.fold(&through(3, "10.2.0.2:80"), 0);
        assert_eq!((table.size(), table.overflowed()), (1, 1));
        assert_eq!(table.close()[0].opened, 2);
    }
}
