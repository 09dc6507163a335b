//! Processes as `/proc` shows them: which sockets they have, what they do with them, who they are.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bpf::abi;
use nix::libc;

use crate::host::Numbers;

/// Clock ticks per second in `/proc/<pid>/stat`: USER_HZ, fixed at 100 for programs.
const TICK_NS: u64 = 10_000_000;
/// Field 22 of `/proc/<pid>/stat`, counted after the name in parentheses.
const START_FIELD: usize = 19;
/// Threads of one process that are asked what they wait for.
const MAX_THREADS: usize = 32;

/// What a descriptor is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// A socket of this inode number.
    Socket(u32),
    /// An epoll instance.
    Epoll,
    /// Something else.
    Other,
}

/// How much speaks for it that a process accepts on a listener that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attention {
    /// It has it, as whoever made it for others does.
    #[default]
    Holds,
    /// It waits for several descriptors, of which this may be one.
    Waits,
    /// It waits for this one.
    Accepts,
}

/// Numbers of all processes.
pub(crate) fn processes(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A descriptor by its entry in `/proc/<pid>/fd`, and its number; `None` when it is closed by now.
pub(crate) fn descriptor(entry: &fs::DirEntry) -> Option<(u32, Descriptor)> {
    let number = entry.file_name().to_str()?.parse().ok()?;
    let target = fs::read_link(entry.path()).ok()?;
    let name = target.to_str()?;
    if name == "anon_inode:[eventpoll]" {
        return Some((number, Descriptor::Epoll));
    }
    let inode = name
        .strip_prefix("socket:[")
        .and_then(|name| name.strip_suffix(']')?.parse().ok());
    Some((number, inode.map_or(Descriptor::Other, Descriptor::Socket)))
}

/// Inode numbers of a process's sockets.
pub(crate) fn sockets(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory.join("fd")).into_iter().flatten();
    let sockets = entries.flatten().filter_map(|entry| descriptor(&entry));
    sockets.filter_map(|(_, what)| match what {
        Descriptor::Socket(inode) => Some(inode),
        _ => None,
    })
}

/// What a process does with a listener that is its descriptor `listener`, given those of its
/// descriptors that are epoll instances.
pub(crate) fn attention(directory: &Path, listener: u32, epolls: &[u32]) -> Attention {
    let watches = |epoll: &u32| {
        let path = directory.join("fdinfo").join(epoll.to_string());
        fs::read_to_string(path).is_ok_and(|text| is_watched(&text, listener))
    };
    let threads = fs::read_dir(directory.join("task")).into_iter().flatten();
    let waiting = threads
        .flatten()
        .take(MAX_THREADS)
        .filter_map(|thread| fs::read_to_string(thread.path().join("syscall")).ok())
        .map(|text| wait(&text, listener))
        .max()
        .unwrap_or_default();
    match waiting < Attention::Accepts && epolls.iter().any(watches) {
        true => Attention::Accepts,
        false => waiting,
    }
}

/// Whether the text of an epoll instance's `fdinfo` names a descriptor: `tfd:        3 events: ...`.
fn is_watched(text: &str, descriptor: u32) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("tfd:")
            && words.next().and_then(|word| word.parse().ok()) == Some(descriptor)
    })
}

/// What the text of `/proc/<pid>/task/<tid>/syscall` says: the number of the call in which the thread
/// waits, and its arguments in hexadecimal digits; `running` while it is in none.
fn wait(text: &str, listener: u32) -> Attention {
    let mut words = text.split_whitespace();
    let Some(call) = words.next().and_then(|word| word.parse::<i64>().ok()) else {
        return Attention::Holds;
    };
    let first = words.next().and_then(|word| word.strip_prefix("0x"));
    let first = first.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match call {
        libc::SYS_accept | libc::SYS_accept4 if first == Some(listener.into()) => {
            Attention::Accepts
        }
        libc::SYS_ppoll | libc::SYS_pselect6 | libc::SYS_io_uring_enter => Attention::Waits,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll | libc::SYS_select => Attention::Waits,
        _ => Attention::Holds,
    }
}

/// Whether the text of `/proc/<pid>/cgroup` names the scope or something below it.
pub(crate) fn in_scope(cgroups: &str, scope: &str) -> bool {
    if scope == "/" {
        return true;
    }
    let scope = scope.trim_end_matches('/');
    // number:controllers:path; the path may hold colons.
    let paths = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().any(|path| {
        path.strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What a kernel record would say of a process; `None` when it is gone.
pub(crate) fn describe(
    number: u32,
    directory: &Path,
    cgroups: &str,
    root: &Path,
) -> Option<abi::wb_process> {
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(START_FIELD)?.parse().ok()?;
    let comm = fs::read(directory.join("comm")).unwrap_or_default();
    let exe = fs::read_link(directory.join("exe")).unwrap_or_default();
    let exe = exe.file_name().map(|name| name.as_bytes());
    let exe = exe.map(|name| name.strip_suffix(b" (deleted)").unwrap_or(name));
    // The line of cgroup2 is "0::/path".
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let cgroup_id = path
        .filter(|path| !path.split('/').any(|part| part == ".."))
        .and_then(|path| Numbers::of(root).number(&root.join(path)))
        .unwrap_or(0);
    let mut process = abi::wb_process {
        start_ns: ticks.saturating_mul(TICK_NS),
        cgroup_id,
        tgid: number,
        ..Default::default()
    };
    copy(&mut process.comm, comm.trim_ascii_end());
    copy(&mut process.exe, exe.unwrap_or_default());
    Some(process)
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_thread_that_waits_in_accept_accepts_on_that_descriptor_alone() {
        let text = format!(
            "{} 0x3 0x7ffc 0x0 0x80000 0x0 0x0 0x7ffc 0x7f00",
            libc::SYS_accept4
        );
        assert_eq!(wait(&text, 3), Attention::Accepts);
        assert_eq!(wait(&text, 4), Attention::Holds);
        let text = format!("{} 0x5605 0x2 0x0", libc::SYS_ppoll);
        assert_eq!(wait(&text, 3), Attention::Waits);
        let text = format!("{} 0xffffffff", libc::SYS_wait4);
        for text in [text.as_str(), "running\n", "-1 0x7ffc 0x7f00", ""] {
            assert_eq!(wait(text, 3), Attention::Holds, "{text}");
        }
    }

    #[test]
    fn an_epoll_instance_names_what_it_watches() {
        let text = "pos:\t0\nflags:\t02\ntfd:        3 events:       1f data:   3\n";
        assert!(is_watched(text, 3));
        assert!(!is_watched(text, 1) && !is_watched("pos:\t3\n", 3));
    }

    #[test]
    fn the_scope_is_a_path_and_not_a_beginning_of_a_name() {
        assert!(in_scope("0::/a/b\n", "/a"));
        assert!(in_scope("4:cpu:/a\n0::/\n", "/a"));
        assert!(!in_scope("0::/ab\n", "/a"));
        assert!(in_scope("", "/"));
    }

    /// The kernel's own words, by this process: a thread that accepts, and one that only has it.
    #[test]
    fn the_kernel_shows_who_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let number = u32::try_from(listener.as_raw_fd()).unwrap();
        let own = Path::new("/proc/self");
        // A process that has nothing of it.
        let mut other = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let theirs = Path::new("/proc").join(other.id().to_string());
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap());
            let give_up = crate::clock::monotonic_ms() + 20_000;
            while attention(own, number, &[]) != Attention::Accepts
                && crate::clock::monotonic_ms() < give_up
            {
                std::thread::yield_now();
            }
            let seen = attention(own, number, &[]);
            std::net::TcpStream::connect(address).unwrap();
            assert_eq!(seen, Attention::Accepts);
        });
        assert_eq!(attention(&theirs, 0, &[]), Attention::Holds);
        other.stdin.take().unwrap().write_all(b"x").unwrap();
        let mut text = String::new();
        other
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        other.wait().unwrap();
    }
}
