//! Messages of `NETLINK_SOCK_DIAG`: requests, sockets in answers, and what the kernel counted of
//! each. Pure.
//!
//! Layouts: `linux/inet_diag.h` and `struct tcp_info` of `linux/tcp.h`, which grows at its end: what
//! a kernel's struct is too short for is not known.

use bpf::abi;
use wire::{Columns, Endpoint};

use crate::netlink::{attributes, u32_at};

/// `linux/sock_diag.h`: type of requests and of their answers.
pub(crate) const BY_FAMILY: u16 = 20;
/// Multicast groups of sockets that are gone, `enum sknetlink_groups`: TCP over IPv4 and IPv6.
pub(crate) const GROUPS_DESTROYED: u32 = (1 << 0) | (1 << 2);

/// `enum` of TCP states, `net/tcp_states.h`.
pub(crate) const ESTABLISHED: u8 = 1;
pub(crate) const SYN_SENT: u8 = 2;
pub(crate) const FIN_WAIT1: u8 = 4;
pub(crate) const FIN_WAIT2: u8 = 5;
pub(crate) const CLOSE: u8 = 7;
pub(crate) const CLOSE_WAIT: u8 = 8;
pub(crate) const LAST_ACK: u8 = 9;
pub(crate) const LISTEN: u8 = 10;
pub(crate) const CLOSING: u8 = 11;

/// Sockets in these states belong to connections.
pub(crate) const CONNECTED: u32 = mask(&[
    ESTABLISHED,
    SYN_SENT,
    FIN_WAIT1,
    FIN_WAIT2,
    CLOSE_WAIT,
    LAST_ACK,
    CLOSING,
]);
/// Sockets that listen.
pub(crate) const LISTENING: u32 = mask(&[LISTEN]);

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Both families, in the order in which they are asked for.
pub(crate) const FAMILIES: [u8; 2] = [AF_INET, AF_INET6];

const TCP: u8 = 6;
/// `INET_DIAG_INFO`, and its bit in `idiag_ext`.
const INFO: u16 = 2;
const WANT_INFO: u8 = 1 << (INFO - 1);
/// `INET_DIAG_CGROUP_ID`, which every socket has since 5.8, also in the news that it is gone
/// (`inet_diag_msg_attrs_fill()`).
const CGROUP_ID: u16 = 21;
/// `struct inet_diag_msg`.
pub(crate) const MESSAGE_BYTES: usize = 72;

const fn mask(states: &[u8]) -> u32 {
    let (mut mask, mut at) = (0, 0);
    while at < states.len() {
        mask |= 1 << states[at];
        at += 1;
    }
    mask
}

/// `struct inet_diag_req_v2` for all sockets of a family in these states, with what the kernel counts
/// of each, and what the bits of `also` in `idiag_ext` stand for.
pub(super) fn request_all(family: u8, states: u32, also: u8) -> Vec<u8> {
    let mut body = vec![family, TCP, WANT_INFO | also, 0];
    body.extend(states.to_ne_bytes());
    body.extend([0; 48]);
    body
}

/// `struct inet_diag_req_v2` for the socket with these ends.
pub(crate) fn request_one(local: Endpoint, remote: Endpoint) -> Vec<u8> {
    let is_v4 = |end: Endpoint| end.ip().is_ipv4();
    let family = match is_v4(local) && is_v4(remote) {
        true => AF_INET,
        false => AF_INET6,
    };
    let mut body = vec![family, TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port.to_be_bytes());
    body.extend(remote.port.to_be_bytes());
    for end in [local, remote] {
        match family {
            AF_INET => {
                body.extend(&end.addr[12..]);
                body.extend([0; 12]);
            }
            _ => body.extend(end.addr),
        }
    }
    body.extend(0_u32.to_ne_bytes());
    // INET_DIAG_NOCOOKIE
    body.extend([0xff; 8]);
    body
}

/// A socket as the kernel described it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP state.
    pub(crate) state: u8,
    /// Own end.
    pub(crate) local: Endpoint,
    /// The other end; port 0 when there is none.
    pub(crate) remote: Endpoint,
    /// Number in `/proc/<pid>/fd`; 0 when no process has it any more.
    pub(crate) inode: u32,
    /// Owner's user id.
    pub(crate) uid: u32,
    /// The cgroup2 in which it was made; 0 where the kernel does not say.
    pub(crate) cgroup_id: u64,
    /// Sequence numbers that were written and are not acknowledged.
    pub(crate) unacknowledged: u32,
    /// What the kernel counted.
    pub(crate) info: Option<Info>,
}

/// Reads the body of an answer or of the news that a socket is gone.
pub(crate) fn parse(body: &[u8]) -> Option<Socket> {
    let (message, rest) = body.split_at_checked(MESSAGE_BYTES)?;
    let [family, state, ..] = *message else {
        return None;
    };
    let port = |at: usize| {
        let bytes = message.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let address = |at: usize| {
        let bytes: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
        match family {
            AF_INET => {
                let mut mapped = [0; 16];
                mapped[10..12].fill(0xff);
                mapped[12..].copy_from_slice(&bytes[..4]);
                Some(mapped)
            }
            AF_INET6 => Some(bytes),
            _ => None,
        }
    };
    let attribute =
        |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let cgroup_id =
        attribute(CGROUP_ID).and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
    Some(Socket {
        state,
        local: Endpoint {
            addr: address(8)?,
            port: port(4)?,
        },
        remote: Endpoint {
            addr: address(24)?,
            port: port(6)?,
        },
        unacknowledged: u32_at(message, 60)?,
        uid: u32_at(message, 64)?,
        inode: u32_at(message, 68)?,
        cgroup_id: cgroup_id.unwrap_or(0),
        info: attribute(INFO).and_then(Info::parse),
    })
}

/// What of `struct tcp_info` is used; `None` is beyond the end of this kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Bytes of the struct.
    pub(crate) length: usize,
    /// Smoothed round-trip time, microseconds; 0 = no sample.
    pub(crate) rtt_us: u32,
    /// Segments retransmitted, SYN included.
    pub(crate) retransmits: u32,
    /// Sequence numbers acknowledged: payload, and SYN and FIN of this end.
    pub(crate) acknowledged: Option<u64>,
    /// Sequence numbers received in order: payload and the FIN.
    pub(crate) received: Option<u64>,
    /// Segments sent and received.
    pub(crate) segments: Option<[u32; 2]>,
    /// Sequence numbers that were written and not sent so far; 0 where the struct is too short.
    pub(crate) unsent: u32,
    /// Least round-trip time, microseconds; 0 = no sample.
    pub(crate) min_rtt_us: u32,
    /// Payload sent, and the part of it that was sent again.
    pub(crate) sent: Option<[u64; 2]>,
    /// Segments received out of order.
    pub(crate) out_of_order: Option<u32>,
}

/// Offsets in `struct tcp_info`; a field was never moved.
mod at {
    pub(super) const RTT: usize = 68;
    pub(super) const RETRANSMITS: usize = 100;
    pub(super) const ACKNOWLEDGED: usize = 120;
    pub(super) const RECEIVED: usize = 128;
    pub(super) const SEGMENTS_SENT: usize = 136;
    pub(super) const SEGMENTS_RECEIVED: usize = 140;
    pub(super) const UNSENT: usize = 144;
    pub(super) const MIN_RTT: usize = 148;
    pub(super) const SENT: usize = 200;
    pub(super) const SENT_AGAIN: usize = 208;
    pub(super) const OUT_OF_ORDER: usize = 224;
}

impl Info {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| {
            let bytes = bytes.get(at..at + 8)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        let pair = |first: Option<u32>, second: Option<u32>| Some([first?, second?]);
        Some(Self {
            length: bytes.len(),
            rtt_us: u32_at(bytes, at::RTT)?,
            retransmits: u32_at(bytes, at::RETRANSMITS)?,
            acknowledged: long(at::ACKNOWLEDGED),
            received: long(at::RECEIVED),
            segments: pair(
                u32_at(bytes, at::SEGMENTS_SENT),
                u32_at(bytes, at::SEGMENTS_RECEIVED),
            ),
            unsent: u32_at(bytes, at::UNSENT).unwrap_or(0),
            // ~0 is the kernel's "no sample yet", include/net/tcp.h tcp_min_rtt().
            min_rtt_us: u32_at(bytes, at::MIN_RTT)
                .filter(|least| *least != u32::MAX)
                .unwrap_or(0),
            sent: long(at::SENT).and_then(|sent| Some([sent, long(at::SENT_AGAIN)?])),
            out_of_order: u32_at(bytes, at::OUT_OF_ORDER),
        })
    }

    /// The numbers of a record. `fin_received` says whether the peer's FIN is among what was
    /// received; `counts_syn` whether the own SYN is among what was acknowledged, which it is for
    /// clients (`tcp_snd_una_update()`, `tcp_rcv_nxt_update()`).
    pub(crate) fn numbers(&self, counts_syn: bool, fin_received: bool) -> abi::wb_numbers {
        let [segments_sent, segments_received] = self.segments.unwrap_or_default();
        let acknowledged = self.acknowledged.unwrap_or(0);
        let bytes_sent = match self.sent {
            Some([sent, again]) => sent.saturating_sub(again),
            None => acknowledged.saturating_sub(u64::from(counts_syn)),
        };
        let received = self.received.unwrap_or(0);
        abi::wb_numbers {
            bytes_sent,
            bytes_received: received.saturating_sub(u64::from(fin_received)),
            segments_sent,
            segments_received,
            retransmits: self.retransmits,
            out_of_order: self.out_of_order.unwrap_or(0),
            zero_windows: 0,
            srtt_us: self.rtt_us,
            min_rtt_us: self.min_rtt_us,
            error: 0,
        }
    }
}

/// What a host cannot measure whose `struct tcp_info` has `length` bytes; `told` when it tells of
/// sockets that are gone, else the last numbers of short connections never come.
pub(crate) fn absent(length: usize, told: bool) -> Columns {
    let mut absent = Columns::ZERO_WINDOWS;
    let needs = [
        (Columns::SEGMENTS_SENT, at::SEGMENTS_SENT + 4),
        (Columns::SEGMENTS_RECEIVED, at::SEGMENTS_RECEIVED + 4),
        (Columns::RETRANSMITS, at::RETRANSMITS + 4),
        (Columns::OUT_OF_ORDER, at::OUT_OF_ORDER + 4),
    ];
    for (column, bytes) in needs {
        if length < bytes || !told {
            absent = absent.with(column);
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn message(family: u8, info: &[u8]) -> Vec<u8> {
        let mut message = vec![family, 7, 0, 0];
        message.extend(4000_u16.to_be_bytes());
        message.extend(80_u16.to_be_bytes());
        for last in [1, 2] {
            message.extend([10, 0, 0, last]);
            message.extend([0; 12]);
        }
        message.resize(64, 0);
        message.extend(1000_u32.to_ne_bytes());
        message.extend(77_u32.to_ne_bytes());
        message.extend(u16::try_from(4 + info.len()).unwrap().to_ne_bytes());
        message.extend(INFO.to_ne_bytes());
        message.extend(info);
        message
    }

    /// A struct whose 32-bit words are their own numbers.
    fn info(length: usize) -> Vec<u8> {
        (0..length / 4)
            .flat_map(|word| u32::try_from(word).unwrap().to_ne_bytes())
            .collect()
    }

    #[test]
    fn ends_owner_and_numbers_are_found() {
        let socket = parse(&message(AF_INET, &info(232))).unwrap();
        assert_eq!(socket.local.to_string(), "10.0.0.1:4000");
        assert_eq!(socket.remote.to_string(), "10.0.0.2:80");
        assert_eq!((socket.uid, socket.inode, socket.state), (1000, 77, 7));
        let info = socket.info.unwrap();
        assert_eq!((info.rtt_us, info.retransmits), (17, 25));
        assert_eq!(info.segments, Some([34, 35]));
        assert_eq!(info.out_of_order, Some(56));
    }

    #[test]
    fn what_is_beyond_the_end_of_an_old_kernels_struct_is_not_known() {
        let of = |length| parse(&message(AF_INET, &info(length))).unwrap().info;
        assert_eq!(of(103), None, "shorter than any kernel's");
        let oldest = of(104).unwrap();
        assert_eq!((oldest.acknowledged, oldest.segments), (None, None));
        assert!(of(192).unwrap().sent.is_none());
        assert!(of(224).unwrap().sent.is_some() && of(224).unwrap().out_of_order.is_none());
        assert!(absent(224, true).has(Columns::OUT_OF_ORDER));
        assert!(!absent(228, true).has(Columns::OUT_OF_ORDER));
        assert!(absent(240, false).has(Columns::SEGMENTS_SENT));
    }

    #[test]
    fn payload_is_what_is_left_without_syn_and_fin() {
        let info = Info {
            acknowledged: Some(101),
            received: Some(51),
            ..Info::default()
        };
        let numbers = info.numbers(true, true);
        assert_eq!((numbers.bytes_sent, numbers.bytes_received), (100, 50));
        let sent = Info {
            sent: Some([130, 30]),
            ..info
        };
        assert_eq!(sent.numbers(true, false).bytes_sent, 100);
    }

    #[test]
    fn the_cgroup_of_a_socket_is_read_where_the_kernel_tells_it() {
        let mut bytes = message(AF_INET, &info(104));
        assert_eq!(parse(&bytes).unwrap().cgroup_id, 0);
        bytes.extend(12_u16.to_ne_bytes());
        bytes.extend(CGROUP_ID.to_ne_bytes());
        bytes.extend(4711_u64.to_ne_bytes());
        assert_eq!(parse(&bytes).unwrap().cgroup_id, 4711);
    }

    #[test]
    fn requests_have_the_length_of_their_struct() {
        let end = |text: &str| Endpoint::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(request_all(AF_INET, CONNECTED, 0).len(), 56);
        let one = request_one(end("10.0.0.1:4000"), end("10.0.0.2:80"));
        assert_eq!((one.len(), one[0]), (56, AF_INET));
        assert_eq!(one[8..16], [0x0f, 0xa0, 0, 80, 10, 0, 0, 1]);
        let one = request_one(end("[fd00::1]:1"), end("[fd00::2]:2"));
        assert_eq!((one.len(), one[0]), (56, AF_INET6));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_socket_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ignored = parse(&bytes);
        }

        #[test]
        fn torn_messages_never_give_numbers_that_are_not_there(cut in 0..308_usize) {
            let whole = message(AF_INET6, &info(232));
            let socket = parse(&whole[..cut.min(whole.len() - 1)]);
            prop_assert!(socket.is_none_or(|socket| socket.info.is_none()));
        }
    }
}
