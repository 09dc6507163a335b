//! Reading what the kernel has for the observer, in turns that end.
//!
//! News of closed sockets are younger than the packets that explain them. So a round takes news,
//! reads the packets that were there by then, and only then folds the news.

use anyhow::Result;

use super::round::Round;
use super::{Observer, TICK, role};
use crate::clock::{self, Now};
use crate::family::connection::event::Connection;
use crate::sock_diag::Socket;

/// News of one round, over all namespaces.
const NEWS: usize = 1024;
/// ... of each at least.
const LEAST_NEWS: usize = 16;
/// Packets and news of one turn.
const TURN: usize = 2048;

const TICK_NS: u64 = TICK.as_secs() * 1_000_000_000 + TICK.subsec_nanos() as u64;

impl Observer {
    /// Reads what happened since the last call, as much as one turn may take; true when there may be
    /// more. Called at least every [`TICK`].
    ///
    /// # Errors
    /// A socket cannot be read any more.
    pub fn tick(&mut self, now: Now) -> Result<(Vec<Connection>, bool)> {
        self.drain(now, TURN)
    }

    /// The same within a budget of about as many packets and news together.
    fn drain(&mut self, now: Now, budget: usize) -> Result<(Vec<Connection>, bool)> {
        let now_ns = now.monotonic_ns();
        let mut left = budget;
        let more = loop {
            let round = match self.round.take() {
                Some(round) => round,
                None => self.take_news(),
            };
            left = left.saturating_sub(round.news.len());
            let (round, read) = self.read_packets(round, now.monotonic_zero_ns, left)?;
            left = left.saturating_sub(read);
            if !round.unread.is_empty() {
                self.round = Some(round);
                break true;
            }
            self.fold_news(&round.news, now_ns);
            // All that the kernel said by now was heard.
            if !round.more {
                break self.table.settle(now_ns, budget) | round.late;
            }
            if left == 0 {
                break true;
            }
        };
        self.behind = more;
        if !more || now_ns.saturating_sub(self.asked_ns) >= TICK_NS {
            self.asked_ns = now_ns;
            self.find_owners(now_ns);
        }
        Ok((self.finish(now_ns), more))
    }

    fn take_news(&mut self) -> Round {
        let mut round = Round {
            unread: self.spaces.keys().copied().collect(),
            ..Round::default()
        };
        let most = (NEWS / self.spaces.len().max(1)).max(LEAST_NEWS);
        for (index, space) in &mut self.spaces {
            let counted = &mut self.counted;
            let taken = space.take_news(most, |socket| {
                counted.news += 1;
                match socket {
                    Some(socket) => round.news.push((*index, socket)),
                    None => counted.invalid += 1,
                }
            });
            round.more |= taken.more;
            if taken.dropped > 0 {
                self.counted.news_lost += taken.dropped;
                self.table.mistrust(clock::monotonic_ns());
            }
        }
        round.until_ns = clock::monotonic_ns();
        round
    }

    /// Reads packets until those of the round are read or `most` is reached.
    fn read_packets(
        &mut self,
        mut round: Round,
        zero_ns: u64,
        most: usize,
    ) -> Result<(Round, usize)> {
        let mut read = 0;
        while let Some(index) = round.unread.front().copied() {
            let Some(space) = self.spaces.get_mut(&index) else {
                round.unread.pop_front();
                continue;
            };
            let mut last_ns = 0;
            let table = &mut self.table;
            let looked = space.read((index, self.prefix, zero_ns), |seen, segment| {
                last_ns = last_ns.max(seen.time_ns);
                table.segment(seen, segment);
            });
            self.counted.packets += looked.packets;
            self.counted.invalid += looked.invalid;
            let late = last_ns > round.until_ns;
            if !looked.more || late {
                round.late |= looked.more;
                round.unread.pop_front();
                let statistics = space.statistics()?;
                self.counted.attempted += u64::from(statistics.packets);
                if statistics.drops > 0 {
                    self.counted.drops += u64::from(statistics.drops);
                    self.table.missed_packets(clock::monotonic_ns());
                }
            }
            read += usize::try_from(looked.packets).unwrap_or(usize::MAX);
            if read >= most {
                break;
            }
        }
        Ok((round, read))
    }

    fn fold_news(&mut self, news: &[(u16, Socket)], now_ns: u64) {
        // Of a connection whose packets were not seen only the listener tells which side it was, and
        // that one may be younger than the last list of them.
        let rested = now_ns.saturating_sub(self.listeners_ns) >= TICK_NS;
        let unclear = |(space, socket): &(u16, Socket)| {
            let listener = self.owners.listener(*space, socket.local);
            listener.is_none() && socket.remote.port != 0 && !self.table.knows(*space, socket)
        };
        if rested && news.iter().any(unclear) {
            self.list_listeners(now_ns);
        }
        for (space, socket) in news {
            let role = role::of(&self.owners, *space, socket);
            self.table.closed(*space, socket, role, now_ns);
        }
    }
}
