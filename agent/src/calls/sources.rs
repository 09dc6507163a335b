//! The system calls that families need for what they read by: programs and sockets that were opened
//! before. What only one family needs it declares itself.

use nix::libc;

use super::call::{
    BPF_ITER_CREATE, BPF_LINK_CREATE, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY,
    BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET_INFO_BY_FD, Call,
    PERF_EVENT_IOC_DISABLE, any, is, only,
};
use super::caller::Caller;

impl Caller {
    /// Tables of programs.
    pub const TABLES: Self = Self::new("tables", &[TABLES]);
    /// Perf buffers.
    pub const PERF_BUFFER: Self = Self::new("perf buffers", &[PERF_BUFFER]);
    /// The agent's end of the connection with the process that keeps the packet filters.
    pub const FILTERS: Self = Self::new("packet filters", &[FILTERS]);
    /// The program on the scope's cgroup, which may go and come back.
    pub const SCOPE: Self = Self::new("scope", &[SCOPE]);
    /// Packet and diagnostic sockets.
    pub const SOCKETS: Self = Self::new("packet and diagnostic sockets", &[SOCKETS]);
}

const TABLES: &[Call] = &[
    only(
        libc::SYS_bpf,
        "bpf",
        &[
            &[is(0, BPF_MAP_LOOKUP_ELEM)],
            &[is(0, BPF_MAP_UPDATE_ELEM)],
            &[is(0, BPF_MAP_DELETE_ELEM)],
            &[is(0, BPF_MAP_GET_NEXT_KEY)],
            &[is(0, BPF_MAP_LOOKUP_BATCH)],
            &[is(0, BPF_OBJ_GET_INFO_BY_FD)],
            &[is(0, BPF_ITER_CREATE)],
        ],
        "entries of open tables, snapshot, missed runs, co-attached programs; never load, make or attach",
    ),
    only(
        libc::SYS_ioctl,
        "ioctl",
        &[&[is(1, PERF_EVENT_IOC_DISABLE)]],
        "end of a tracepoint or probe",
    ),
];

const PERF_BUFFER: &[Call] = &[only(
    libc::SYS_ioctl,
    "ioctl",
    &[&[is(1, PERF_EVENT_IOC_DISABLE)]],
    "end of a perf buffer",
)];

/// The socket was opened before; the one that speaks to the kernel is with the keeper.
const FILTERS: &[Call] = &[
    any(libc::SYS_recvfrom, "recvfrom", "the keeper's word"),
    any(libc::SYS_shutdown, "shutdown", "the keeper's end"),
];

const SCOPE: &[Call] = &[only(
    libc::SYS_bpf,
    "bpf",
    &[&[is(0, BPF_LINK_CREATE)]],
    "its own program on the scope's cgroup when that comes back",
)];

/// The sockets were opened before.
const SOCKETS: &[Call] = &[
    any(libc::SYS_getsockopt, "getsockopt", "packets that were lost"),
    any(
        libc::SYS_recvfrom,
        "recvfrom",
        "lists of sockets, news of closed ones",
    ),
    any(libc::SYS_sendto, "sendto", "asking for lists of sockets"),
];
