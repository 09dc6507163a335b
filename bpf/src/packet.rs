//! Packet sockets with a filter of classic BPF: the socket calls that no library offers safely.
//!
//! No bpf(2) is involved: classic filters are older than it (`SO_ATTACH_FILTER`, socket(7)) and are
//! what is left where it is forbidden.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;

/// One instruction of classic BPF, `struct sock_filter` of `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip when a comparison is true.
    pub yes: u8,
    /// Instructions to skip when it is false.
    pub no: u8,
    /// Operand.
    pub operand: u32,
}

/// What a packet socket counted since it was last asked, `struct tpacket_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter, those without room included.
    pub packets: u32,
    /// Packets without room in the socket's buffer.
    pub drops: u32,
}

/// Opens a packet socket that begins each packet with its network header (`SOCK_DGRAM`), does not
/// block, and receives nothing before [`receive_all`].
///
/// The filter is attached to a socket of no protocol, so no packet gets past it.
///
/// # Errors
/// What the kernel answers: `EPERM` without `CAP_NET_RAW`, `EAFNOSUPPORT` without packet sockets,
/// `EINVAL` for a filter that it refuses.
pub fn open(filter: &[Instruction]) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[expect(
        unsafe_code,
        reason = "nix opens packet sockets of a protocol only, before a filter can be there"
    )]
    // SAFETY: socket(2) takes no pointer.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(
        unsafe_code,
        reason = "the descriptor was just made and belongs to nobody"
    )]
    // SAFETY: `socket` is an open descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    attach(&socket, filter)?;
    Ok(socket)
}

fn attach(socket: &OwnedFd, filter: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> = filter
        .iter()
        .map(|one| libc::sock_filter {
            code: one.code,
            jt: one.yes,
            jf: one.no,
            k: one.operand,
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    lock(socket)
}

/// Makes the filter stay: whoever takes over the agent gets no other packets out of its socket.
fn lock(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    match set(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, &on) {
        // Kernels before 3.9.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other,
    }
}

/// Begins to receive from every device of the socket's network namespace, what leaves included:
/// only `ETH_P_ALL` shows that (packet(7)).
///
/// # Errors
/// What the kernel answers.
pub fn receive_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL)
            .map_err(io::Error::other)?
            .to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "nix cannot make an address of this family")]
    // SAFETY: `address` is a whole sockaddr_ll of `length` bytes that outlives the call.
    let status = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    result(status)
}

/// What the socket counted since the last call; asking sets it to zero.
///
/// # Errors
/// What the kernel answers.
pub fn statistics(socket: BorrowedFd<'_>) -> io::Result<Statistics> {
    let mut counted = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = libc::socklen_t::try_from(size_of_val(&counted)).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "nix has no PACKET_STATISTICS")]
    // SAFETY: `counted` has room for `length` bytes, and both outlive the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counted).cast(),
            &raw mut length,
        )
    };
    result(status)?;
    Ok(Statistics {
        packets: counted.tp_packets,
        drops: counted.tp_drops,
    })
}

/// Messages that any socket had no room for since it was opened; the number wraps.
///
/// # Errors
/// `ENOPROTOOPT` before 4.12, which has no `SO_MEMINFO` (socket(7)); `UnexpectedEof` from a kernel
/// whose answer lacks `SK_MEMINFO_DROPS`, `linux/sock_diag.h`.
pub fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut counted = [0_u32; DROPS + 1];
    let whole = size_of_val(&counted);
    let mut length = libc::socklen_t::try_from(whole).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "nix has no SO_MEMINFO")]
    // SAFETY: `counted` has room for `length` bytes, and both outlive the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut counted).cast(),
            &raw mut length,
        )
    };
    result(status)?;
    let all = usize::try_from(length).is_ok_and(|length| length >= whole);
    let found = all.then(|| counted.last().copied()).flatten();
    found.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Sets an option whose value is a `T` for the kernel, what a pointer in it points to included.
pub(crate) fn set<T>(
    socket: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(value)).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "nix has not these options")]
    // SAFETY: `value` is `length` bytes that outlive the call, and the kernel copies them.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    result(status)
}

fn result(status: libc::c_int) -> io::Result<()> {
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
