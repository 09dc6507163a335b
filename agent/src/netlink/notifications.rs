//! What the kernel tells unasked: sockets that are gone, connections that are tracked; and how much
//! of it found no room.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, NetlinkAddr, SockFlag, SockProtocol, bind, recv, setsockopt, sockopt,
};

use super::message::{netlink, split};

/// News come one by one, each smaller than a page.
const NEWS_BYTES: usize = 8 << 10;

/// What the kernel tells the members of a multicast group.
#[derive(Debug)]
pub(crate) struct Notifications {
    socket: OwnedFd,
    buffer: Vec<u8>,
    drops: Drops,
}

/// What there was to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// There may be more.
    pub(crate) more: bool,
    /// Messages that the kernel could not keep; where it does not count them, at least one for each
    /// time that it says so.
    pub(crate) dropped: u64,
    /// Messages that are torn.
    pub(crate) invalid: u64,
}

impl Notifications {
    /// Begins to listen for sockets that are gone, of these groups, in the network namespace of the
    /// calling thread, with room for `bytes`.
    pub(crate) fn open_diag(groups: u32, bytes: usize) -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkSockDiag, groups, bytes)
    }

    /// The same for what netfilter tells, connection tracking among it.
    pub(crate) fn open_netfilter(groups: u32, bytes: usize) -> io::Result<Self> {
        Self::of(SockProtocol::NetlinkNetFilter, groups, bytes)
    }

    fn of(protocol: SockProtocol, groups: u32, bytes: usize) -> io::Result<Self> {
        let socket = netlink(SockFlag::SOCK_NONBLOCK, protocol)?;
        enlarge(&socket, bytes)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self::on(socket))
    }

    /// On a socket that is bound.
    pub(crate) fn on(socket: OwnedFd) -> Self {
        Self {
            socket,
            buffer: vec![0; NEWS_BYTES],
            drops: Drops::default(),
        }
    }

    /// Gives kind and body of what is in at most `most` datagrams to `each`.
    pub(crate) fn take(&mut self, most: usize, mut each: impl FnMut(u16, &[u8])) -> Taken {
        let mut taken = Taken {
            more: true,
            ..Taken::default()
        };
        let mut overruns = 0;
        for _ in 0..most {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let mut left = self.buffer.get(..length).unwrap_or_default();
                    while let Some((kind, _, body, rest)) = split(left) {
                        left = rest;
                        each(kind, body);
                    }
                    taken.invalid += u64::from(!left.is_empty());
                }
                Err(Errno::ENOBUFS) => overruns += 1,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    taken.more = false;
                    break;
                }
            }
        }
        taken.dropped = self.drops.since(&self.socket, overruns);
        taken
    }
}

/// Messages that a socket had no room for.
///
/// `ENOBUFS` is said once for all that is lost until the socket is empty (`netlink_overrun()`), but
/// each is counted.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// What the kernel had counted; it wraps.
    before: u32,
}

impl Drops {
    /// Those since the last call; `overruns` is how often the kernel said `ENOBUFS` since.
    pub(crate) fn since(&mut self, socket: &OwnedFd, overruns: u64) -> u64 {
        match counted(socket, overruns > 0) {
            Some(now) => {
                let more = now.wrapping_sub(self.before);
                self.before = now;
                u64::from(more)
            }
            None => overruns,
        }
    }
}

/// What the kernel counted so far. Before 4.12 only `/proc` has it, and only for the network
/// namespace of this process; that is worth reading only when something `is_lost`.
fn counted(socket: &OwnedFd, is_lost: bool) -> Option<u32> {
    if let Ok(dropped) = bpf::packet::dropped(socket.as_fd()) {
        return Some(dropped);
    }
    if !is_lost {
        return None;
    }
    let inode = nix::sys::stat::fstat(socket).ok()?.st_ino;
    drops_in(
        &std::fs::read_to_string("/proc/self/net/netlink").ok()?,
        inode,
    )
}

/// The column Drops of the line of a socket in `/proc/net/netlink`: the last but its inode number.
fn drops_in(table: &str, inode: u64) -> Option<u32> {
    let mut lines = table.lines().map(|line| line.split_whitespace().rev());
    lines.find_map(|mut line| {
        let ours = line.next()?.parse() == Ok(inode);
        line.next().filter(|_| ours)?.parse().ok()
    })
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes room for what arrives between two looks; less than wanted where it may not be.
fn enlarge(socket: &OwnedFd, bytes: usize) -> io::Result<()> {
    // Beyond net.core.rmem_max only CAP_NET_ADMIN gets.
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::sendto;

    use super::*;
    use crate::netlink::Body;

    #[test]
    fn the_drops_of_a_socket_are_found_by_its_inode() {
        let table = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                     000000005a5a5a5a 4   4242       00000005 0        0        0     2        17       9001\n\
                     000000006b6b6b6b 0   1          00000000 0        0        0     2        3        17\n";
        assert_eq!(drops_in(table, 9001), Some(17));
        assert_eq!(drops_in(table, 17), Some(3));
        assert_eq!(drops_in(table, 5), None);
        assert_eq!(drops_in("", 0), None);
    }

    #[test]
    fn a_torn_message_gives_nothing_and_is_counted() {
        let (kernel, socket) = std::os::unix::net::UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut news = Notifications::on(socket.into());
        let whole = Body::new(&[7; 64]).message(20);
        for cut in 1..whole.len() {
            kernel.send(&whole[..cut]).unwrap();
            let taken = news.take(2, |_, _| panic!("{cut} bytes are no message"));
            assert_eq!((taken.invalid, taken.more), (1, false), "{cut}");
        }
        kernel.send(&whole).unwrap();
        let mut kinds = Vec::new();
        let taken = news.take(2, |kind, body| kinds.push((kind, body.len())));
        assert_eq!((kinds, taken.invalid), (vec![(20, 64)], 0));
    }

    #[test]
    fn each_message_that_a_full_socket_loses_is_counted() {
        const SENT: u64 = 1000;
        let open = || netlink(SockFlag::SOCK_NONBLOCK, SockProtocol::NetlinkUserSock).unwrap();
        let (sender, socket) = (open(), open());
        setsockopt(&socket, sockopt::RcvBuf, &4096).unwrap();
        match bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << 30)) {
            Err(Errno::EPERM) => return eprintln!("skipped: joining a group takes CAP_NET_ADMIN"),
            other => other.unwrap(),
        }
        let mut news = Notifications::on(socket);
        let message = Body::new(&[7; 64]).message(20);
        let mut send_some = |sent: u64| {
            let everybody = NetlinkAddr::new(0, 1 << 30);
            for _ in 0..sent {
                // The group gets it; then it is refused by the kernel's own end, which is none.
                let sent = sendto(sender.as_raw_fd(), &message, &everybody, MsgFlags::empty());
                assert_eq!(sent, Err(Errno::ECONNREFUSED));
            }
            let mut read = 0;
            let taken = news.take(usize::try_from(SENT).unwrap(), |_, _| read += 1);
            (read, taken.dropped)
        };
        let (read, dropped) = send_some(SENT);
        assert!(read > 0 && dropped > 1, "{read} read, {dropped} dropped");
        assert_eq!(read + dropped, SENT);
        assert_eq!(
            send_some(1),
            (1, 0),
            "what was lost before is not counted again"
        );
        let inode = nix::sys::stat::fstat(&news.socket).unwrap().st_ino;
        let table = std::fs::read_to_string("/proc/self/net/netlink").unwrap();
        assert_eq!(drops_in(&table, inode).map(u64::from), Some(dropped));
    }
}
