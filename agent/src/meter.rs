//! What the agent takes: CPU time and resident memory, as the kernel counts them.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use crate::clock;
use crate::governor::Sample;

/// `CLEAR_REFS_MM_HIWATER_RSS` in `fs/proc/task_mmu.c`, since 4.0: the peak begins anew with what is
/// resident now.
const RESET_PEAK: &[u8] = b"5";

/// Opened before the agent is confined, and before its jail, where `/proc` cannot be written.
#[derive(Debug)]
pub struct Meter {
    status: File,
    /// None where the kernel does not let the peak begin anew.
    reset: Option<File>,
    /// The peak of the whole run, as far as it was seen.
    known_peak: u64,
}

/// What is resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resident {
    now_bytes: u64,
    peak_bytes: u64,
}

impl Meter {
    /// Opens what is read later.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn open() -> Result<Self> {
        let reset = File::options().write(true).open("/proc/self/clear_refs");
        let works = |mut file: &File| file.write_all(RESET_PEAK).is_ok();
        Ok(Self {
            status: File::open("/proc/self/status").context("open /proc/self/status")?,
            reset: reset.ok().filter(works),
            known_peak: 0,
        })
    }

    /// What was taken since the last call, and the memory that is resident now, in bytes.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read(&mut self) -> Result<(Sample, u64)> {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("read CPU time")?;
        let cpu = std::time::Duration::from(cpu);
        let mut text = [0; 4096];
        let length = self.status.read_at(&mut text, 0).context("read status")?;
        let resident = resident(text.get(..length).unwrap_or_default())
            .ok_or_else(|| io::Error::other("status has no VmHWM and VmRSS"))?;
        let sample = Sample {
            at_ms: clock::monotonic_ms(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            peak_bytes: self.peak(resident),
        };
        Ok((sample, resident.now_bytes))
    }

    /// The peak since the last call. Where the kernel knows only that of the whole run, one that is
    /// higher than all before is seen, and a repeated one is not.
    fn peak(&mut self, resident: Resident) -> u64 {
        let mut reset = self.reset.as_ref();
        if let Some(file) = &mut reset
            && file.write_all(RESET_PEAK).is_ok()
        {
            return resident.peak_bytes;
        }
        let known = std::mem::replace(&mut self.known_peak, resident.peak_bytes);
        match resident.peak_bytes > known {
            true => resident.peak_bytes,
            false => resident.now_bytes,
        }
    }
}

/// `VmRSS` and `VmHWM` of `/proc/<pid>/status`, which are in units of 1,024 bytes (proc(5)).
fn resident(status: &[u8]) -> Option<Resident> {
    let text = String::from_utf8_lossy(status);
    let bytes = |name: &str| -> Option<u64> {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Resident {
        now_bytes: bytes("VmRSS:")?,
        peak_bytes: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Meter, Resident, resident};

    const MIB: u64 = 1 << 20;

    #[test]
    fn this_process_takes_cpu_and_memory() {
        let mut meter = Meter::open().unwrap();
        let (first, now) = meter.read().unwrap();
        assert!(first.peak_bytes >= now && now > MIB, "{first:?}");
        let (second, _) = meter.read().unwrap();
        assert!(second.cpu_us > first.cpu_us && second.at_ms >= first.at_ms);
    }

    #[test]
    fn a_peak_between_two_looks_is_seen_once() {
        let mut meter = Meter::open().unwrap();
        let (_, before) = meter.read().unwrap();
        // Larger than what other tests of this process take meanwhile.
        let much = vec![1_u8; 256 << 20];
        assert!(much.iter().all(|byte| *byte == 1));
        drop(much);
        let (peak, after) = meter.read().unwrap();
        assert!(peak.peak_bytes > before + 200 * MIB, "{peak:?} {before}");
        assert!(after < peak.peak_bytes - 100 * MIB, "{after} {peak:?}");
        if meter.reset.is_some() {
            let (next, _) = meter.read().unwrap();
            assert!(next.peak_bytes < peak.peak_bytes - 100 * MIB, "{next:?}");
        }
    }

    #[test]
    fn without_a_reset_a_higher_peak_is_seen() {
        let mut meter = Meter {
            reset: None,
            ..Meter::open().unwrap()
        };
        let mut look = |now_bytes, peak_bytes| {
            meter.peak(Resident {
                now_bytes,
                peak_bytes,
            })
        };
        assert_eq!(look(10, 20), 20);
        assert_eq!(look(12, 20), 12);
        assert_eq!(look(13, 30), 30);
    }

    #[test]
    fn status_names_what_is_resident() {
        let text = b"Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n";
        let expected = Resident {
            now_bytes: MIB,
            peak_bytes: 2 * MIB,
        };
        assert_eq!(resident(text), Some(expected));
        assert_eq!(resident(b"VmRSS:\t1 kB\n"), None);
        assert_eq!(resident(b"VmHWM:\tx kB\nVmRSS:\t1 kB\n"), None);
    }
}
