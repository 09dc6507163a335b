//! What the agent takes: CPU time and resident memory, as the kernel counts them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::governor::Sample;
use crate::host::clock;

/// The size of a page where the C library does not know it.
const PAGE: u64 = 4096;

/// Opened before the agent is confined.
#[derive(Debug)]
pub struct Meter {
    statm: File,
    page: u64,
}

impl Meter {
    /// Opens what is read later.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn open() -> Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        Ok(Self {
            statm: File::open("/proc/self/statm").context("open /proc/self/statm")?,
            page: page
                .and_then(|page| u64::try_from(page).ok())
                .unwrap_or(PAGE),
        })
    }

    /// What is taken now.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read(&self) -> Result<Sample> {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("read CPU time")?;
        let cpu = std::time::Duration::from(cpu);
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).context("read statm")?;
        let pages = resident(text.get(..length).unwrap_or_default())
            .ok_or_else(|| io::Error::other("statm has no second number"))?;
        Ok(Sample {
            at_ms: clock::monotonic_ms(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            rss_bytes: pages.saturating_mul(self.page),
        })
    }
}

/// The second number of `/proc/<pid>/statm`, in pages (proc(5)).
fn resident(statm: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(statm).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Meter, resident};

    #[test]
    fn this_process_takes_cpu_and_memory() {
        let meter = Meter::open().unwrap();
        let first = meter.read().unwrap();
        assert!(first.rss_bytes > 1 << 20, "{first:?}");
        let second = meter.read().unwrap();
        assert!(second.cpu_us > first.cpu_us && second.at_ms >= first.at_ms);
    }

    #[test]
    fn resident_pages_are_the_second_number() {
        assert_eq!(resident(b"9 7 5 3 0 1 0\n"), Some(7));
        assert_eq!(resident(b"9\n"), None);
        assert_eq!(resident(b""), None);
    }
}
