//! One connection as packets and the kernel's lists of sockets show it. Pure.

use bpf::abi;
use wire::{Endpoint, Role, fingerprint};

use crate::family::connection::event::{Connection, ReportReason};
use crate::sock_diag::{Info, Socket};

/// errno values of Linux on every architecture that matters here (asm-generic/errno.h).
const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;
/// A SYN this long after the last one was sent again; sooner it is the same one on another device.
const REPEATED_NS: u64 = 100_000_000;
/// The kernel's timers are not more exact than this.
const SLACK_NS: u64 = 200_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Both ends in one network namespace: no two connections have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Index of the network namespace.
    pub(crate) space: u16,
    /// This end.
    pub(crate) local: Endpoint,
    /// The other end.
    pub(crate) remote: Endpoint,
}

impl Key {
    /// The end that the client called.
    pub(crate) const fn service(&self, role: Role) -> Endpoint {
        match role {
            Role::Client => self.remote,
            Role::Server => self.local,
        }
    }
}

/// A connection for the aggregate, and by what its process is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Without its process.
    pub(crate) connection: Connection,
    /// Index of its network namespace.
    pub(crate) space: u16,
    /// Its socket in `/proc/<pid>/fd`, 0 when not known.
    pub(crate) inode: u32,
    /// The cgroup in which its socket was made, 0 when not known.
    pub(crate) cgroup_id: u64,
    /// The kernel itself said that there is such a socket.
    pub(crate) claimed: bool,
}

/// How one direction ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Sequence number of the FIN.
    pub(crate) fin: Option<u32>,
    /// Sequence number of a reset.
    pub(crate) reset: Option<u32>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) flags: u32,
    pub(crate) start_ns: u64,
    pub(crate) established_ns: u64,
    /// SYNs that were sent, and when the last one was.
    pub(crate) syns: u32,
    pub(crate) last_syn_ns: u64,
    /// First sequence numbers behind SYN and SYN-ACK.
    pub(crate) client_first: Option<u32>,
    pub(crate) server_first: Option<u32>,
    pub(crate) sent: End,
    pub(crate) received: End,
    /// When it ended as packets show it, 0 while it did not.
    pub(crate) ended_ns: u64,
    pub(crate) token: Option<u64>,
    /// The last waybill that was looked at: devices show the same packet several times.
    pub(crate) tried: u128,
    /// What the kernel counted when it was last asked.
    pub(crate) numbers: abi::wb_numbers,
    pub(crate) inode: u32,
    pub(crate) cgroup_id: u64,
    /// Times that its socket had no inode number yet when it was asked for.
    pub(crate) asked: u8,
    /// The kernel said that there is such a socket.
    pub(crate) claimed: bool,
    /// Its end was reported: what comes late is not to be taken for another connection.
    pub(crate) reported: bool,
    /// Lists of sockets in a row without it, and the one that had it last.
    pub(crate) missed: u8,
    pub(crate) listed: u64,
}

impl Entry {
    pub(crate) fn new(id: u64, role: Role, start_ns: u64) -> Self {
        Self {
            id,
            role,
            flags: 0,
            start_ns,
            established_ns: 0,
            syns: 0,
            last_syn_ns: start_ns,
            client_first: None,
            server_first: None,
            sent: End::default(),
            received: End::default(),
            ended_ns: 0,
            token: None,
            tried: 0,
            numbers: abi::wb_numbers::default(),
            inode: 0,
            cgroup_id: 0,
            asked: 0,
            claimed: false,
            reported: false,
            missed: 0,
            listed: 0,
        }
    }

    pub(crate) const fn is_established(&self) -> bool {
        self.flags & abi::WB_FLAG_ESTABLISHED != 0
    }

    pub(crate) fn establish(&mut self) {
        self.flags |= abi::WB_FLAG_ESTABLISHED;
    }

    /// A SYN was sent, perhaps again.
    pub(crate) fn syn(&mut self, now_ns: u64) {
        if self.syns == 0 || now_ns.saturating_sub(self.last_syn_ns) >= REPEATED_NS {
            self.syns += 1;
            self.last_syn_ns = now_ns;
        }
    }

    /// What the kernel says of the socket itself.
    pub(crate) const fn know(&mut self, socket: &Socket) {
        if socket.inode != 0 {
            self.inode = socket.inode;
        }
        if socket.cgroup_id != 0 {
            self.cgroup_id = socket.cgroup_id;
        }
    }

    /// A FIN passed: had it been reset before, there would be none.
    pub(crate) fn fin(&mut self, sent: bool, sequence: u32, now_ns: u64) {
        let end = if sent {
            &mut self.sent
        } else {
            &mut self.received
        };
        if end.fin.is_some() {
            return;
        }
        end.fin = Some(sequence);
        self.flags &= !(abi::WB_FLAG_RESET_SENT | abi::WB_FLAG_RESET_RECEIVED);
        (self.sent.reset, self.received.reset, self.ended_ns) = (None, None, 0);
        if self.sent.fin.is_some() && self.received.fin.is_some() {
            self.ended_ns = now_ns;
        }
    }

    /// A reset passed; after both FINs there is nothing left that it could end.
    pub(crate) fn reset(&mut self, sent: bool, sequence: u32, now_ns: u64) {
        if self.ended_ns != 0 {
            return;
        }
        self.ended_ns = now_ns;
        if sent {
            self.flags |= abi::WB_FLAG_RESET_SENT;
            self.sent.reset = Some(sequence);
        } else {
            self.flags |= abi::WB_FLAG_RESET_RECEIVED;
            self.received.reset = Some(sequence);
        }
    }

    /// This host ended it by a reset. tcp_disconnect() then forgets the other end, so the kernel's
    /// word on the socket may not say which connection it was.
    pub(crate) const fn is_aborted(&self) -> bool {
        self.flags & abi::WB_FLAG_RESET_SENT != 0
    }

    /// The kernel said that it was established.
    pub(crate) const fn claimed_established(&self) -> bool {
        self.claimed && self.is_established()
    }

    /// First sequence number of this end and of the other.
    fn firsts(&self) -> [Option<u32>; 2] {
        match self.role {
            Role::Client => [self.client_first, self.server_first],
            Role::Server => [self.server_first, self.client_first],
        }
    }

    fn fingerprint(&self) -> Option<u64> {
        Some(fingerprint(self.client_first?, self.server_first?))
    }

    /// The numbers at its end: what the kernel last said, and what sequence numbers tell where it
    /// says nothing.
    pub(crate) fn last_numbers(&self, info: Option<&Info>) -> abi::wb_numbers {
        let [own, peer] = self.firsts();
        let is_client = self.role == Role::Client;
        let mut numbers = info.map_or(self.numbers, |info| info.numbers(is_client, false));
        let told_sent = info.is_some_and(|info| info.sent.is_some());
        if let (Some(first), Some(end), false) = (own, self.sent.fin.or(self.sent.reset), told_sent)
        {
            numbers.bytes_sent = between(first, end, numbers.bytes_sent);
        }
        match (info, peer, self.received.fin) {
            // The FIN counts, unless it never got to the socket.
            (Some(_), Some(first), Some(end)) => {
                let payload = between(first, end, numbers.bytes_received);
                if numbers.bytes_received == payload + 1 {
                    numbers.bytes_received = payload;
                }
            }
            (Some(_), None, Some(_)) => {
                numbers.bytes_received = numbers.bytes_received.saturating_sub(1);
            }
            (None, Some(first), fin) => {
                if let Some(end) = fin.or(self.received.reset) {
                    numbers.bytes_received = between(first, end, numbers.bytes_received);
                }
            }
            _ => {}
        }
        if info.is_none() && !self.is_established() {
            numbers.segments_sent = self.syns;
            numbers.retransmits = self.syns.saturating_sub(1);
        }
        numbers
    }

    /// The error of a connection that was not answered: it timed out if another SYN was due.
    pub(crate) fn error_unanswered(&self, now_ns: u64) -> u32 {
        // The kernel waits 1, 2, 4 ... seconds (tcp_syn_retries), and gives up where it would have
        // sent the next.
        let wait = SECOND_NS << self.syns.saturating_sub(1).min(6);
        let waited = now_ns.saturating_sub(self.last_syn_ns);
        match self.syns > 1 && waited + SLACK_NS >= wait {
            true => ETIMEDOUT,
            false => 0,
        }
    }

    /// The error of a connection that ended: without FIN or reset it timed out.
    pub(crate) const fn error_ended(&self) -> u32 {
        let quiet = self.sent.fin.is_none() && self.received.fin.is_none() && self.ended_ns == 0;
        if quiet { ETIMEDOUT } else { 0 }
    }

    /// The error of a connection that was answered by a reset.
    pub(crate) const fn error_refused() -> u32 {
        ECONNREFUSED
    }

    /// The record of this connection.
    pub(crate) fn report(
        &self,
        reason: ReportReason,
        key: &Key,
        netns: u32,
        (numbers, time_ns): (abi::wb_numbers, u64),
    ) -> Report {
        let old_state = match (reason, self.is_established()) {
            (ReportReason::Closed, true) => 1,
            (ReportReason::Closed, false) => 2,
            _ => 0,
        };
        Report {
            space: key.space,
            inode: self.inode,
            cgroup_id: self.cgroup_id,
            claimed: self.claimed,
            connection: Connection {
                reason,
                id: self.id,
                start_ns: self.start_ns,
                established_ns: self.established_ns,
                time_ns,
                token_sent: None,
                token_received: self.token,
                role: self.role,
                flags: self.flags,
                old_state,
                process: abi::wb_process::default(),
                local: key.local,
                remote: key.remote,
                netns,
                numbers,
                fingerprint: self.fingerprint(),
            },
        }
    }
}

/// Sequence numbers from `first` to `end`: they wrap, so the answer is the one nearest to what is
/// known about it.
fn between(first: u32, end: u32, about: u64) -> u64 {
    const TURN: u64 = 1 << 32;
    let low = u64::from(end.wrapping_sub(first));
    let turns = about / TURN;
    [turns.saturating_sub(1), turns, turns + 1]
        .into_iter()
        .map(|turns| turns.saturating_mul(TURN).saturating_add(low))
        .min_by_key(|value| value.abs_diff(about))
        .unwrap_or(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_distance_is_found_though_the_numbers_wrapped(first: u32, sent in 0_u64..1 << 40, off in 0_u64..1 << 30) {
            #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
            let end = first.wrapping_add(sent as u32);
            prop_assert_eq!(between(first, end, sent.saturating_sub(off)), sent);
            prop_assert_eq!(between(first, end, sent + off), sent);
        }
    }

    #[test]
    fn who_gave_up_when_another_syn_was_due_ran_into_a_timeout() {
        let mut entry = Entry::new(1, Role::Client, SECOND_NS);
        entry.syn(SECOND_NS);
        entry.syn(SECOND_NS + 5_000);
        assert_eq!(entry.syns, 1, "the same one on another device");
        assert_eq!(entry.error_unanswered(SECOND_NS + 700_000_000), 0);
        entry.syn(2 * SECOND_NS);
        assert_eq!(entry.error_unanswered(3 * SECOND_NS), 0);
        assert_eq!(entry.error_unanswered(4 * SECOND_NS), ETIMEDOUT);
    }

    #[test]
    fn a_reset_that_ended_nothing_is_forgotten() {
        let mut entry = Entry::new(1, Role::Client, 0);
        entry.reset(false, 5, 10);
        assert_eq!((entry.ended_ns, entry.received.reset), (10, Some(5)));
        entry.fin(true, 7, 20);
        entry.fin(false, 9, 30);
        assert_eq!((entry.ended_ns, entry.received.reset), (30, None));
        entry.reset(false, 9, 40);
        assert_eq!(entry.flags & abi::WB_FLAG_RESET_RECEIVED, 0);
    }
}
