//! Netlink, as little of it as is needed: requests, dumps, and news of devices and sockets.
//!
//! libbpf could attach filters, too, but asks bpf(2) for each program's name, which takes a
//! capability that the running agent need not have; and it cannot list what others attached.

mod message;
mod notifications;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, NetlinkAddr, SockFlag, SockProtocol, bind, recv, send, setsockopt, sockopt,
};
use nix::sys::time::TimeVal;

use message::{HEADER, netlink, split};

pub(crate) use message::{Body, attributes, text, u16_at, u32_at};
pub(crate) use notifications::{Notifications, Taken};

/// `linux/netlink.h`
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// What is listed changed meanwhile: something may be missing.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
/// Fail when it is there already.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
/// Make it.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// Group `NFNLGRP_CONNTRACK_NEW` of `linux/netfilter/nfnetlink_compat.h`, as a bit.
pub(crate) const CONNTRACK_NEW: u32 = 1;
/// `linux/rtnetlink.h`
const RTMGRP_LINK: u32 = 1;
const RTMGRP_TC: u32 = 8;
pub(crate) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_DELQDISC: u16 = 37;
const RTM_DELTFILTER: u16 = 45;

/// The kernel makes dump messages of at most 32 KiB, and one message never larger than that.
const RECEIVE_BYTES: usize = 64 << 10;
/// The kernel answers while it is asked; waiting for longer means that it never will.
const ANSWER_S: i64 = 5;

/// A socket for requests.
#[derive(Debug)]
pub(crate) struct Route {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Route {
    /// Opens one in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkRoute)
    }

    /// Opens one that asks for sockets instead of devices and addresses.
    pub(crate) fn open_diag() -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkSockDiag)
    }

    /// Opens one that asks for what netfilter knows.
    pub(crate) fn open_netfilter() -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkNetFilter)
    }

    fn of(protocol: SockProtocol) -> io::Result<Self> {
        let socket = netlink(SockFlag::empty(), protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_S, 0))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; RECEIVE_BYTES],
        })
    }

    /// On a socket of a test's own.
    #[cfg(test)]
    pub(crate) fn on(socket: OwnedFd) -> Self {
        Self {
            socket,
            sequence: 0,
            buffer: Vec::new(),
        }
    }

    /// Asks for one change and waits for the answer.
    pub(crate) fn request(&mut self, kind: u16, flags: u16, body: &Body) -> io::Result<()> {
        self.send(kind, flags | NLM_F_ACK, body)?;
        self.receive(|_, _| ()).map(drop)
    }

    /// Asks for a list and gives each entry's body to `each`; true when what is listed changed
    /// meanwhile, so that something may be missing. `kinds`: of the request, and of an entry.
    pub(crate) fn dump(
        &mut self,
        (request, entry): (u16, u16),
        body: &Body,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        self.send(request, NLM_F_DUMP, body)?;
        self.receive(|found, body| {
            if found == entry {
                each(body);
            }
        })
    }

    /// Asks for one thing; gives its body to `each` if it is there.
    pub(crate) fn ask(
        &mut self,
        kind: u16,
        body: &Body,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.send(kind, NLM_F_ACK, body)?;
        let answered = self.receive(|found, entry| {
            if found == kind {
                each(entry);
            }
        });
        answered.map(drop)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &Body) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.0.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER + body.0.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(&body.0);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes what belongs to the last request, to its end; true when a list changed meanwhile.
    fn receive(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut changed = false;
        loop {
            let socket = self.socket.as_raw_fd();
            let length = match recv(socket, &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let mut left = self.buffer.get(..length).unwrap_or_default();
            while let Some((kind, sequence, body, rest)) = split(left) {
                let flags = u16_at(left, 6).unwrap_or_default();
                left = rest;
                // The answer to a request that was given up.
                if sequence != self.sequence {
                    continue;
                }
                changed |= flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    // A list that was cut says why; older kernels say nothing.
                    NLMSG_DONE if body.len() >= 4 => return result(body).map(|()| changed),
                    NLMSG_DONE => return Ok(changed),
                    NLMSG_ERROR => return result(body).map(|()| changed),
                    _ => each(kind, body),
                }
            }
        }
    }
}

impl AsFd for Route {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The error of an answer, 0 for none.
fn result(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(
            error.cast_signed().wrapping_neg(),
        )),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What happened to devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Some came, went or changed.
    pub(crate) devices: bool,
    /// From these, something was removed that filters hang on.
    pub(crate) stripped: BTreeSet<u32>,
    /// More happened than the kernel could keep.
    pub(crate) lost: bool,
}

impl News {
    /// Nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what one or more messages say.
    fn read(&mut self, mut messages: &[u8]) {
        while let Some((kind, _, body, rest)) = split(messages) {
            messages = rest;
            match kind {
                RTM_NEWLINK | RTM_DELLINK => self.devices = true,
                RTM_DELQDISC | RTM_DELTFILTER => self.stripped.extend(u32_at(body, 4)),
                _ => {}
            }
        }
    }
}

/// Becomes readable when something happens to devices.
#[derive(Debug)]
pub(crate) struct DeviceNews {
    socket: OwnedFd,
}

impl DeviceNews {
    /// Begins to listen in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = netlink(SockFlag::SOCK_NONBLOCK, SockProtocol::NetlinkRoute)?;
        let groups = RTMGRP_LINK | RTMGRP_TC;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { socket })
    }

    /// Adds to `news` what happened since the last call, from at most `most` messages; true when there
    /// may be more.
    pub(crate) fn take(&self, most: usize, news: &mut News) -> bool {
        let mut buffer = [0; 16 << 10];
        for _ in 0..most {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => news.read(buffer.get(..length).unwrap_or_default()),
                Err(Errno::ENOBUFS) => news.lost = true,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl AsFd for DeviceNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_out_as_they_went_in() {
        let inner = Body::default().with(6, &7_u32.to_ne_bytes());
        let body = Body::new(&[1, 2, 3, 4])
            .with(1, b"bpf\0")
            .with(7, b"odd")
            .with_nested(2, &inner);
        let found: Vec<(u16, &[u8])> = attributes(&body.0[4..]).collect();
        assert_eq!(found[0], (1, &b"bpf\0"[..]));
        assert_eq!(text(found[0].1), "bpf");
        assert_eq!(found[1], (7, &b"odd"[..]));
        assert_eq!(found[2].0, 2, "the flag for nesting is no part of the kind");
        assert_eq!(
            attributes(found[2].1).next(),
            Some((6, &7_u32.to_ne_bytes()[..]))
        );
    }

    #[test]
    fn a_list_that_was_cut_or_changed_is_not_taken_for_whole() {
        let entry = Body::new(&[1; 8]).message(20);
        let done = |error: i32| Body::new(&error.to_ne_bytes()).message(NLMSG_DONE);
        let mut changed = done(0);
        changed[6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
        let listed = |end: &[u8]| {
            let (kernel, socket) = std::os::unix::net::UnixDatagram::pair().unwrap();
            let mut route = Route {
                buffer: vec![0; RECEIVE_BYTES],
                ..Route::on(socket.into())
            };
            kernel.send(&entry).unwrap();
            kernel.send(end).unwrap();
            let mut found = 0;
            let listed = route.receive(|_, _| found += 1);
            assert_eq!(found, 1);
            listed.map_err(|error| error.raw_os_error())
        };
        assert_eq!(listed(&done(0)), Ok(false));
        assert_eq!(listed(&Body::default().message(NLMSG_DONE)), Ok(false));
        assert_eq!(listed(&changed), Ok(true));
        assert_eq!(listed(&done(-12)), Err(Some(12)));
    }

    #[test]
    fn torn_attributes_and_messages_end_the_list() {
        let body = Body::default().with(1, b"whole");
        for cut in 0..body.0.len() - 3 {
            assert_eq!(attributes(&body.0[..cut]).count(), 0, "{cut}");
        }
        assert!(split(&[0; 15]).is_none());
        assert!(split(&[0xff; 16]).is_none());
    }

    #[test]
    fn news_name_the_devices_that_lost_something() {
        let message = |kind: u16, index: u32| {
            let mut message = 36_u32.to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.extend([0; 10]);
            message.extend(0_u32.to_ne_bytes());
            message.extend(index.to_ne_bytes());
            message.resize(36, 0);
            message
        };
        let mut news = News::default();
        news.read(&[message(RTM_DELTFILTER, 7), message(36, 8)].concat());
        assert!(!news.devices && !news.is_empty());
        assert_eq!(news.stripped, BTreeSet::from([7]));
        let mut torn = News::default();
        torn.read(&message(RTM_NEWLINK, 9)[..35]);
        assert!(torn.is_empty(), "a torn message says nothing");
        news.read(&message(RTM_NEWLINK, 9));
        assert!(news.devices);
        assert_eq!(news.stripped, BTreeSet::from([7]), "later news add");
    }

    #[test]
    fn news_that_never_end_are_read_up_to_the_budget() {
        let (kernel, socket) = std::os::unix::net::UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let devices = DeviceNews {
            socket: socket.into(),
        };
        let message = Body::new(&[0; 16]).message(RTM_NEWLINK);
        for _ in 0..7 {
            kernel.send(&message).unwrap();
        }
        let mut news = News::default();
        assert!(devices.take(5, &mut news), "two are left");
        assert!(!devices.take(5, &mut news) && news.devices);
    }

    #[test]
    fn the_kernels_error_numbers_are_negative() {
        let refused = result(&(-17_i32).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(result(&0_i32.to_ne_bytes()).is_ok());
        assert!(result(&[]).is_err());
    }
}
