//! What the agent is told by signals.

use std::os::fd::{AsRawFd as _, RawFd};

use anyhow::{Context as _, Result};
use log::info;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that ask for the end. SIGXCPU comes before a limit on CPU time kills.
const END: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGXCPU,
];
/// Signals whose default is to end the process, and which somebody may send to any daemon out of
/// habit (signal(7)). They are blocked and never taken. A write beyond a limit on file sizes fails
/// instead of ending the agent.
const HABITS: [Signal; 8] = [
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGSTKFLT,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXFSZ,
];

/// The signals that the loop takes. Those that end it have a descriptor of their own: the kernel hands
/// out the lowest number first, and SIGUSR1, sent again and again, would hide SIGTERM for ever.
#[derive(Debug)]
pub struct Signals {
    end: SignalFd,
    flush: SignalFd,
    again: SignalFd,
}

impl Signals {
    /// Blocks them for every thread; to be called while there is only one.
    ///
    /// # Errors
    /// The kernel refuses the mask or a descriptor.
    pub fn block() -> Result<Self> {
        let habits: SigSet = HABITS.into_iter().collect();
        habits.thread_block().context("block signals of habit")?;
        bpf::process::ignore_real_time_signals().context("ignore real-time signals")?;
        Ok(Self {
            end: descriptor(&END)?,
            flush: descriptor(&[Signal::SIGUSR1])?,
            again: descriptor(&[Signal::SIGHUP])?,
        })
    }

    pub(super) fn descriptors(&self) -> [RawFd; 3] {
        let all = [&self.end, &self.flush, &self.again];
        all.map(|one| one.as_raw_fd())
    }

    /// SIGTERM and the like: drain and end.
    pub(super) fn wants_end(&mut self) -> Result<bool> {
        let signal = self.end.read_signal().context("read a signal")?;
        if let Some(signal) = signal {
            info!(signal = signal.ssi_signo; "ending");
        }
        Ok(signal.is_some())
    }

    /// SIGUSR1: close the interval and upload now.
    pub(super) fn wants_flush(&mut self) -> Result<bool> {
        let signal = self.flush.read_signal().context("read a signal")?;
        Ok(signal.is_some())
    }

    /// SIGHUP: read every followed file again now.
    pub(super) fn wants_another_look(&mut self) -> Result<bool> {
        let signal = self.again.read_signal().context("read a signal")?;
        Ok(signal.is_some())
    }
}

fn descriptor(signals: &[Signal]) -> Result<SignalFd> {
    let mask: SigSet = signals.iter().copied().collect();
    mask.thread_block().context("block the signals")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("open a descriptor for signals")
}
