//! Probes at kernel functions, made by the tracing directory: the way that 4.14 has as well.
//!
//! Such a probe belongs to the kernel, not to a process: it stays after `kill -9`. So each has the
//! name of its agent's process in it, this module removes them when it is dropped, and what a dead
//! agent left is removed by the next one and by `waybill-agent clean`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use crate::clock;
use crate::paths::PROC_DIR;
use crate::sandbox;

/// Inside the jail, while programs are loaded.
const TRACING: &str = "/sys/kernel/tracing";
/// Begins the group of every agent's probes.
const GROUP: &str = "waybill_";
/// Name of our processes, cut as the kernel does (TASK_COMM_LEN).
const COMM: &str = "waybill-agent";
/// A probe is in use for a moment after its last user has closed it.
const RELEASED_MS: u64 = 100;

/// The probes of this agent; dropped, they are gone.
#[derive(Debug)]
pub struct Probes {
    events: File,
    group: String,
    names: Vec<String>,
}

impl Probes {
    /// Gets hold of the list of probes, and removes what dead agents left in it.
    ///
    /// # Errors
    /// The kernel has no such list, or does not let it be written.
    pub fn open() -> Result<Self> {
        let mut events = open(Path::new(TRACING))?;
        clean_all(&mut events, Path::new(TRACING), Path::new(PROC_DIR));
        Ok(Self {
            events,
            group: format!("{GROUP}{}", std::process::id()),
            names: Vec::new(),
        })
    }

    /// The group in which the probes are found as tracepoints.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Makes a probe at the entry of a kernel function.
    ///
    /// # Errors
    /// The kernel has no such function, or does not let it be probed.
    pub fn add(&mut self, function: &str) -> Result<()> {
        let line = format!("p:{}/{function} {function}\n", self.group);
        self.events
            .write_all(line.as_bytes())
            .with_context(|| format!("probe {function}"))?;
        self.names.push(function.to_owned());
        Ok(())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = remove(&mut self.events, &self.group, name) {
                log::warn!(probe = name.as_str(), error = error.to_string().as_str(); "probe left");
            }
        }
    }
}

/// Removes what agents that run no more left in the kernel's list of probes; returns how many.
///
/// Where the tracing directory is not mounted, it is for as long as this takes, on a thread with a
/// mount namespace of its own.
///
/// # Errors
/// The list is there and cannot be written.
pub fn clean() -> Result<usize> {
    let mounted = [TRACING, "/sys/kernel/debug/tracing"]
        .map(Path::new)
        .into_iter()
        .find(|tracing| tracing.join("kprobe_events").exists());
    match mounted {
        Some(tracing) => clean_in(tracing),
        // A kernel without tracefs has no such probes.
        None => sandbox::with_tracefs(clean_in).unwrap_or(Ok(0)),
    }
}

fn clean_in(tracing: &Path) -> Result<usize> {
    if !tracing.join("kprobe_events").exists() {
        return Ok(0);
    }
    let mut events = open(tracing)?;
    Ok(clean_all(&mut events, tracing, Path::new("/proc")))
}

/// Written to only by whole lines, each one command.
fn open(tracing: &Path) -> Result<File> {
    let path = tracing.join("kprobe_events");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))
}

fn clean_all(events: &mut File, tracing: &Path, processes: &Path) -> usize {
    let listed = fs::read_to_string(tracing.join("kprobe_events")).unwrap_or_default();
    let mut removed = 0;
    for (group, name) in ours(&listed) {
        let comm = processes.join(&group[GROUP.len()..]).join("comm");
        let alive = fs::read_to_string(comm).is_ok_and(|comm| comm.trim() == COMM);
        // One that is in use refuses.
        if !alive && remove(events, group, name).is_ok() {
            removed += 1;
        }
    }
    removed
}

/// Group and name of each probe of an agent in the kernel's list: `p:group/name function`.
fn ours(listed: &str) -> impl Iterator<Item = (&str, &str)> {
    listed.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(':')?;
        let (group, name) = rest.split_whitespace().next()?.split_once('/')?;
        let process = group.strip_prefix(GROUP)?;
        let numbered = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
        (kind.starts_with('p') && numbered).then_some((group, name))
    })
}

fn remove(events: &mut File, group: &str, name: &str) -> io::Result<()> {
    let line = format!("-:{group}/{name}\n");
    let give_up = clock::monotonic_ms() + RELEASED_MS;
    loop {
        match events.write_all(line.as_bytes()) {
            Err(error)
                if error.raw_os_error() == Some(Errno::EBUSY as i32)
                    && clock::monotonic_ms() < give_up =>
            {
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{clean_in, ours};

    #[test]
    fn only_probes_of_agents_are_ours() {
        let listed = "p:waybill_71/tcp_set_state tcp_set_state\n\
                      r8:waybill_71/exit tcp_close\n\
                      p:libbpf_71/tcp_set_state tcp_set_state\n\
                      p:waybill_/tcp_reset tcp_reset\n\
                      p:waybill_x/tcp_reset tcp_reset\n\
                      p:kprobes/mine vfs_open arg1=%di\n\
                      \n";
        let found: Vec<_> = ours(listed).collect();
        assert_eq!(found, [("waybill_71", "tcp_set_state")]);
    }

    #[test]
    fn what_a_dead_agent_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("kprobe_events");
        // No process has this number: it is above the largest that a kernel gives.
        std::fs::write(
            &list,
            "p:waybill_4194305/a tcp_close\np:other/b tcp_close\n",
        )
        .unwrap();
        assert_eq!(clean_in(directory.path()).unwrap(), 1);
        let written = std::fs::read_to_string(&list).unwrap();
        assert!(written.ends_with("-:waybill_4194305/a\n"), "{written}");
        assert!(!written.contains("-:other"), "{written}");
    }

    #[test]
    fn a_kernel_without_probes_has_none_to_remove() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(clean_in(directory.path()).unwrap(), 0);
    }
}
