//! How connections end: by the kernel's word, or by what packets show where that does not come.

use bpf::abi;
use wire::Role;

use super::{GRACE_NS, Table, WORD_NS};
use crate::family::connection::event::ReportReason;
use crate::family::connection::observe::entry::{Entry, Key};
use crate::sock_diag::Socket;

impl Table {
    /// A socket is gone: the kernel's last word on it.
    pub(crate) fn closed(
        &mut self,
        space: u16,
        socket: &Socket,
        role: impl Into<Option<Role>>,
        now_ns: u64,
    ) {
        let role = role.into();
        if socket.remote.port == 0 || socket.local.port == 0 {
            return;
        }
        let key = Key {
            space,
            local: socket.local,
            remote: socket.remote,
        };
        let replaced = self.replaced.take(&key);
        let known = replaced.or_else(|| self.entries.remove(&key));
        let known = known.or_else(|| {
            let named = self.translated(&key, socket, role, 0)?;
            self.entries.remove(&named)
        });
        if known.is_some_and(|entry| entry.reported) {
            return;
        }
        let acknowledged = socket.info.and_then(|info| info.acknowledged);
        let received = socket.info.and_then(|info| info.received);
        let exchanged = acknowledged.unwrap_or(0) + received.unwrap_or(0) > 0;
        let mut entry = match known {
            Some(entry) => entry,
            None => {
                self.losses.unseen += 1;
                if role != Some(Role::Server) && !exchanged {
                    return;
                }
                self.next_id += 1;
                let mut entry = Entry::new(self.next_id, role.unwrap_or(Role::Client), now_ns);
                if role.is_none() {
                    entry.flags |= abi::WB_FLAG_ROLE_UNKNOWN;
                }
                entry.ended_ns = now_ns;
                entry.establish();
                entry
            }
        };
        entry.claimed = true;
        entry.know(socket);
        // A listener's child is made by the packet that ends the handshake.
        if entry.role == Role::Server || exchanged {
            entry.establish();
        }
        let mut numbers = entry.last_numbers(socket.info.as_ref());
        numbers.error = match entry.is_established() {
            true if entry.start_ns <= self.blind_until_ns => 0,
            true => entry.error_ended(),
            false => entry.error_unanswered(now_ns),
        };
        self.report(ReportReason::Closed, &key, &entry, (numbers, now_ns));
    }

    /// What nobody will say more about: replaced connections, and those that ended long ago; at most
    /// `most` of them, true when there are more.
    pub(crate) fn settle(&mut self, now_ns: u64, most: usize) -> bool {
        for _ in 0..most {
            if let Some((key, entry)) = self.replaced.take_any() {
                self.close_by_packets(&key, entry, now_ns);
                continue;
            }
            let Some(key) = [true, false]
                .into_iter()
                .find_map(|waits_for_word| self.take_ended(waits_for_word, now_ns))
            else {
                return false;
            };
            self.settle_ended(key, now_ns);
        }
        true
    }

    /// The next of those that ended long enough ago, and when.
    fn take_ended(&mut self, waits_for_word: bool, now_ns: u64) -> Option<(u64, Key)> {
        let queue = usize::from(!waits_for_word);
        let (ended_ns, _) = *self.ending[queue].front()?;
        let wait = match waits_for_word && self.is_trusted(ended_ns) {
            true => WORD_NS,
            false => GRACE_NS,
        };
        match now_ns.saturating_sub(ended_ns) < wait {
            true => None,
            false => self.ending[queue].pop_front(),
        }
    }

    fn settle_ended(&mut self, (ended_ns, key): (u64, Key), now_ns: u64) {
        let same = |entry: &&mut Entry| entry.ended_ns == ended_ns && !entry.reported;
        if let Some(entry) = self.entries.get_mut(&key).filter(same) {
            entry.reported = true;
            let entry = *entry;
            self.close_by_packets(&key, entry, now_ns);
        }
    }

    /// Whether a connection that ended then will be told of.
    pub(super) const fn is_trusted(&self, ended_ns: u64) -> bool {
        self.told && ended_ns > self.trusted_from_ns
    }

    /// Reports what packets show, unless the kernel should have said something and did not.
    fn close_by_packets(&mut self, key: &Key, entry: Entry, now_ns: u64) {
        let mut entry = entry;
        let trusted = self.is_trusted(entry.ended_ns.max(entry.start_ns));
        let missing_word = !entry.claimed && !entry.is_aborted() && trusted;
        if missing_word || entry.ended_ns == 0 {
            self.losses.unclaimed += 1;
            return;
        }
        if entry.role == Role::Server && !entry.is_established() {
            let beyond =
                |sequence: Option<u32>| sequence.is_some_and(|s| Some(s) != entry.client_first);
            if !beyond(entry.received.reset) && entry.received.fin.is_none() {
                return;
            }
            entry.establish();
        }
        let numbers = entry.last_numbers(None);
        self.report(ReportReason::Closed, key, &entry, (numbers, now_ns));
    }

    pub(super) fn fail(&mut self, key: Key, error: u32, now_ns: u64) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.reported = true;
        entry.ended_ns = now_ns;
        let entry = *entry;
        let mut numbers = entry.last_numbers(None);
        numbers.error = error;
        self.report(ReportReason::Closed, &key, &entry, (numbers, now_ns));
    }

    pub(super) fn report(
        &mut self,
        reason: ReportReason,
        key: &Key,
        entry: &Entry,
        at: (abi::wb_numbers, u64),
    ) {
        let netns = self.netns.get(usize::from(key.space)).copied().unwrap_or(0);
        self.reports.push(entry.report(reason, key, netns, at));
    }
}
