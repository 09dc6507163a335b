//! What the kernel's connection tracking says of translated connections, by netlink.
//!
//! The source of family `nat`, on hosts that forward packets. The socket and its group are opened
//! before the agent is confined: afterwards only reading is left to do.

use std::io;

use wire::Endpoint;

use crate::family::nat::aggregate::Translation;
use crate::netlink::{Body, CONNTRACK_NEW, Notifications, Route, Taken, attributes};

/// `linux/netfilter/nfnetlink.h`: subsystem 1 in the upper byte.
const CT_NEW: u16 = 1 << 8;
const CT_GET: u16 = 1 << 8 | 1;
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

/// `struct nfgenmsg`: family "any", version 0, resource 0.
const FAMILY_HEADER: [u8; 4] = [0; 4];
/// Room for a second of about 10,000 new connections, each about 900 bytes of kernel memory.
const BUFFER_BYTES: usize = 8 << 20;

/// News of connections in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Conntrack {
    notifications: Notifications,
}

impl Conntrack {
    /// Lists the connections that are there, then begins to listen for new ones. One that begins
    /// between the two is missed: to count one twice would be worse.
    ///
    /// # Errors
    /// The kernel has no connection tracking by netlink, or refuses (`CAP_NET_ADMIN`).
    pub fn open(mut each: impl FnMut(Translation)) -> io::Result<Self> {
        let body = Body::new(&FAMILY_HEADER);
        Route::open_netfilter()?.dump((CT_GET, CT_NEW), &body, |body| {
            if let Some(one) = translation(body) {
                each(one);
            }
        })?;
        Ok(Self {
            notifications: Notifications::open_netfilter(CONNTRACK_NEW, BUFFER_BYTES)?,
        })
    }

    /// Gives connections that began since the last call to `each`, from at most `most` messages.
    pub(crate) fn take(&mut self, most: usize, mut each: impl FnMut(Translation)) -> Taken {
        self.notifications.take(most, |kind, body| {
            if kind == CT_NEW
                && let Some(one) = translation(body)
            {
                each(one);
            }
        })
    }
}

/// Both tuples of a TCP connection; `None` for other protocols and for what is torn.
fn translation(body: &[u8]) -> Option<Translation> {
    let (mut original, mut reply) = (None, None);
    for (kind, value) in attributes(body.get(FAMILY_HEADER.len()..)?) {
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
    use std::os::unix::net::UnixDatagram;

    use proptest::prelude::*;

    use super::*;

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

    fn body(protocol: u8) -> Body {
        Body::new(&[2, 0, 0, 0])
            .with_nested(
                CTA_TUPLE_ORIG,
                &direction([10, 1, 0, 1], 40_000, [10, 1, 0, 100], 80, protocol),
            )
            .with_nested(
                CTA_TUPLE_REPLY,
                &direction([10, 2, 0, 2], 8080, [10, 2, 0, 1], 50_000, protocol),
            )
    }

    /// The connection behind this end of a pair, as the kernel would tell of it.
    fn conntrack() -> (UnixDatagram, Conntrack) {
        let (kernel, socket) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifications = Notifications::on(socket.into());
        (kernel, Conntrack { notifications })
    }

    #[test]
    fn both_tuples_make_a_translation() {
        let (kernel, mut conntrack) = conntrack();
        let messages = [(IPPROTO_TCP, CT_NEW), (17, CT_NEW), (IPPROTO_TCP, CT_GET)];
        let messages = messages.map(|(protocol, kind)| body(protocol).message(kind));
        kernel.send(&messages.concat()).unwrap();
        let mut found = Vec::new();
        conntrack.take(1, |one| found.push(one));
        assert_eq!(found.len(), 1, "only new TCP connections count");
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
        let (kernel, mut conntrack) = conntrack();
        let tell = || kernel.send(&body(IPPROTO_TCP).message(CT_NEW)).unwrap();
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

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            translation(&bytes);
        }

        #[test]
        fn any_change_of_a_byte_is_survived(at in 0..150_usize, byte: u8) {
            let mut bytes = body(IPPROTO_TCP).message(CT_NEW).split_off(16);
            let at = at % bytes.len();
            bytes[at] = byte;
            translation(&bytes);
        }
    }
}
