//! Lists of open sockets: what was there before, what lives, and what is gone without a word.

use bpf::abi;
use wire::Role;

use super::{Table, WORD_NS};
use crate::family::connection::event::ReportReason;
use crate::family::connection::observe::entry::{Entry, Key};
use crate::sock_diag::{self, Socket};

/// Nobody answers a SYN-ACK after this long (tcp_synack_retries: 63 s).
const HALF_OPEN_NS: u64 = 70_000_000_000;
/// Lists in a row without a connection after which its end counts as lost.
const MISSED_LISTS: u8 = 2;

impl Table {
    /// A list of all open sockets begins.
    pub(crate) fn begin_list(&mut self) {
        self.list += 1;
        let [before, now] = &mut self.strangers;
        std::mem::swap(before, now);
        now.clear();
    }

    /// An open socket, and its role if that is known; `first` in the list of what was there before the
    /// agent.
    pub(crate) fn listed(
        &mut self,
        space: u16,
        socket: &Socket,
        (role, first): (impl Into<Option<Role>>, bool),
        now_ns: u64,
    ) {
        let role = role.into();
        let key = Key {
            space,
            local: socket.local,
            remote: socket.remote,
        };
        if !self.entries.contains_key(&key)
            && let Some(named) = self.translated(&key, socket, role, 1)
        {
            self.rename(named, key);
        }
        let known = self.entries.get(&key).is_some_and(|entry| !entry.reported);
        if !known && !self.adopts(&key, socket, (role, first), now_ns) {
            return;
        }
        let list = self.list;
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        (entry.listed, entry.missed, entry.claimed) = (list, 0, true);
        entry.know(socket);
        if socket.state == sock_diag::SYN_SENT {
            return;
        }
        entry.establish();
        let finished = [
            sock_diag::CLOSE_WAIT,
            sock_diag::LAST_ACK,
            sock_diag::CLOSING,
        ]
        .contains(&socket.state);
        if let Some(info) = socket.info {
            entry.numbers = info.numbers(entry.role == Role::Client, finished);
        }
        let reason = if first && !known {
            entry.flags |= abi::WB_FLAG_ADOPTED;
            ReportReason::Adopted
        } else {
            ReportReason::Live
        };
        let entry = *entry;
        self.report(reason, &key, &entry, (entry.numbers, now_ns));
    }

    /// Takes in a connection that was only seen in a list; in a later one than the first it must be
    /// there twice, because its packets may be on the way to us.
    fn adopts(
        &mut self,
        key: &Key,
        socket: &Socket,
        (role, first): (Option<Role>, bool),
        now_ns: u64,
    ) -> bool {
        let [before, now] = &mut self.strangers;
        if !first && !before.contains(key) {
            if now.len() < self.limit {
                now.insert(*key);
            } else {
                self.losses.full += 1;
            }
            return false;
        }
        if !first {
            self.losses.unseen += 1;
        }
        if first && socket.state == sock_diag::SYN_SENT {
            return false;
        }
        let Some(mut entry) = self.enter(role.unwrap_or(Role::Client), now_ns) else {
            return false;
        };
        if role.is_none() {
            entry.flags |= abi::WB_FLAG_ROLE_UNKNOWN;
        }
        self.entries.insert(*key, entry);
        true
    }

    /// The list that began at `begun_ns` was complete: what it does not show is gone.
    pub(crate) fn end_list(&mut self, begun_ns: u64) {
        let now_ns = begun_ns;
        let list = self.list;
        let mut gone = Vec::new();
        self.entries.retain(|key, entry| {
            if entry.listed == list || entry.start_ns >= begun_ns {
                return true;
            }
            entry.missed = entry.missed.saturating_add(1);
            let keep = keeps(entry, now_ns);
            if !keep {
                gone.push((*key, *entry));
            }
            keep
        });
        for (key, entry) in gone {
            self.lose(&key, entry, now_ns);
        }
        self.forget_claimed();
    }

    /// A connection is gone, and its end was not told.
    fn lose(&mut self, key: &Key, mut entry: Entry, now_ns: u64) {
        if entry.reported || (entry.role == Role::Server && !entry.is_established()) {
            return;
        }
        // Among the packets that were lost may have been the answer: whether it failed is not known.
        if !entry.is_established() && entry.start_ns <= self.blind_until_ns {
            self.report(ReportReason::Stale, key, &entry, (entry.numbers, now_ns));
            return;
        }
        if !entry.is_established() {
            let mut numbers = entry.last_numbers(None);
            numbers.error = entry.error_unanswered(now_ns);
            self.report(ReportReason::Closed, key, &entry, (numbers, now_ns));
            return;
        }
        if !entry.claimed && self.is_trusted(entry.start_ns) {
            self.losses.unclaimed += 1;
            return;
        }
        entry.claimed = true;
        self.report(ReportReason::Stale, key, &entry, (entry.numbers, now_ns));
    }
}

/// Whether a connection that a list did not show stays.
fn keeps(entry: &Entry, now_ns: u64) -> bool {
    let age_ns = now_ns.saturating_sub(entry.start_ns);
    if entry.reported {
        return now_ns.saturating_sub(entry.ended_ns) < WORD_NS;
    }
    if entry.ended_ns != 0 {
        // Settled in its own time.
        return now_ns.saturating_sub(entry.ended_ns) < 2 * WORD_NS;
    }
    match (entry.role, entry.is_established()) {
        (Role::Server, false) => age_ns < HALF_OPEN_NS,
        _ => entry.missed < MISSED_LISTS,
    }
}
