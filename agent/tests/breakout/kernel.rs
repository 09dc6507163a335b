//! Ways through other processes, and through what the kernel does for whoever asks.

use std::io::{self};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};

use crate::way::{Attempt, filtered, held};

/// Into others, or into the kernel.
pub(crate) const OTHERS: &[Attempt] = &[
    filtered("ptrace", |way| Ok(nix::sys::ptrace::attach(way.victim)?)),
    filtered("reading memory by call", |way| {
        let mut byte = [0];
        let mut local = [io::IoSliceMut::new(&mut byte)];
        let remote = [RemoteIoVec { base: 0, len: 1 }];
        match process_vm_readv(way.victim, &mut local, &remote) {
            // There is nothing at address 0.
            Ok(_) | Err(Errno::EFAULT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }),
    held("a signal to another process", |way| {
        Ok(nix::sys::signal::kill(way.victim, None)?)
    }),
    // By the want of CAP_SYS_MODULE as well, where the kernel has modules.
    filtered("loading a module", |_| {
        match nix::kmod::init_module(b"no module", c"") {
            // Free it is read, and found to be none; where modules are off there is no such call.
            Err(Errno::ENOEXEC | Errno::ENOSYS) => Ok(()),
            other => Ok(other?),
        }
    }),
    filtered("loading a BPF program", |_| {
        let object = libbpf_rs::ObjectBuilder::default().open_memory(bpf::TRIAL);
        let mut object = object.map_err(io::Error::other)?;
        for mut program in object.progs_mut() {
            let wanted = program.name() == "wb_trial_filter";
            program.set_autoload(wanted);
        }
        object.load().map(drop).map_err(|_| Errno::EPERM.into())
    }),
    held("a socket of packets", |_| {
        let (flags, all) = (SockFlag::empty(), SockProtocol::EthAll);
        socket(AddressFamily::Packet, SockType::Raw, flags, all)?;
        Ok(())
    }),
    held("a raw socket", |_| {
        let (flags, protocol) = (SockFlag::empty(), SockProtocol::Icmp);
        socket(AddressFamily::Inet, SockType::Raw, flags, protocol)?;
        Ok(())
    }),
    filtered("a socket of the host", |_| {
        std::os::unix::net::UnixDatagram::unbound().map(drop)
    }),
    filtered("listening", |_| {
        std::net::TcpListener::bind("0.0.0.0:0").map(drop)
    }),
];

/// `linux/netlink.h`, `linux/rtnetlink.h`, `linux/netfilter/nfnetlink.h`, `nf_tables.h`
const REQUEST_AND_ANSWER: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWQDISC: u16 = 36;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 10 << 8;

/// The first device of every network namespace.
const LOOPBACK: u32 = 1;

/// One message of netlink: header, fixed struct, attributes.
fn netlink(kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = fixed.to_vec();
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap();
        body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].concat());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(16 + body.len()).unwrap();
    let kinds = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
    [
        &length.to_ne_bytes()[..],
        &kinds,
        &[7, 0, 0, 0],
        &[0; 4],
        &body,
    ]
    .concat()
}

/// Sends a request and reads the kernel's answer.
fn ask_kernel(protocol: SockProtocol, message: &[u8]) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let mut answer = [0; 4096];
    nix::sys::socket::send(socket.as_raw_fd(), message, MsgFlags::empty())?;
    let length = nix::sys::socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsgerr behind the header: the negative number of an error, 0 for none.
    let code = answer[..length]
        .get(16..20)
        .and_then(|code| code.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Into the network of the host: what `CAP_NET_ADMIN` is for.
pub(crate) const NETWORK: &[Attempt] = &[
    held("taking a device up or down", |_| {
        // struct ifinfomsg: index, flags, and which of them change (IFF_UP).
        let link = words(&[0, LOOPBACK, 1, 1]);
        let message = netlink(RTM_NEWLINK, REQUEST_AND_ANSWER, &link, &[]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("giving a device an address", |_| {
        // struct ifaddrmsg: AF_INET, 32 bits of prefix; then IFA_LOCAL.
        let address = [&[2, 32, 0, 0][..], &words(&[LOOPBACK])].concat();
        let flags = REQUEST_AND_ANSWER | CREATE;
        let message = netlink(RTM_NEWADDR, flags, &address, &[(2, &[127, 9, 9, 9])]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("adding a route", |_| {
        // struct rtmsg: AF_INET, 32 bits, table local, type local, scope host; RTA_DST, RTA_OIF.
        let route = [&[2, 32, 0, 0, 255, 4, 254, 2][..], &[0; 4]].concat();
        let device = LOOPBACK.to_ne_bytes();
        let attributes: &[(u16, &[u8])] = &[(1, &[10, 9, 9, 9]), (4, &device)];
        let flags = REQUEST_AND_ANSWER | CREATE;
        // A route takes a device that is up.
        let up = netlink(
            RTM_NEWLINK,
            REQUEST_AND_ANSWER,
            &words(&[0, LOOPBACK, 1, 1]),
            &[],
        );
        ask_kernel(SockProtocol::NetlinkRoute, &up).ok();
        let message = netlink(RTM_NEWROUTE, flags, &route, attributes);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("a queueing discipline", |_| {
        // struct tcmsg: device, no handle, root; TCA_KIND.
        let discipline = words(&[0, LOOPBACK, 0, u32::MAX, 0]);
        let flags = REQUEST_AND_ANSWER | CREATE;
        let message = netlink(RTM_NEWQDISC, flags, &discipline, &[(1, b"pfifo\0")]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("a table of the firewall", |_| {
        // struct nfgenmsg: family, version, and for a batch the subsystem in network order.
        let subsystem = [0, 0, 0, 10];
        let table = netlink(
            NFT_MSG_NEWTABLE,
            REQUEST_AND_ANSWER | CREATE,
            &[2, 0, 0, 0],
            &[(1, b"planted\0")],
        );
        let batch = [
            netlink(NFNL_MSG_BATCH_BEGIN, 1, &subsystem, &[]),
            table,
            netlink(NFNL_MSG_BATCH_END, 1, &subsystem, &[]),
        ];
        ask_kernel(SockProtocol::NetlinkNetFilter, &batch.concat())
    }),
    held("marking packets", |_| {
        let (flags, none) = (SockFlag::empty(), None);
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, none)?;
        Ok(setsockopt(&socket, sockopt::Mark, &7)?)
    }),
    filtered("another priority of packets", |_| {
        let (flags, none) = (SockFlag::empty(), None);
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, none)?;
        Ok(setsockopt(&socket, sockopt::Priority, &3)?)
    }),
];
