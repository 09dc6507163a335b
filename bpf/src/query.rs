//! What the kernel says of programs, where libbpf-rs has no wrapper: who else is attached to a
//! cgroup (`BPF_PROG_QUERY`), and how often one did not run (`BPF_OBJ_GET_INFO_BY_FD`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// More programs than this on one cgroup are not listed.
const MAX_PROGRAMS: usize = 64;

/// Ids of the sock_ops programs that run for sockets of this cgroup, inherited ones included.
///
/// # Errors
/// What the kernel answers: `EPERM` without `CAP_NET_ADMIN`, `EINVAL` before 4.15 and without
/// programs on cgroups, `ENOSPC` with more than 64 programs.
pub fn sockops_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut count = u32::try_from(MAX_PROGRAMS).map_err(io::Error::other)?;
    #[expect(
        unsafe_code,
        reason = "libbpf-rs has no wrapper for BPF_PROG_QUERY on cgroups"
    )]
    // SAFETY: `ids` has room for `count` entries, both outlive the call, and the attach-flags
    // pointer may be null (libbpf passes it on to the kernel, which then does not write it).
    let status = unsafe {
        libbpf_sys::bpf_prog_query(
            cgroup.as_raw_fd(),
            libbpf_sys::BPF_CGROUP_SOCK_OPS,
            libbpf_sys::BPF_F_QUERY_EFFECTIVE,
            std::ptr::null_mut(),
            ids.as_mut_ptr(),
            &raw mut count,
        )
    };
    if status < 0 {
        return Err(io::Error::from_raw_os_error(-status));
    }
    Ok(ids.into_iter().take(count as usize).collect())
}

/// The error by which the kernel refuses to attach a sock_ops program where there is no cgroup:
/// `EBADF` when it looks for one, `EINVAL` when it has no programs on cgroups (since 4.10, with or
/// without `BPF_PROG_QUERY`, which 4.14 lacks).
#[must_use]
pub fn refuses_no_cgroup(program: BorrowedFd<'_>) -> io::Error {
    const NO_CGROUP: i32 = -1;
    #[expect(
        unsafe_code,
        reason = "libbpf-rs attaches to a descriptor that is one, and by links (5.7) only"
    )]
    // SAFETY: the call takes numbers only, and the program's descriptor is open until it returns.
    let status = unsafe {
        libbpf_sys::bpf_prog_attach(
            program.as_raw_fd(),
            NO_CGROUP,
            libbpf_sys::BPF_CGROUP_SOCK_OPS,
            0,
        )
    };
    io::Error::from_raw_os_error(-status)
}

/// How often a program was not run because it was running on the same CPU already; 0 where the
/// kernel does not count it (before 5.12).
///
/// # Errors
/// What the kernel answers: `EPERM` without `CAP_BPF` where bpf(2) is for the privileged only.
pub fn missed_runs(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    #[expect(
        unsafe_code,
        reason = "libbpf-rs asks by id only, which takes CAP_SYS_ADMIN"
    )]
    // SAFETY: `info` is plain data of `length` bytes, all zero is valid for the kernel (it asks
    // for no arrays), and both outlive the call.
    let status = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut length)
    };
    if status < 0 {
        return Err(io::Error::from_raw_os_error(-status));
    }
    Ok(info.recursion_misses)
}
