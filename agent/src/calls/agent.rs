//! The system calls of the agent itself, whatever families run.
//!
//! Found by tracing every call that agents make after loading, through the end-to-end tests, and
//! by what the C library does instead on older kernels. What is not here is refused. Numbers differ
//! between architectures and come from `libc`; names of the same thing that only x86_64 has are in
//! lists of their own.

use nix::libc;

use super::call::{
    AF_INET, AF_INET6, AF_NETLINK, CLONE_NEW, CLONE_THREAD, Call, FCNTL, FIONBIO, FIONREAD,
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, NETLINK_ROUTE, NO_CODE, OPEN_MAKES, PR_SET_NAME,
    SOL_SOCKET, SPECIAL_BITS, any, bits, is, only,
};
use super::caller::Caller;

impl Caller {
    /// Memory, threads, signals, clocks: every program.
    pub const RUNTIME: Self = Self::new("runtime", &[RUNTIME]);
    /// Files of host id, spool and status, and reading `/proc`.
    pub const FILES: Self = Self::new("files", &[FILES, FILES_X86_64]);
    /// The event loop: waiting and signals.
    pub const LOOP: Self = Self::new("event loop", &[LOOP, LOOP_X86_64]);
    /// Names and connections of the collector.
    pub const UPLOAD: Self = Self::new("upload", &[UPLOAD]);
    /// The agent's end of the connection with the process that reads the operator's files again.
    pub const FOLLOWED: Self = Self::new("word of that reader", &[FOLLOWED]);
}

const RUNTIME: &[Call] = &[
    any(libc::SYS_brk, "brk", "memory"),
    any(
        libc::SYS_clock_getres,
        "clock_getres",
        "time, where the kernel maps no clock",
    ),
    any(
        libc::SYS_clock_gettime,
        "clock_gettime",
        "time, where the kernel maps no clock",
    ),
    any(libc::SYS_clock_nanosleep, "clock_nanosleep", "waiting"),
    only(
        libc::SYS_clone,
        "clone",
        &[&[bits(0, CLONE_THREAD | CLONE_NEW, CLONE_THREAD)]],
        "threads, never processes or namespaces",
    ),
    any(libc::SYS_close, "close", "descriptors"),
    any(libc::SYS_exit, "exit", "end of a thread"),
    any(libc::SYS_exit_group, "exit_group", "end of the agent"),
    any(libc::SYS_futex, "futex", "locks and channels"),
    any(libc::SYS_getegid, "getegid", "the C library asks"),
    any(libc::SYS_geteuid, "geteuid", "owner of the spool's files"),
    any(libc::SYS_getgid, "getgid", "the C library asks"),
    any(libc::SYS_getpid, "getpid", "status, and the spool's locks"),
    any(
        libc::SYS_getrandom,
        "getrandom",
        "identifiers, back-off, TLS",
    ),
    any(libc::SYS_gettid, "gettid", "names of threads"),
    any(
        libc::SYS_gettimeofday,
        "gettimeofday",
        "time, where the kernel maps no clock",
    ),
    any(libc::SYS_getuid, "getuid", "the C library asks"),
    any(libc::SYS_madvise, "madvise", "memory of ended threads"),
    only(libc::SYS_mmap, "mmap", NO_CODE, "memory, never of code"),
    only(
        libc::SYS_mprotect,
        "mprotect",
        NO_CODE,
        "memory, never of code",
    ),
    any(libc::SYS_mremap, "mremap", "memory"),
    any(libc::SYS_munmap, "munmap", "memory"),
    any(libc::SYS_nanosleep, "nanosleep", "waiting"),
    only(
        libc::SYS_prctl,
        "prctl",
        &[&[is(0, PR_SET_NAME)]],
        "names of threads",
    ),
    any(
        libc::SYS_restart_syscall,
        "restart_syscall",
        "calls that a signal interrupted",
    ),
    any(libc::SYS_rseq, "rseq", "start of a thread"),
    any(libc::SYS_rt_sigaction, "rt_sigaction", "signals"),
    any(libc::SYS_rt_sigprocmask, "rt_sigprocmask", "signals"),
    any(libc::SYS_rt_sigreturn, "rt_sigreturn", "signals"),
    any(
        libc::SYS_sched_getaffinity,
        "sched_getaffinity",
        "start of a thread",
    ),
    any(libc::SYS_sched_yield, "sched_yield", "locks"),
    any(
        libc::SYS_set_robust_list,
        "set_robust_list",
        "start of a thread",
    ),
    any(libc::SYS_sigaltstack, "sigaltstack", "guard of the stack"),
    any(libc::SYS_tgkill, "tgkill", "abort after a panic"),
    any(libc::SYS_uname, "uname", "the C library asks"),
];

const FILES: &[Call] = &[
    any(
        libc::SYS_faccessat,
        "faccessat",
        "whether the spool's files are there",
    ),
    any(libc::SYS_fallocate, "fallocate", "the spool's reserve"),
    only(
        libc::SYS_fchmod,
        "fchmod",
        &[&[bits(1, SPECIAL_BITS, 0)]],
        "modes of own files, never set-user-id",
    ),
    any(
        libc::SYS_fchown,
        "fchown",
        "owner of the spool's further files",
    ),
    only(
        libc::SYS_fcntl,
        "fcntl",
        FCNTL,
        "locks of the spool, flags of descriptors",
    ),
    any(
        libc::SYS_fdatasync,
        "fdatasync",
        "batches are on disk when they are said to be",
    ),
    any(
        libc::SYS_flock,
        "flock",
        "the one agent of a root directory",
    ),
    any(libc::SYS_fstat, "fstat", "sizes of files"),
    any(
        libc::SYS_fsync,
        "fsync",
        "batches are on disk when they are said to be",
    ),
    any(libc::SYS_ftruncate, "ftruncate", "the spool's log"),
    any(libc::SYS_getcwd, "getcwd", "full name of the spool"),
    any(
        libc::SYS_getdents64,
        "getdents64",
        "directories of cgroups and of the spool",
    ),
    any(libc::SYS_lseek, "lseek", "reading and writing files"),
    only(
        libc::SYS_mkdirat,
        "mkdirat",
        &[&[bits(2, SPECIAL_BITS, 0)]],
        "place for a damaged spool",
    ),
    any(
        libc::SYS_name_to_handle_at,
        "name_to_handle_at",
        "numbers of cgroups, where inodes are not all of them",
    ),
    any(libc::SYS_newfstatat, "newfstatat", "sizes of files"),
    only(
        libc::SYS_openat,
        "openat",
        &[&[bits(2, OPEN_MAKES, 0)], &[bits(3, SPECIAL_BITS, 0)]],
        "the spool, status, /proc",
    ),
    any(libc::SYS_pread64, "pread64", "the spool"),
    any(libc::SYS_pwrite64, "pwrite64", "the spool"),
    any(libc::SYS_read, "read", "files, the collector's answers"),
    any(
        libc::SYS_readlinkat,
        "readlinkat",
        "executables and namespaces of processes",
    ),
    any(libc::SYS_readv, "readv", "the collector's answers"),
    any(
        libc::SYS_renameat,
        "renameat",
        "the status is replaced as a whole",
    ),
    any(
        libc::SYS_renameat2,
        "renameat2",
        "the status is replaced as a whole",
    ),
    any(libc::SYS_statfs, "statfs", "whether there are cgroups"),
    any(libc::SYS_statx, "statx", "sizes of files"),
    any(libc::SYS_unlinkat, "unlinkat", "the spool's further files"),
    any(libc::SYS_write, "write", "log, status, the collector"),
    any(libc::SYS_writev, "writev", "log, the collector"),
];

/// What aarch64 does by the calls ending in `at` and by those with one argument more.
#[cfg(target_arch = "x86_64")]
const FILES_X86_64: &[Call] = &[
    any(
        libc::SYS_access,
        "access",
        "whether the spool's files are there",
    ),
    any(libc::SYS_lstat, "lstat", "sizes of files"),
    only(
        libc::SYS_mkdir,
        "mkdir",
        &[&[bits(1, SPECIAL_BITS, 0)]],
        "place for a damaged spool",
    ),
    only(
        libc::SYS_open,
        "open",
        &[&[bits(1, OPEN_MAKES, 0)], &[bits(2, SPECIAL_BITS, 0)]],
        "the spool, status, /proc",
    ),
    any(
        libc::SYS_readlink,
        "readlink",
        "executables and namespaces of processes",
    ),
    any(
        libc::SYS_rename,
        "rename",
        "the status is replaced as a whole",
    ),
    any(libc::SYS_rmdir, "rmdir", "place for a damaged spool"),
    any(libc::SYS_stat, "stat", "sizes of files"),
    any(
        libc::SYS_time,
        "time",
        "time, where the kernel maps no clock",
    ),
    any(libc::SYS_unlink, "unlink", "the spool's further files"),
];
#[cfg(not(target_arch = "x86_64"))]
const FILES_X86_64: &[Call] = &[];

const LOOP: &[Call] = &[
    any(
        libc::SYS_epoll_create1,
        "epoll_create1",
        "waiting for events",
    ),
    any(libc::SYS_epoll_ctl, "epoll_ctl", "waiting for events"),
    any(libc::SYS_epoll_pwait, "epoll_pwait", "waiting for events"),
    any(
        libc::SYS_eventfd2,
        "eventfd2",
        "waking up from another thread",
    ),
    any(libc::SYS_ppoll, "ppoll", "waiting for a socket"),
];

#[cfg(target_arch = "x86_64")]
const LOOP_X86_64: &[Call] = &[
    any(libc::SYS_epoll_wait, "epoll_wait", "waiting for events"),
    any(libc::SYS_poll, "poll", "waiting for a socket"),
];
#[cfg(not(target_arch = "x86_64"))]
const LOOP_X86_64: &[Call] = &[];

const UPLOAD: &[Call] = &[
    any(
        libc::SYS_bind,
        "bind",
        "the C library asks for own addresses",
    ),
    any(libc::SYS_connect, "connect", "collector, name servers"),
    any(
        libc::SYS_getpeername,
        "getpeername",
        "collector, name servers",
    ),
    any(
        libc::SYS_getsockname,
        "getsockname",
        "order of the collector's addresses",
    ),
    any(
        libc::SYS_getsockopt,
        "getsockopt",
        "outcome of a connection",
    ),
    only(
        libc::SYS_ioctl,
        "ioctl",
        &[&[is(1, FIONBIO)], &[is(1, FIONREAD)]],
        "sockets that do not block, size of an answer",
    ),
    any(libc::SYS_recvfrom, "recvfrom", "collector, name servers"),
    any(libc::SYS_recvmsg, "recvmsg", "own addresses"),
    any(libc::SYS_sendmmsg, "sendmmsg", "name servers"),
    any(libc::SYS_sendmsg, "sendmsg", "name servers"),
    any(libc::SYS_sendto, "sendto", "collector, name servers"),
    only(
        libc::SYS_setsockopt,
        "setsockopt",
        &[
            &[is(1, SOL_SOCKET), is(2, libc::SO_RCVTIMEO as u64)],
            &[is(1, SOL_SOCKET), is(2, libc::SO_SNDTIMEO as u64)],
            &[is(1, IPPROTO_IP), is(2, libc::IP_RECVERR as u64)],
            &[is(1, IPPROTO_IPV6), is(2, libc::IPV6_RECVERR as u64)],
            &[is(1, IPPROTO_TCP), is(2, libc::TCP_NODELAY as u64)],
        ],
        "bounds of waiting, delay of small segments, refusals of name servers",
    ),
    any(libc::SYS_shutdown, "shutdown", "end of a connection"),
    only(
        libc::SYS_socket,
        "socket",
        &[
            &[is(0, AF_INET)],
            &[is(0, AF_INET6)],
            &[is(0, AF_NETLINK), is(2, NETLINK_ROUTE)],
        ],
        "collector, name servers, own addresses",
    ),
];

/// The socket was opened before.
const FOLLOWED: &[Call] = &[
    any(libc::SYS_recvfrom, "recvfrom", "the reader's word"),
    any(libc::SYS_sendto, "sendto", "the wish to look now"),
];
