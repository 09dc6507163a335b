//! The sockets with which one network namespace is watched; opened before the agent is confined.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use bpf::packet;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use wire::Endpoint;

use super::table::{Seen, Way};
use crate::frame::{self, OptionPrefix, SNAP_BYTES, Segment, filter};
use crate::netlink::{self, Body, Notifications, Route, attributes};
use crate::netns::{self, Tenants};
use crate::sock_diag::{self, Socket};

/// Room for packets and for news, in parts of `limits.ring_bytes`: the kernel counts a packet with
/// all the memory that it occupies, about 1 KiB, and a piece of news with twice that.
const PACKET_SHARE: usize = 4;
const NEWS_SHARE: usize = 2;
/// Packets taken by one system call.
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
    packets: OwnedFd,
    news: Option<Notifications>,
    diag: Route,
    route: Route,
    addresses: HashSet<[u8; 16]>,
    pub(super) tenants: Tenants,
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

/// Buffers for one system call, made once.
#[derive(Debug)]
pub(super) struct Buffers {
    headers: MultiHeaders<LinkAddr>,
    bytes: Vec<[u8; SNAP_BYTES]>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec))),
            bytes: vec![[0; SNAP_BYTES]; BATCH],
        }
    }
}

impl Namespace {
    /// Opens everything in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Names what the kernel refuses; `told` says whether news of closed sockets are to be had,
    /// `ring_bytes` how much may wait to be read.
    pub(super) fn open(prefix: OptionPrefix, told: bool, ring_bytes: usize) -> Result<Self> {
        let inode = netns::own_inode().context("look at the network namespace")?;
        let packets = packet::open(&filter(prefix)).context("open a packet socket")?;
        netlink::enlarge(&packets, PACKET_SHARE * ring_bytes).context("enlarge its buffer")?;
        setsockopt(&packets, sockopt::ReceiveTimestampns, &true).context("ask for times")?;
        let news = told
            .then(|| Notifications::open_diag(sock_diag::GROUPS_DESTROYED, NEWS_SHARE * ring_bytes))
            .transpose()
            .context("listen to news of sockets")?;
        packet::receive_all(packets.as_fd()).context("begin to receive packets")?;
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

    /// Whether packets to this address end here.
    fn has(&self, end: Endpoint) -> bool {
        end.ip().is_loopback() || self.addresses.contains(&end.addr)
    }

    /// Reads up to one batch of packets; `zero_ns` is Unix time at CLOCK_MONOTONIC zero.
    pub(super) fn read(
        &self,
        buffers: &mut Buffers,
        (space, prefix, zero_ns): (u16, OptionPrefix, u64),
        mut each: impl FnMut(&Seen, &Segment),
    ) -> io::Result<Looked> {
        let mut looked = Looked::default();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers
            .bytes
            .iter_mut()
            .map(|bytes| [IoSliceMut::new(bytes)])
            .collect();
        let received = recvmmsg(
            self.packets.as_raw_fd(),
            &mut buffers.headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        let received = match received {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(looked),
            // A device went down; the error was taken by reading it.
            Err(Errno::ENETDOWN) => {
                looked.more = true;
                return Ok(looked);
            }
            other => other?,
        };
        for message in received {
            looked.packets += 1;
            let bytes = message.iovs().next().unwrap_or_default();
            let (Some(address), Some(segment)) = (message.address, frame::parse(bytes, prefix))
            else {
                looked.invalid += 1;
                continue;
            };
            let stamp = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| match one {
                    ControlMessageOwned::ScmTimestampns(at) => Some(unix_ns(at)),
                    _ => None,
                })
            });
            let seen = Seen {
                space,
                time_ns: stamp.map_or(0, |at| at.saturating_sub(zero_ns)),
                way: match address.pkttype() {
                    PACKET_OUTGOING => Way::Out,
                    PACKET_OTHERHOST => Way::Past,
                    _ => Way::In,
                },
                ours: [self.has(segment.source), self.has(segment.destination)],
            };
            each(&seen, &segment);
        }
        looked.more = looked.packets == BATCH as u64;
        Ok(looked)
    }

    /// Packets that the kernel had for the socket since the last call, and those without room.
    pub(super) fn statistics(&self) -> io::Result<packet::Statistics> {
        packet::statistics(self.packets.as_fd())
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

fn unix_ns(at: TimeSpec) -> u64 {
    u64::try_from(std::time::Duration::from(at).as_nanos()).unwrap_or(0)
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
