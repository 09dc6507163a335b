//! Connections that this host itself translates: packets name another end than the socket does. What
//! both have in common is the end of who called, in which no two sockets differ for long.

use wire::Role;

use super::unclaimed::Caller;
use super::{PacketContext, Table};
use crate::family::connection::observe::entry::{Entry, Key};
use crate::frame::{ACK, SYN, Segment};
use crate::sock_diag::Socket;

/// Sequence numbers wrap.
const SEQUENCES: u64 = 1 << 32;

impl Key {
    const fn caller(&self, role: Role) -> Caller {
        match role {
            Role::Client => (self.space, role, self.local),
            Role::Server => (self.space, role, self.remote),
        }
    }
}

impl Table {
    /// Packets showed a new connection.
    pub(super) fn note_caller(&mut self, key: Key, role: Role) {
        let caller = key.caller(role);
        let other = self.unclaimed.by_caller.get(&caller).copied().flatten();
        let is_other = other.is_some_and(|other| {
            let entry = self.entries.get(&other);
            other != key && entry.is_some_and(is_unclaimed)
        });
        if self.unclaimed.by_caller.len() < self.limit || other.is_some() {
            let only = (!is_other).then_some(key);
            self.unclaimed.by_caller.insert(caller, only);
        }
    }

    /// The ends of the connection as packets name them whose socket names other ones; `None` where
    /// there is none, or nobody can tell. An open one must have been missing in so many lists: its
    /// own socket may be younger than the last one.
    pub(super) fn translated(
        &self,
        key: &Key,
        socket: &Socket,
        role: Option<Role>,
        missed: u8,
    ) -> Option<Key> {
        let roles = [Role::Client, Role::Server].into_iter();
        let mut found = roles
            .filter(|one| role.is_none_or(|role| role == *one))
            .filter_map(|role| {
                let named = (*self.unclaimed.by_caller.get(&key.caller(role))?)?;
                let entry = self.entries.get(&named)?;
                let is_it = named != *key
                    && entry.role == role
                    && is_unclaimed(entry)
                    && entry.missed >= missed
                    // What was not seen may be another one.
                    && entry.start_ns > self.blind_until_ns
                    && agrees(entry, socket);
                is_it.then_some(named)
            });
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// From now on packets of these ends are those of the socket.
    pub(super) fn rename(&mut self, named: Key, key: Key) {
        let Some(entry) = self.entries.remove(&named) else {
            return;
        };
        self.entries.insert(key, entry);
        if self.unclaimed.names.len() < self.limit {
            self.unclaimed.names.insert(named, key);
        }
    }

    /// Who called one of this host's addresses and is answered from another one knows that one: rules
    /// for what this host sends to itself turn the answer back before it gets to the device.
    pub(super) fn take_answer(&mut self, key: Key, segment: &Segment) {
        if let Some(named) = self.answered(&key, segment) {
            self.rename(named, key);
        }
    }

    /// Whether a segment to this host that leaves it from an address of nobody is of such an answer;
    /// its server is entered with the first.
    pub(super) fn is_own_answer(&mut self, seen: &PacketContext, segment: &Segment) -> bool {
        let (local, remote) = (segment.source, segment.destination);
        let space = seen.space;
        let named = Key {
            space,
            local,
            remote,
        };
        if self.unclaimed.names.contains_key(&named) {
            return true;
        }
        let seen_by_client = Key {
            space,
            local: remote,
            remote: local,
        };
        let Some(called) = self.answered(&seen_by_client, segment) else {
            return false;
        };
        let key = Key {
            space,
            local: called.remote,
            remote: called.local,
        };
        self.opens(key, segment, seen.time_ns);
        if self.unclaimed.names.len() < self.limit {
            self.unclaimed.names.insert(named, key);
        }
        false
    }

    /// The ends as its SYN named them of the connection that a segment with SYN answers from elsewhere.
    fn answered(&self, key: &Key, segment: &Segment) -> Option<Key> {
        if !segment.has(SYN | ACK) || self.entries.contains_key(key) {
            return None;
        }
        let named = (*self.unclaimed.by_caller.get(&key.caller(Role::Client))?)?;
        let entry = self.entries.get(&named)?;
        let waits = entry.role == Role::Client && entry.server_first.is_none();
        let is_it = waits && entry.client_first == Some(segment.acknowledged);
        (is_it && is_unclaimed(entry)).then_some(named)
    }

    /// The ends as the socket names them of a segment with these ends.
    pub(super) fn socket_of(&mut self, named: Key, segment: &Segment) -> Key {
        let Some(key) = self.unclaimed.names.get(&named).copied() else {
            return named;
        };
        let entry = self.entries.get(&key);
        if entry.is_some_and(|entry| !segment.has(SYN) || begins(entry, segment)) {
            return key;
        }
        self.unclaimed.names.remove(&named);
        named
    }

    /// Forgets what is no more.
    pub(super) fn forget_claimed(&mut self) {
        let entries = &self.entries;
        let is_open = |key: &Option<Key>| {
            let entry = key.and_then(|key| entries.get(&key));
            entry.is_some_and(is_unclaimed)
        };
        self.unclaimed.by_caller.retain(|_, key| is_open(key));
        self.unclaimed
            .names
            .retain(|_, key| entries.contains_key(key));
    }
}

const fn is_unclaimed(entry: &Entry) -> bool {
    !entry.claimed && !entry.reported
}

/// Whether a segment with SYN is of the handshake of this connection.
fn begins(entry: &Entry, segment: &Segment) -> bool {
    let first = Some(segment.sequence.wrapping_add(1));
    let answers = segment.has(ACK) && entry.client_first == Some(segment.acknowledged);
    answers || [entry.client_first, entry.server_first].contains(&first)
}

/// Whether the socket has counted what packets showed, as far as both are known.
fn agrees(entry: &Entry, socket: &Socket) -> bool {
    let Some(info) = &socket.info else {
        return true;
    };
    let (shown, told) = (
        entry.last_numbers(None),
        info.numbers(entry.role == Role::Client, false),
    );
    let differ = |told: u64, shown: u64| told.wrapping_sub(shown) % SEQUENCES;
    let sent = entry.sent.fin.is_none()
        || info.sent.is_none()
        || differ(told.bytes_sent, shown.bytes_sent) == 0;
    // The FIN counts, if it got to the socket.
    let received = entry.received.fin.is_none()
        || info.received.is_none()
        || differ(told.bytes_received, shown.bytes_received) <= 1;
    sent && received
}

#[cfg(test)]
#[path = "translated_tests.rs"]
mod tests;
