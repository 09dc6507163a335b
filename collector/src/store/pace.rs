//! How long a commit waits for more batches.
//!
//! A commit writes some pages whatever is in it. Where many hosts send, those that arrive within
//! [`GATHER`] share one. An agent sends the next batch after the answer: where hosts send what they
//! had to keep, batches wait for [`HURRY`] at most, and where few hosts send, not at all.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The longest that a batch waits for others: a tenth of an interval, so that of 100 hosts some ten
/// share a commit.
const GATHER: Duration = Duration::from_secs(1);
/// The same where a host sent twice within [`LOOK`].
const HURRY: Duration = Duration::from_millis(50);
/// Hosts that sent within [`LOOK`] from which on it waits.
const MANY: usize = 6;
/// How long hosts are counted.
const LOOK: Duration = Duration::from_secs(1);
/// Most hosts that are known to have sent: of more, each is taken for one that did not.
const MOST: usize = 4096;

/// Who sent lately.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    hosts: HashSet<[u8; 16]>,
    many: bool,
    most: usize,
}

impl Pace {
    /// At most so many batches are on their way at once, and at most so many share a commit.
    pub(super) fn new(now: Instant, on_their_way: usize, together: usize) -> Self {
        Self {
            since: now,
            hosts: HashSet::new(),
            many: false,
            most: on_their_way.min(together).max(1),
        }
    }

    /// Most batches in one commit: for more than may be on their way it would wait in vain.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A batch of a host has arrived; gives how long those that come next may be waited for.
    pub(super) fn arrived(&mut self, host: [u8; 16], now: Instant) -> Duration {
        if now.saturating_duration_since(self.since) >= LOOK {
            self.many = self.hosts.len() >= MANY;
            self.hosts.clear();
            self.since = now;
        }
        let again = self.hosts.contains(&host);
        if self.hosts.len() < MOST {
            self.hosts.insert(host);
        }
        match (self.many, again) {
            (false, _) => Duration::ZERO,
            (true, true) => HURRY,
            (true, false) => GATHER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the last of so many batches waits, that come over two seconds from so many hosts.
    fn waits(batches: u32, hosts: u32) -> Duration {
        let begin = Instant::now();
        let mut pace = Pace::new(begin, 16, 32);
        let mut last = Duration::ZERO;
        for n in 0..batches {
            let mut host = [0; 16];
            host[..4].copy_from_slice(&(n % hosts).to_be_bytes());
            last = pace.arrived(host, begin + 2 * LOOK * n / batches);
        }
        last
    }

    #[test]
    fn batches_of_many_hosts_share_commits_and_others_never_wait() {
        assert_eq!(waits(200, 1000), GATHER);
        assert_eq!(waits(2000, 1), Duration::ZERO);
        assert_eq!(waits(2000, 5), Duration::ZERO);
        assert_eq!(waits(10, 1000), Duration::ZERO);
        assert_eq!(waits(2000, 19), HURRY, "they have more to send");
    }

    #[test]
    fn it_ends_when_they_have_gone() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin, 16, 32);
        for host in 0..30 {
            pace.arrived([host; 16], begin);
        }
        assert_eq!(pace.arrived([0; 16], begin + LOOK), GATHER);
        assert_eq!(pace.arrived([0; 16], begin + 2 * LOOK), Duration::ZERO);
    }
}
