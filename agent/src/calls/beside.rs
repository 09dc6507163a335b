//! The system calls of the processes beside the agent.

use nix::libc;

use super::call::{Call, FCNTL, NO_CODE, OPEN_MAKES, OPEN_WRITES, SPECIAL_BITS, any, bits, only};
use super::caller::Caller;

impl Caller {
    /// The process that keeps the packet filters, and what every process beside the agent needs.
    pub const KEEPER: Self = Self::new("keeper of the packet filters", &[KEEPER, KEEPER_X86_64]);
    /// The process that reads the operator's files again.
    pub const READER: Self = Self::new("reader of the operator's files", &[READER, READER_X86_64]);
}

/// The process that keeps the packet filters; its sockets were opened before.
const KEEPER: &[Call] = &[
    any(libc::SYS_brk, "brk", "memory"),
    any(
        libc::SYS_clock_gettime,
        "clock_gettime",
        "time, where the kernel maps no clock",
    ),
    any(libc::SYS_close, "close", "descriptors"),
    any(libc::SYS_exit, "exit", "the end"),
    any(libc::SYS_exit_group, "exit_group", "the end"),
    only(libc::SYS_fcntl, "fcntl", FCNTL, "flags of descriptors"),
    any(libc::SYS_fstat, "fstat", "switches of devices"),
    any(libc::SYS_futex, "futex", "locks of the log"),
    any(libc::SYS_getdents64, "getdents64", "switches of devices"),
    any(libc::SYS_getpid, "getpid", "the log"),
    any(libc::SYS_gettid, "gettid", "names of threads"),
    any(libc::SYS_lseek, "lseek", "switches of devices"),
    any(libc::SYS_madvise, "madvise", "memory"),
    only(libc::SYS_mmap, "mmap", NO_CODE, "memory, never of code"),
    only(
        libc::SYS_mprotect,
        "mprotect",
        NO_CODE,
        "memory, never of code",
    ),
    any(libc::SYS_mremap, "mremap", "memory"),
    any(libc::SYS_munmap, "munmap", "memory"),
    any(libc::SYS_newfstatat, "newfstatat", "switches of devices"),
    only(
        libc::SYS_openat,
        "openat",
        &[&[bits(2, OPEN_WRITES, 0)]],
        "switches of devices, to be read",
    ),
    any(libc::SYS_ppoll, "ppoll", "waiting"),
    any(libc::SYS_read, "read", "switches of devices"),
    any(
        libc::SYS_recvfrom,
        "recvfrom",
        "news of devices, answers about filters, the agent's end",
    ),
    any(
        libc::SYS_restart_syscall,
        "restart_syscall",
        "calls that a signal interrupted",
    ),
    any(
        libc::SYS_rt_sigaction,
        "rt_sigaction",
        "abort after a panic",
    ),
    any(libc::SYS_rt_sigprocmask, "rt_sigprocmask", "signals"),
    any(libc::SYS_rt_sigreturn, "rt_sigreturn", "signals"),
    any(
        libc::SYS_sendto,
        "sendto",
        "filters for devices that come and go, word to the agent",
    ),
    any(libc::SYS_sigaltstack, "sigaltstack", "guard of the stack"),
    any(libc::SYS_statx, "statx", "switches of devices"),
    any(libc::SYS_tgkill, "tgkill", "abort after a panic"),
    any(libc::SYS_write, "write", "log"),
    any(libc::SYS_writev, "writev", "log"),
];

#[cfg(target_arch = "x86_64")]
const KEEPER_X86_64: &[Call] = &[
    only(
        libc::SYS_open,
        "open",
        &[&[bits(1, OPEN_WRITES, 0)]],
        "switches of devices, to be read",
    ),
    any(libc::SYS_poll, "poll", "waiting"),
];
#[cfg(not(target_arch = "x86_64"))]
const KEEPER_X86_64: &[Call] = &[];

/// Copies of the host's files by which names are resolved, made beside the old ones.
const READER: &[Call] = &[
    only(
        libc::SYS_fchmod,
        "fchmod",
        &[&[bits(1, SPECIAL_BITS, 0)]],
        "everybody may read the copies",
    ),
    only(
        libc::SYS_openat,
        "openat",
        &[&[bits(2, OPEN_MAKES, 0)], &[bits(3, SPECIAL_BITS, 0)]],
        "copies of resolv.conf and hosts",
    ),
    any(
        libc::SYS_renameat,
        "renameat",
        "a copy is replaced as a whole",
    ),
    any(
        libc::SYS_renameat2,
        "renameat2",
        "a copy is replaced as a whole",
    ),
];

#[cfg(target_arch = "x86_64")]
const READER_X86_64: &[Call] = &[any(
    libc::SYS_rename,
    "rename",
    "a copy is replaced as a whole",
)];
#[cfg(not(target_arch = "x86_64"))]
const READER_X86_64: &[Call] = &[];
