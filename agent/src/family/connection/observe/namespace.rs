//! The sockets with which one network namespace is watched; opened before the agent is confined.

use std::collections::HashSet;
use std::io;
use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use bpf::packet;
use bpf::packet_ring::Ring;
use wire::Endpoint;

use super::table::{PacketContext, Way};
use crate::frame::{self, OptionPrefix, SNAP_BYTES, Segment, filter};
use crate::netlink::{self, Body, Notifications, Route, attributes};
use crate::netns::{self, Tenants};
use crate::sock_diag::{self, Socket};

/// Room for news, in parts of `limits.ring_bytes`: the kernel counts a piece of news with all the
/// memory that it occupies, about 2 KiB.
const NEWS_SHARE: usize = 2;
/// Room for packets that a ring has at least, in bytes: some 1,300 packets, which 1,000 new
/// connections a second fill in 250 ms.
const LEAST_PACKETS: usize = 256 << 10;
/// Packets taken at once.
const BATCH: usize = 64;
/// Times that addresses are listed until they did not change meanwhile.
const ATTEMPTS: u32 = 3;
/// `linux/if_packet.h`
const PACKET_OTHERHOST: u8 = 3;
const PACKET_OUTGOING: u8 = 4;
/// `linux/rtnetlink.h`, `linux/if_addr.h`
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFADDRMSG_BYTES: usize = 8;

/// One network namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Inode number.
    pub(super) inode: u32,
    packets: Ring,
    news: Option<Notifications>,
    diag: Route,
    route: Route,
    addresses: HashSet<[u8; 16]>,
    pub(super) tenants: Tenants,
}

/// How much may wait to be read, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Packets: memory that is taken at once.
    packets: usize,
    /// News of closed sockets: a bound.
    news: usize,
}

impl Room {
    /// Of each of so many namespaces, of which there is one at least.
    ///
    /// A ring takes its memory although nothing is in it, so the namespaces share
    /// `limits.ring_bytes`, unless that would leave one too little.
    pub(super) fn each_of(spaces: usize, ring_bytes: usize) -> Self {
        Self {
            packets: (ring_bytes / spaces).max(LEAST_PACKETS).min(ring_bytes),
            news: NEWS_SHARE * ring_bytes,
        }
    }
}

/// What was counted of one look at packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looked {
    /// Packets that were read.
    pub(super) packets: u64,
    /// Packets that were no whole TCP header.
    pub(super) invalid: u64,
    /// There may be more.
    pub(super) more: bool,
}

impl Namespace {
    /// Opens everything in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Names what the kernel refuses; `told` says whether news of closed sockets are to be had,
    /// `room` how much may wait to be read.
    pub(super) fn open(prefix: OptionPrefix, told: bool, room: Room) -> Result<Self> {
        let inode = netns::own_inode().context("look at the network namespace")?;
        let packets = Ring::open(&filter(prefix), SNAP_BYTES, room.packets)
            .context("open a packet socket")?;
        let news = told
            .then(|| Notifications::open_diag(sock_diag::GROUPS_DESTROYED, room.news))
            .transpose()
            .context("listen to news of sockets")?;
        packet::receive_all(packets.socket()).context("begin to receive packets")?;
        let mut namespace = Self {
            inode,
            packets,
            news,
            diag: Route::open_diag().context("open a socket for lists of sockets")?,
            route: Route::open().context("open a socket for addresses")?,
            addresses: HashSet::new(),
            tenants: Tenants::here(),
        };
        namespace
            .refresh_addresses()
            .context("list the addresses")?;
        Ok(namespace)
    }

    /// Reads the addresses anew, and again if they changed meanwhile; true when they still do, so that
    /// some may be missing.
    pub(super) fn refresh_addresses(&mut self) -> io::Result<bool> {
        let body = Body::new(&[0; IFADDRMSG_BYTES]);
        let mut changed = true;
        for _ in 0..ATTEMPTS {
            let mut addresses = HashSet::new();
            changed = self
                .route
                .dump((RTM_GETADDR, RTM_NEWADDR), &body, |entry| {
                    addresses.extend(address(entry));
                })?;
            self.addresses = addresses;
            if !changed {
                break;
            }
        }
        Ok(changed)
    }

    /// Reads up to one batch of packets; `zero_ns` is Unix time at CLOCK_MONOTONIC zero.
    pub(super) fn read(
        &mut self,
        (space, prefix, zero_ns): (u16, OptionPrefix, u64),
        mut each: impl FnMut(&PacketContext, &Segment),
    ) -> Looked {
        let mut looked = Looked::default();
        let addresses = &self.addresses;
        let read = self.packets.take(BATCH, |packet| {
            let Some(segment) = frame::parse(packet.bytes, prefix) else {
                looked.invalid += 1;
                return;
            };
            let at = u64::try_from(packet.at.as_nanos()).unwrap_or(u64::MAX);
            let seen = PacketContext {
                space,
                time_ns: at.saturating_sub(zero_ns),
                way: match packet.kind {
                    PACKET_OUTGOING => Way::Out,
                    PACKET_OTHERHOST => Way::Past,
                    _ => Way::In,
                },
                ours: [segment.source, segment.destination].map(|end| has(addresses, end)),
            };
            each(&seen, &segment);
        });
        looked.packets = read as u64;
        looked.more = read == BATCH;
        looked
    }

    /// Packets that the kernel had for the socket since the last call, and those without room.
    pub(super) fn statistics(&self) -> io::Result<packet::Statistics> {
        packet::statistics(self.packets.socket())
    }

    /// News of closed sockets, at most `most`.
    pub(super) fn take_news(
        &mut self,
        most: usize,
        mut each: impl FnMut(Option<Socket>),
    ) -> netlink::Taken {
        match &mut self.news {
            Some(news) => news.take(most, |_, body| each(sock_diag::parse(body))),
            None => netlink::Taken::default(),
        }
    }

    /// Lists all sockets in these states.
    pub(super) fn list(&mut self, states: u32, each: impl FnMut(Option<Socket>)) -> io::Result<()> {
        sock_diag::list(&mut self.diag, states, each)
    }

    /// The socket with these ends, if it still has an owner.
    pub(super) fn ask(&mut self, local: Endpoint, remote: Endpoint) -> io::Result<Option<Socket>> {
        let mut found = None;
        let body = Body::new(&sock_diag::request_one(local, remote));
        let asked = self.diag.ask(sock_diag::BY_FAMILY, &body, |body| {
            found = sock_diag::parse(body);
        });
        match asked {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(found),
        }
    }
}

/// Whether packets to this address end where these addresses are.
fn has(addresses: &HashSet<[u8; 16]>, end: Endpoint) -> bool {
    end.ip().is_loopback() || addresses.contains(&end.addr)
}

/// The address of an entry: `struct ifaddrmsg`, then attributes.
fn address(entry: &[u8]) -> Option<[u8; 16]> {
    let rest = entry.get(IFADDRMSG_BYTES..)?;
    let of = |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
    // With a peer, ADDRESS is the peer's and LOCAL the own one.
    let bytes = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
    match bytes.len() {
        4 => {
            let v4: [u8; 4] = bytes.try_into().ok()?;
            Some(std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets())
        }
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).octets()),
    }
}
