//! Capabilities as numbers and names.

use std::fmt;

/// One capability of `capabilities(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u8);

/// Names by number, in the order of `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capability {
    /// Changes who owns a file.
    pub const CHOWN: Self = Self(0);
    /// Ignores who owns a file when reading and searching.
    pub const DAC_READ_SEARCH: Self = Self(2);
    /// Changes groups.
    pub const SETGID: Self = Self(6);
    /// Changes users.
    pub const SETUID: Self = Self(7);
    /// Network configuration, and querying programs attached to cgroups.
    pub const NET_ADMIN: Self = Self(12);
    /// Packet sockets.
    pub const NET_RAW: Self = Self(13);
    /// Looks into other processes.
    pub const SYS_PTRACE: Self = Self(19);
    /// Nearly everything; before 5.8 also all of bpf(2).
    pub const SYS_ADMIN: Self = Self(21);
    /// Performance events and tracing programs.
    pub const PERFMON: Self = Self(38);
    /// bpf(2).
    pub const BPF: Self = Self(39);

    /// The number in the kernel's masks.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => write!(f, "CAP_{name}"),
            None => write!(f, "capability {}", self.0),
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Reads one set, such as `CapEff`, from the text of `/proc/<pid>/status`.
    #[must_use]
    pub fn from_status(status: &str, set: &str) -> Option<Self> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(set)?.strip_prefix(':'))?;
        u64::from_str_radix(line.trim(), 16).ok().map(Self)
    }

    /// True when `capability` is in the set.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 >> capability.0 & 1 == 1
    }

    /// Whether it allows to become another user and to give that one files.
    #[must_use]
    pub const fn can_change_user(self) -> bool {
        self.has(Capability::CHOWN) && self.has(Capability::SETGID) && self.has(Capability::SETUID)
    }

    /// The members in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64)
            .map(Capability)
            .filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(
            capabilities
                .into_iter()
                .fold(0, |mask, capability| mask | 1 << capability.0),
        )
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALL: u64 = (1 << NAMES.len()) - 1;
        let lacking = Self(ALL & !self.0);
        let (prefix, named) = match lacking.iter().count() {
            0 => return f.write_str("all"),
            // Root's set in a container, for example: what is missing is what matters.
            few if few <= NAMES.len() / 2 => ("all but ", lacking),
            _ if self.0 == 0 => return f.write_str("none"),
            _ => ("", *self),
        };
        f.write_str(prefix)?;
        for (index, capability) in named.iter().enumerate() {
            write!(f, "{}{capability}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Capability};

    const STATUS: &str = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000000c000081000\n";

    #[test]
    fn the_mask_of_a_status_file_has_names() {
        let effective = Capabilities::from_status(STATUS, "CapEff").unwrap();
        assert_eq!(
            effective.to_string(),
            "CAP_NET_ADMIN CAP_SYS_PTRACE CAP_PERFMON CAP_BPF"
        );
        assert!(!effective.has(Capability::SYS_ADMIN));
        assert_eq!(
            Capabilities::from_status(STATUS, "CapPrm")
                .unwrap()
                .to_string(),
            "none"
        );
        assert_eq!(Capabilities::from_status(STATUS, "CapBnd"), None);
    }

    #[test]
    fn of_a_large_set_only_what_is_missing_is_named() {
        let text = |mask: &str| Capabilities::from_status(&format!("CapEff:\t{mask}\n"), "CapEff");
        assert_eq!(text("000001ffffffffff").unwrap().to_string(), "all");
        assert_eq!(
            text("000001fffeffffff").unwrap().to_string(),
            "all but CAP_SYS_RESOURCE"
        );
    }

    #[test]
    fn a_set_survives_its_members() {
        let set: Capabilities = [Capability::BPF, Capability::NET_ADMIN]
            .into_iter()
            .collect();
        assert_eq!(set.iter().collect::<Capabilities>(), set);
    }
}
