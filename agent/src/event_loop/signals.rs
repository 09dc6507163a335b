//! What the agent is told by signals.

use std::os::fd::{AsRawFd as _, RawFd};

use anyhow::{Context as _, Result};
use log::info;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that the loop takes. Those that end it have a descriptor of their own: the kernel hands
/// out the lowest number first, and SIGUSR1, sent again and again, would hide SIGTERM for ever.
#[derive(Debug)]
pub struct Signals {
    end: SignalFd,
    flush: SignalFd,
}

impl Signals {
    /// Blocks them for every thread; to be called while there is only one.
    ///
    /// # Errors
    /// The kernel refuses the mask or a descriptor.
    pub fn block() -> Result<Self> {
        Ok(Self {
            end: descriptor(&[Signal::SIGTERM, Signal::SIGINT])?,
            flush: descriptor(&[Signal::SIGUSR1])?,
        })
    }

    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.end.as_raw_fd(), self.flush.as_raw_fd()]
    }

    /// SIGTERM or SIGINT: drain and end.
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
}

fn descriptor(signals: &[Signal]) -> Result<SignalFd> {
    let mask: SigSet = signals.iter().copied().collect();
    mask.thread_block().context("block the signals")?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("open a descriptor for signals")
}
