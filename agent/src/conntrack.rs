//! What the kernel's connection tracking says of translated connections, by netlink.
//!
//! The source of family `nat`, on hosts that forward packets. Sockets and their group are opened
//! before the agent is confined: afterwards only reading is left to do.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use wire::Endpoint;

use crate::aggregate::nat::Translation;
use crate::netlink::{Drops, attributes, u16_at, u32_at};

/// `linux/netlink.h`
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// `linux/netfilter/nfnetlink.h`: subsystem 1 in the upper byte.
const CT_NEW: u16 = 1 << 8;
const CT_GET: u16 = 1 << 8 | 1;
/// Group `NFNLGRP_CONNTRACK_NEW` as a bit.
const GROUP_NEW: u32 = 1;
/// `linux/netfilter/nfnetlink_conntrack.h`
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const IPPROTO_TCP: u8 = 6;

const HEADER: usize = 16;
/// `struct nfgenmsg`
const FAMILY_HEADER: usize = 4;
const RECEIVE_BYTES: usize = 64 << 10;
/// Room for a second of about 10,000 new connections, each about 900 bytes of kernel memory.
const BUFFER_BYTES: usize = 8 << 20;
const ANSWER_S: i64 = 5;

/// What one look brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// News that the kernel threw away because they were not read in time.
    pub overruns: u64,
    /// Messages that are none of the kernel's.
    pub invalid: u64,
    /// There may be more.
    pub more: bool,
}

/// News of connections in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Conntrack {
    socket: OwnedFd,
    buffer: Vec<u8>,
    drops: Drops,
}

impl Conntrack {
    /// Lists the connections that are there, then begins to listen for new ones. One that begins
    /// between the two is missed: to count one twice would be worse.
    ///
    /// # Errors
    /// The kernel has no connection tracking by netlink, or refuses (`CAP_NET_ADMIN`).
    pub fn open(mut each: impl FnMut(Translation)) -> io::Result<(Self, Taken)> {
        let listing = netlink(SockFlag::empty())?;
        setsockopt(
            &listing,
            sockopt::ReceiveTimeout,
            &TimeVal::new(ANSWER_S, 0),
        )?;
        bind(listing.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut taken = Taken::default();
        send(listing.as_raw_fd(), &dump_request(), MsgFlags::empty())?;
        loop {
            let length = match recv(listing.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            if read(bytes, &mut taken, &mut each)? {
                break;
            }
        }
        let socket = Self::listen()?;
        let news = Self {
            socket,
            buffer,
            drops: Drops::default(),
        };
        Ok((news, taken))
    }

    /// A socket that new connections are told to.
    ///
    /// # Errors
    /// As [`Conntrack::open`].
    pub fn listen() -> io::Result<OwnedFd> {
        let socket = netlink(SockFlag::SOCK_NONBLOCK)?;
        // More than the host's limit needs CAP_NET_ADMIN, which is still there.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_NEW))?;
        Ok(socket)
    }

    /// Gives connections that began since the last call to `each`, from at most `most` messages.
    pub fn take(&mut self, most: usize, mut each: impl FnMut(Translation)) -> Taken {
        let mut taken = Taken {
            more: true,
            ..Taken::default()
        };
        let mut overruns = 0;
        for _ in 0..most {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    if read(bytes, &mut taken, &mut each).is_err() {
                        taken.invalid += 1;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => overruns += 1,
                Err(_) => {
                    taken.more = false;
                    break;
                }
            }
        }
        taken.overruns = self.drops.since(&self.socket, overruns);
        taken
    }
}

fn netlink(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?)
}

fn dump_request() -> Vec<u8> {
    let length = HEADER + FAMILY_HEADER;
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(CT_GET.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Sequence number and port; family "any", version 0, resource 0.
    message.resize(length, 0);
    message
}

/// Reads the messages of one datagram; true at the end of a list.
fn read(
    mut left: &[u8],
    taken: &mut Taken,
    each: &mut impl FnMut(Translation),
) -> io::Result<bool> {
    while !left.is_empty() {
        let length = u32_at(left, 0).and_then(|length| usize::try_from(length).ok());
        let body = length.and_then(|length| left.get(HEADER..length));
        let (Some(length), Some(kind), Some(body)) = (length, u16_at(left, 4), body) else {
            taken.invalid += 1;
            return Ok(false);
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let error = u32_at(body, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(error.wrapping_neg()));
            }
            CT_NEW => {
                if let Some(one) = body.get(FAMILY_HEADER..).and_then(translation) {
                    each(one);
                }
            }
            _ => {}
        }
        left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Both tuples of a TCP connection; `None` for other protocols and for what is torn.
fn translation(body: &[u8]) -> Option<Translation> {
    let (mut original, mut reply) = (None, None);
    for (kind, value) in attributes(body) {
        match kind {
            CTA_TUPLE_ORIG => original = Some(tuple(value)?),
            CTA_TUPLE_REPLY => reply = Some(tuple(value)?),
            _ => {}
        }
    }
    let ((client, dialled), (server, source)) = (original?, reply?);
    Some(Translation {
        client,
        dialled,
        source,
        server,
    })
}

/// Source and destination of one direction.
fn tuple(value: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let (mut from, mut to) = (None, None);
    let (mut from_port, mut to_port, mut protocol) = (None, None, None);
    for (kind, value) in attributes(value) {
        for (inner, value) in attributes(value) {
            match (kind, inner) {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => from = address(value),
                // The destination's number follows the source's, for either family.
                (CTA_TUPLE_IP, 2 | 4) => to = address(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => protocol = value.first().copied(),
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => from_port = port(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => to_port = port(value),
                _ => {}
            }
        }
    }
    if protocol != Some(IPPROTO_TCP) {
        return None;
    }
    let endpoint = |addr, port| Endpoint { addr, port };
    Some((endpoint(from?, from_port?), endpoint(to?, to_port?)))
}

fn address(value: &[u8]) -> Option<[u8; 16]> {
    match value.len() {
        4 => {
            let mut mapped = [0; 16];
            mapped[10..12].fill(0xff);
            mapped[12..].copy_from_slice(value);
            Some(mapped)
        }
        16 => value.try_into().ok(),
        _ => None,
    }
}

fn port(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::Body;

    fn direction(from: [u8; 4], from_port: u16, to: [u8; 4], to_port: u16, protocol: u8) -> Body {
        Body::default()
            .with_nested(
                CTA_TUPLE_IP,
                &Body::default().with(CTA_IP_V4_SRC, &from).with(2, &to),
            )
            .with_nested(
                CTA_TUPLE_PROTO,
                &Body::default()
                    .with(CTA_PROTO_NUM, &[protocol])
                    .with(CTA_PROTO_SRC_PORT, &from_port.to_be_bytes())
                    .with(CTA_PROTO_DST_PORT, &to_port.to_be_bytes()),
            )
    }

    fn message(protocol: u8) -> Vec<u8> {
        let body = Body::new(&[2, 0, 0, 0])
            .with_nested(
                CTA_TUPLE_ORIG,
                &direction([10, 1, 0, 1], 40_000, [10, 1, 0, 100], 80, protocol),
            )
            .with_nested(
                CTA_TUPLE_REPLY,
                &direction([10, 2, 0, 2], 8080, [10, 2, 0, 1], 50_000, protocol),
            );
        body.message(CT_NEW)
    }

    fn all(bytes: &[u8]) -> (Vec<Translation>, Taken) {
        let (mut found, mut taken) = (Vec::new(), Taken::default());
        read(bytes, &mut taken, &mut |one| found.push(one)).ok();
        (found, taken)
    }

    #[test]
    fn both_tuples_make_a_translation() {
        let (found, _) = all(&[message(IPPROTO_TCP), message(17)].concat());
        assert_eq!(found.len(), 1, "only TCP counts");
        let texts = [
            found[0].client,
            found[0].dialled,
            found[0].source,
            found[0].server,
        ]
        .map(|endpoint| endpoint.to_string());
        assert_eq!(
            texts,
            [
                "10.1.0.1:40000",
                "10.1.0.100:80",
                "10.2.0.1:50000",
                "10.2.0.2:8080"
            ]
        );
        assert!(found[0].changes_addresses());
    }

    #[test]
    fn what_never_ends_is_read_up_to_the_budget_and_nothing_of_it_is_lost() {
        let (kernel, socket) = std::os::unix::net::UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut conntrack = Conntrack {
            socket: socket.into(),
            buffer: vec![0; RECEIVE_BYTES],
            drops: Drops::default(),
        };
        let tell = || kernel.send(&message(IPPROTO_TCP)).unwrap();
        for _ in 0..7 {
            tell();
        }
        let mut found = 0;
        // As if the kernel told of the next one whenever one was read.
        let taken = conntrack.take(5, |_| {
            found += 1;
            tell();
        });
        assert!(taken.more);
        assert_eq!(found, 5);
        let taken = conntrack.take(100, |_| found += 1);
        assert_eq!((found, taken.more), (7 + 5, false));
    }

    #[test]
    fn a_torn_message_gives_nothing_and_is_counted() {
        let whole = message(IPPROTO_TCP);
        for cut in 1..whole.len() {
            let (found, taken) = all(&whole[..cut]);
            assert!(found.is_empty() && taken.invalid == 1, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            all(&bytes);
        }

        #[test]
        fn any_change_of_a_byte_is_survived(at in 0..150_usize, byte: u8) {
            let mut bytes = message(IPPROTO_TCP);
            let at = at % bytes.len();
            bytes[at] = byte;
            all(&bytes);
        }
    }
}
