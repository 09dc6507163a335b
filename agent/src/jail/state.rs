//! What a process is confined to, as the kernel shows it in `/proc`.
//!
//! Read by the agent of itself when it is confined, and by `doctor` of a running agent; a
//! difference between the two is something that neither the plan nor the agent knows of.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::privilege;
use crate::sandbox::Capabilities;

/// The confinement of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxState {
    /// User: real, effective, saved, and that of files.
    pub uid: String,
    /// The same for the group.
    pub gid: String,
    /// Further groups.
    pub groups: String,
    /// Capabilities in force.
    pub capabilities: String,
    /// Capabilities that could be gained: permitted, inheritable, bounding and ambient ones.
    pub gainable: String,
    /// Whether an executable can give privilege.
    pub no_new_privs: bool,
    /// Whether system calls are filtered: `off`, `strict` or `filter`.
    pub seccomp: String,
    /// What is mounted, sorted by place.
    pub mounts: Vec<Mount>,
}

/// One mount as the process sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// File system.
    pub kind: String,
    /// Options of this mount, as the kernel writes them.
    pub options: String,
}

impl SandboxState {
    /// That of the calling thread.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn own() -> Result<Self> {
        Self::parse(
            &privilege::own_file("status")?,
            &privilege::own_file("mountinfo")?,
        )
    }

    /// That of another process.
    ///
    /// # Errors
    /// It is gone, or may not be looked into.
    pub fn of(process: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = Path::new("/proc").join(process.to_string()).join(name);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Self::parse(&read("status")?, &read("mountinfo")?)
    }

    /// From the texts of `/proc/<pid>/status` and `mountinfo`; `proc(5)` describes both.
    fn parse(status: &str, mountinfo: &str) -> Result<Self> {
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let set = |name: &str| Capabilities::from_status(status, name).unwrap_or_default();
        let gainable = ["CapPrm", "CapInh", "CapBnd", "CapAmb"].map(set);
        let gainable: Capabilities = gainable.iter().flat_map(|set| set.iter()).collect();
        let seccomp = match field("Seccomp").as_deref() {
            Some("2") => "filter",
            Some("1") => "strict",
            _ => "off",
        };
        let mut mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
        mounts.sort();
        Ok(Self {
            uid: field("Uid").context("Uid in the status of the process")?,
            gid: field("Gid").context("Gid in the status of the process")?,
            groups: field("Groups").unwrap_or_default(),
            capabilities: set("CapEff").to_string(),
            gainable: gainable.to_string(),
            // Kernels before 4.10 do not show it; the agent reads it back by prctl(2).
            no_new_privs: field("NoNewPrivs").as_deref() != Some("0"),
            seccomp: seccomp.to_owned(),
            mounts,
        })
    }

    /// What differs from what was `said`, one sentence each.
    #[must_use]
    pub fn differences(&self, said: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, seen: &str, said: &str| {
            if seen != said {
                found.push(format!("{what} {seen:?} instead of {said:?}"));
            }
        };
        compare("has user", &self.uid, &said.uid);
        compare("has group", &self.gid, &said.gid);
        compare("has further groups", &self.groups, &said.groups);
        compare("has capabilities", &self.capabilities, &said.capabilities);
        compare("can gain", &self.gainable, &said.gainable);
        compare("has system calls", &self.seccomp, &said.seccomp);
        let privileged = |seen: &Self| seen.no_new_privs.to_string();
        compare("has no_new_privs", &privileged(self), &privileged(said));
        let sees = |seen: &Self, one: &Mount| seen.mounts.contains(one);
        let more = self.mounts.iter().filter(|one| !sees(said, one));
        found.extend(more.map(|one| format!("sees {} ({} {})", one.at, one.kind, one.options)));
        let less = said.mounts.iter().filter(|one| !sees(self, one));
        found.extend(less.map(|one| format!("lacks {} ({} {})", one.at, one.kind, one.options)));
        found
    }
}

/// One line of mountinfo: fields up to `-`, then file system, source and options of that.
fn mount(line: &str) -> Option<Mount> {
    let (own, file_system) = line.split_once(" - ")?;
    let mut fields = own.split(' ').skip(4);
    Some(Mount {
        at: fields.next()?.to_owned(),
        options: fields.next()?.to_owned(),
        kind: file_system.split(' ').next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::SandboxState;

    const STATUS: &str = "Name:\tx\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t \n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000001000\nCapEff:\t0000000000001000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    const MOUNTS: &str = "1 2 0:3 / / ro,nosuid - ext4 /dev/sda1 rw\n\
        4 1 0:5 / /proc ro,nosuid,nosymfollow shared:1 - proc proc rw\n";

    #[test]
    fn what_the_kernel_shows_is_read() {
        let seen = SandboxState::parse(STATUS, MOUNTS).unwrap();
        assert_eq!(
            (seen.uid.as_str(), seen.gid.as_str()),
            ("7 7 7 7", "8 8 8 8")
        );
        assert_eq!(seen.capabilities, "CAP_NET_ADMIN");
        assert_eq!(seen.gainable, "CAP_NET_ADMIN");
        assert_eq!((seen.seccomp.as_str(), seen.no_new_privs), ("filter", true));
        assert_eq!(seen.mounts[1].at, "/proc");
        assert_eq!(seen.mounts[1].kind, "proc");
        assert!(seen.mounts[1].options.ends_with("nosymfollow"));
        assert!(SandboxState::parse("Name:\tx\n", "").is_err());
    }

    #[test]
    fn every_difference_is_told() {
        let said = SandboxState::parse(STATUS, MOUNTS).unwrap();
        assert!(said.differences(&said).is_empty());
        let status = STATUS.replace("0000000000001000", "0000000000081000");
        let status = status.replace("Seccomp:\t2", "Seccomp:\t0");
        let mounts = format!("{MOUNTS}9 1 0:5 / /host rw - ext4 /dev/sda1 rw\n");
        let found = SandboxState::parse(&status, &mounts)
            .unwrap()
            .differences(&said);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("CAP_SYS_PTRACE"), "{found:?}");
        assert!(found[3].contains("sees /host"), "{found:?}");
    }
}
