//! One system call, the forms of it that are allowed, and the kernel's numbers in them.

use nix::libc;

/// A system call, or some forms of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name in the kernel.
    pub name: &'static str,
    /// What for.
    pub why: &'static str,
    /// Its number on this architecture.
    pub(crate) number: libc::c_long,
    /// Alternatives, each a list of conditions that all hold; empty means any arguments.
    pub(crate) only: &'static [&'static [Argument]],
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Which, from 0.
    pub(crate) index: u8,
    /// Bits that are looked at.
    pub(crate) mask: u64,
    /// What they must be.
    pub(crate) value: u64,
}

pub(crate) const ALL_BITS: u64 = 0xffff_ffff;

/// The argument is this value; the kernel takes the lower 32 bits of all that are tested here.
pub(crate) const fn is(index: u8, value: u64) -> Argument {
    bits(index, ALL_BITS, value)
}

pub(crate) const fn bits(index: u8, mask: u64, value: u64) -> Argument {
    Argument { index, mask, value }
}

pub(crate) const fn any(number: libc::c_long, name: &'static str, why: &'static str) -> Call {
    only(number, name, &[], why)
}

pub(crate) const fn only(
    number: libc::c_long,
    name: &'static str,
    only: &'static [&'static [Argument]],
    why: &'static str,
) -> Call {
    Call {
        name,
        why,
        number,
        only,
    }
}

/// `linux/mman.h`
pub(crate) const PROT_EXEC: u64 = 4;
/// `linux/sched.h`: a new thread, and every flag that asks for a new namespace.
pub(crate) const CLONE_THREAD: u64 = 0x0001_0000;
pub(crate) const CLONE_NEW: u64 = 0x7e02_0000;
/// `linux/prctl.h`
pub(crate) const PR_SET_NAME: u64 = 15;
/// `asm-generic/ioctls.h`
pub(crate) const FIONBIO: u64 = 0x5421;
pub(crate) const FIONREAD: u64 = 0x541b;
/// `linux/perf_event.h`
pub(crate) const PERF_EVENT_IOC_DISABLE: u64 = 0x2401;
/// `linux/socket.h`, `linux/netlink.h`
pub(crate) const AF_INET: u64 = 2;
pub(crate) const AF_INET6: u64 = 10;
pub(crate) const AF_NETLINK: u64 = 16;
pub(crate) const NETLINK_ROUTE: u64 = 0;
/// Levels of options of sockets: `asm-generic/socket.h`, `linux/in.h`
pub(crate) const SOL_SOCKET: u64 = libc::SOL_SOCKET as u64;
pub(crate) const IPPROTO_IP: u64 = libc::IPPROTO_IP as u64;
pub(crate) const IPPROTO_IPV6: u64 = libc::IPPROTO_IPV6 as u64;
pub(crate) const IPPROTO_TCP: u64 = libc::IPPROTO_TCP as u64;
/// `enum bpf_cmd` in `linux/bpf.h`
pub(crate) const BPF_MAP_LOOKUP_ELEM: u64 = 1;
pub(crate) const BPF_MAP_UPDATE_ELEM: u64 = 2;
pub(crate) const BPF_MAP_DELETE_ELEM: u64 = 3;
pub(crate) const BPF_MAP_GET_NEXT_KEY: u64 = 4;
pub(crate) const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
pub(crate) const BPF_MAP_LOOKUP_BATCH: u64 = 24;
pub(crate) const BPF_LINK_CREATE: u64 = 28;
pub(crate) const BPF_ITER_CREATE: u64 = 33;
/// `asm-generic/fcntl.h`, `linux/fcntl.h`
pub(crate) const FCNTL: &[&[Argument]] = &[
    &[is(1, libc::F_GETFD as u64)],
    &[is(1, libc::F_SETFD as u64)],
    &[is(1, libc::F_GETFL as u64)],
    &[is(1, libc::F_SETFL as u64)],
    &[is(1, libc::F_GETLK as u64)],
    &[is(1, libc::F_SETLK as u64)],
    &[is(1, libc::F_SETLKW as u64)],
    &[is(1, libc::F_DUPFD_CLOEXEC as u64)],
];
/// `asm-generic/fcntl.h`: for writing, made, or cut.
pub(crate) const OPEN_WRITES: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
/// Set-user-id, set-group-id and sticky: a file that makes others the agent's user must not be made.
pub(crate) const SPECIAL_BITS: u64 = 0o7000;
/// `asm-generic/fcntl.h`: the flags with which a mode counts (`__O_TMPFILE` among them).
pub(crate) const OPEN_MAKES: u64 = libc::O_CREAT as u64 | 0o20_000_000;
/// Memory that is never code: what is injected cannot be run.
pub(crate) const NO_CODE: &[&[Argument]] = &[&[bits(2, PROT_EXEC, 0)]];
