//! Bytes from the kernel become events. Pure: no libbpf, no clock, no unsafe.
//!
//! A record that is short, long or of an unknown kind is an error value for the caller to count;
//! it never stops the agent.

use bpf::abi;
use wire::{Endpoint, Role};
use zerocopy::FromBytes;

/// Why a connection was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportReason {
    /// Existed before the agent; its numbers are the baseline.
    Adopted,
    /// Reached CLOSE.
    Closed,
    /// Open now; from the snapshot.
    Live,
    /// Its socket is gone without a CLOSE that was seen.
    Stale,
}

/// One connection as the kernel counted it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Why it was reported.
    pub reason: ReportReason,
    /// Unique within this run of the agent.
    pub id: u64,
    /// First segment seen, CLOCK_MONOTONIC nanoseconds.
    pub start_ns: u64,
    /// SYN-SENT or SYN-RECEIVED to ESTABLISHED was at this CLOCK_MONOTONIC nanosecond; 0 when it
    /// was not watched or not reached.
    pub established_ns: u64,
    /// When the record was made, CLOCK_MONOTONIC nanoseconds.
    pub time_ns: u64,
    /// Token this host wrote, if the option left.
    pub token_sent: Option<u64>,
    /// Token that came with a valid MAC.
    pub token_received: Option<u64>,
    /// Which side this host is.
    pub role: Role,
    /// `WB_FLAG_*`.
    pub flags: u32,
    /// TCP state before CLOSE, 0 while open.
    pub old_state: u8,
    /// Owner.
    pub process: abi::wb_process,
    /// Local address and port.
    pub local: Endpoint,
    /// Remote address and port.
    pub remote: Endpoint,
    /// Network namespace inode number.
    pub netns: u32,
    /// What the kernel counted.
    pub numbers: abi::wb_numbers,
    /// Name made from the first sequence numbers of both ends ([`wire::fingerprint`]), where they
    /// are known: from the handshake, or from what the socket has counted since.
    pub fingerprint: Option<u64>,
}

impl Connection {
    /// Whether a `WB_FLAG_*` is set.
    #[must_use]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether its owner may still turn out to be another process than the one that listens: nobody
    /// was seen to accept it, read from it or close it. Always false where programs do not look.
    #[must_use]
    pub const fn awaits_owner(&self) -> bool {
        self.has(abi::WB_FLAG_LISTENER) && !self.has(abi::WB_FLAG_ACCEPTED)
    }
}

/// Why bytes are not a record of this agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Fewer bytes than a record has (perf buffers pad, so more is fine).
    #[error("record of {0} bytes is too short")]
    Short(usize),
    /// The header's kind or size is of no record known here.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// A field holds no value of its enumeration.
    #[error("record with an unknown {0}")]
    Field(&'static str),
}

/// Size of a connection record in bytes.
pub const RECORD_BYTES: usize = size_of::<abi::wb_connection_record>();

/// Decodes one record.
///
/// # Errors
/// See [`Invalid`].
pub fn decode(bytes: &[u8]) -> Result<Connection, Invalid> {
    let (record, _) = abi::wb_connection_record::read_from_prefix(bytes)
        .map_err(|_| Invalid::Short(bytes.len()))?;
    let kind = record.header.kind;
    if u32::from(record.header.family) != abi::WB_FAMILY_CONNECTION
        || u32::from(kind) != abi::WB_RECORD_CONNECTION
        || usize::try_from(record.header.size) != Ok(RECORD_BYTES)
    {
        return Err(Invalid::Kind(kind));
    }
    let reason = match u32::from(record.what) {
        abi::WB_WHAT_CLOSED => ReportReason::Closed,
        abi::WB_WHAT_LIVE => ReportReason::Live,
        abi::WB_WHAT_ADOPTED => ReportReason::Adopted,
        abi::WB_WHAT_STALE => ReportReason::Stale,
        _ => return Err(Invalid::Field("reason")),
    };
    let role = match u32::from(record.role) {
        abi::WB_ROLE_CLIENT => Role::Client,
        abi::WB_ROLE_SERVER => Role::Server,
        _ => return Err(Invalid::Field("role")),
    };
    let sent = record.flags & abi::WB_FLAG_TOKEN_SENT != 0;
    let (tuple, end) = (record.tuple, |addr, port| Endpoint { addr, port });
    let local = end(tuple.local, tuple.local_port);
    let remote = end(tuple.remote, tuple.remote_port);
    Ok(Connection {
        reason,
        id: match record.id {
            0 => tuple_id(tuple.netns, local, remote),
            id => id,
        },
        start_ns: record.start_ns,
        established_ns: record.established_ns,
        time_ns: record.header.ktime_ns,
        token_sent: (sent && record.token_sent != 0).then_some(record.token_sent),
        token_received: (record.token_received != 0).then_some(record.token_received),
        role,
        flags: record.flags,
        old_state: record.old_state,
        process: record.process,
        local,
        remote,
        netns: record.tuple.netns,
        numbers: record.numbers,
        fingerprint: fingerprint(
            (role, record.flags),
            record.first_sent,
            record.first_received,
        ),
    })
}

/// The id of a connection that no program knows, from what it is known by.
#[must_use]
pub fn tuple_id(netns: u32, local: Endpoint, remote: Endpoint) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write_u32(netns);
    for end in [local, remote] {
        hasher.write(&end.addr);
        hasher.write_u16(end.port);
    }
    hasher.finish().max(1)
}

/// A connection that was found open, without owner and numbers; `role` if it is known.
#[must_use]
pub fn open(
    netns: u32,
    ends: (Endpoint, Endpoint),
    role: impl Into<Option<Role>>,
    now_ns: u64,
) -> Connection {
    let ((local, remote), role) = (ends, role.into());
    let unknown = match role {
        Some(_) => 0,
        None => abi::WB_FLAG_ROLE_UNKNOWN,
    };
    Connection {
        reason: ReportReason::Adopted,
        id: tuple_id(netns, local, remote),
        start_ns: now_ns,
        established_ns: 0,
        time_ns: now_ns,
        token_sent: None,
        token_received: None,
        role: role.unwrap_or(Role::Client),
        flags: abi::WB_FLAG_ESTABLISHED | abi::WB_FLAG_ADOPTED | unknown,
        old_state: 0,
        process: abi::wb_process::default(),
        local,
        remote,
        netns,
        numbers: abi::wb_numbers::default(),
        fingerprint: None,
    }
}

/// What an entry of the programs' table says of its connection, without numbers.
#[must_use]
pub fn live(entry: &abi::wb_connection, now_ns: u64) -> Connection {
    let role = match u32::from(entry.role) {
        abi::WB_ROLE_SERVER => Role::Server,
        _ => Role::Client,
    };
    let end = |addr, port| Endpoint { addr, port };
    let accepted = if entry.accepted == 0 {
        0
    } else {
        abi::WB_FLAG_ACCEPTED
    };
    let flags = entry.flags | entry.cloned | accepted;
    let sent = flags & abi::WB_FLAG_TOKEN_SENT != 0;
    Connection {
        reason: ReportReason::Live,
        id: entry.id,
        start_ns: entry.start_ns,
        established_ns: entry.established_ns,
        time_ns: now_ns,
        token_sent: (sent && entry.token_sent != 0).then_some(entry.token_sent),
        token_received: (entry.token_received != 0).then_some(entry.token_received),
        role,
        flags,
        old_state: 0,
        process: entry.process,
        local: end(entry.tuple.local, entry.tuple.local_port),
        remote: end(entry.tuple.remote, entry.tuple.remote_port),
        netns: entry.tuple.netns,
        numbers: abi::wb_numbers::default(),
        fingerprint: fingerprint((role, flags), entry.first_sent, entry.first_received),
    }
}

/// The connection's name, from the first sequence numbers as the kernel has them (network byte
/// order); none where nobody knows them, or whose they are.
fn fingerprint((role, flags): (Role, u32), first_sent: u32, first_received: u32) -> Option<u64> {
    if (first_sent, first_received) == (0, 0) || flags & abi::WB_FLAG_ROLE_UNKNOWN != 0 {
        return None;
    }
    let (sent, received) = (u32::from_be(first_sent), u32::from_be(first_received));
    Some(match role {
        Role::Client => wire::fingerprint(sent, received),
        Role::Server => wire::fingerprint(received, sent),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;

    fn record() -> abi::wb_connection_record {
        abi::wb_connection_record {
            header: abi::wb_record_header {
                family: 1,
                kind: 1,
                size: u32::try_from(RECORD_BYTES).expect("a record is small"),
                ..Default::default()
            },
            what: 1,
            ..Default::default()
        }
    }

    #[test]
    fn a_token_that_never_left_is_not_a_token() {
        let mut bytes = record();
        bytes.token_sent = 7;
        assert_eq!(decode(bytes.as_bytes()).expect("valid").token_sent, None);
        bytes.flags = abi::WB_FLAG_TOKEN_SENT;
        assert_eq!(decode(bytes.as_bytes()).expect("valid").token_sent, Some(7));
    }

    #[test]
    fn both_ends_make_the_same_name_of_their_sequence_numbers() {
        let mut client = record();
        (client.first_sent, client.first_received) = (7_u32.to_be(), 9_u32.to_be());
        let mut server = record();
        server.role = 1;
        (server.first_sent, server.first_received) = (9_u32.to_be(), 7_u32.to_be());
        let name = |bytes: &abi::wb_connection_record| {
            decode(bytes.as_bytes()).expect("valid").fingerprint
        };
        assert_eq!(name(&client), Some(wire::fingerprint(7, 9)));
        assert_eq!(name(&client), name(&server));
        assert_eq!(name(&record()), None);
    }

    #[test]
    fn trailing_padding_of_a_perf_buffer_is_ignored() {
        let mut bytes = record().as_bytes().to_vec();
        bytes.extend_from_slice(&[0xee; 4]);
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn unknown_kinds_and_short_records_are_refused() {
        let mut wrong = record();
        wrong.header.kind = 9;
        assert_eq!(decode(wrong.as_bytes()), Err(Invalid::Kind(9)));
        let mut foreign = record();
        foreign.header.family = 9;
        assert_eq!(decode(foreign.as_bytes()), Err(Invalid::Kind(1)));
        assert_eq!(decode(&record().as_bytes()[..50]), Err(Invalid::Short(50)));
        let mut role = record();
        role.role = 2;
        assert_eq!(decode(role.as_bytes()), Err(Invalid::Field("role")));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ignored = decode(&bytes);
        }
    }
}
