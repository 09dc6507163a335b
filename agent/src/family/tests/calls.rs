//! What no list may allow.

use super::super::callers;
use crate::calls::{Call, Caller};

fn all() -> impl Iterator<Item = &'static Call> {
    callers().flat_map(Caller::calls)
}

#[test]
fn each_list_is_sorted_and_says_why() {
    for list in callers().flat_map(|one| one.lists()) {
        assert!(list.is_sorted_by(|a, b| a.name < b.name), "{list:?}");
        assert!(list.iter().all(|call| !call.why.is_empty()));
    }
}

#[test]
fn nobody_may_become_another_program_or_change_the_kernel() {
    let never = [
        "execve",
        "execveat",
        "fork",
        "vfork",
        "clone3",
        "ptrace",
        "mount",
        "umount2",
        "init_module",
        "finit_module",
        "setns",
        "unshare",
        "open_by_handle_at",
        "perf_event_open",
        "process_vm_readv",
        "kexec_load",
        "chroot",
        "capset",
        "seccomp",
        "kill",
        "symlink",
        "symlinkat",
        "link",
        "linkat",
        "mknod",
        "mknodat",
        "chmod",
        "fchmodat",
        "fchmodat2",
        "creat",
        "openat2",
        "setxattr",
        "fsetxattr",
        "listen",
    ];
    let found: Vec<_> = all().filter(|call| never.contains(&call.name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Requests to devices, firewall rules and marks go by these calls.
#[test]
fn nobody_may_ask_sockets_and_devices_for_whatever_he_likes() {
    for call in all() {
        if matches!(
            call.name,
            "ioctl" | "setsockopt" | "socket" | "bpf" | "fcntl"
        ) {
            assert!(!call.only.is_empty(), "{call:?}");
        }
    }
    let keeper = Caller::KEEPER.calls();
    let none = [
        "socket",
        "bpf",
        "ioctl",
        "setsockopt",
        "connect",
        "bind",
        "clone",
    ];
    let found: Vec<_> = keeper.filter(|call| none.contains(&call.name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
