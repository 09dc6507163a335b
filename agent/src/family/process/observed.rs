//! What is seen of a process, and what makes two processes one identity.

const COMM_BYTES: usize = 16;
const EXE_BYTES: usize = 32;

/// What the kernel record says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// Thread-group id.
    pub tgid: u32,
    /// Start of the process, nanoseconds since boot (CLOCK_BOOTTIME); 0 when unknown.
    pub started_ns: u64,
    /// Kernel task name, NUL padding allowed.
    pub comm: &'a [u8],
    /// Last component of the executable's path, NUL padding allowed.
    pub exe_name: &'a [u8],
    /// cgroup2 id (inode number), 0 when unknown.
    pub cgroup_id: u64,
    /// Network namespace inode number.
    pub netns: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) comm: [u8; COMM_BYTES],
    pub(super) exe_name: [u8; EXE_BYTES],
    pub(super) cgroup_id: u64,
    pub(super) netns: u32,
    /// Which path, where the cgroup2 id does not tell; 0 where it does, or nobody knows.
    pub(super) path: u64,
}

impl Key {
    pub(super) fn of(observed: &Observed<'_>) -> Self {
        Self {
            comm: padded(observed.comm),
            exe_name: padded(observed.exe_name),
            cgroup_id: observed.cgroup_id,
            netns: observed.netns,
            path: 0,
        }
    }
}

/// The text up to its first NUL, cut or filled with NULs.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    for (to, from) in padded
        .iter_mut()
        .zip(bytes.iter().take_while(|byte| **byte != 0))
    {
        *to = *from;
    }
    padded
}

/// The text up to its first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
