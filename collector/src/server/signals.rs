//! What the collector is told by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals whose default is to end the process, and which somebody may send to any daemon out of
/// habit: SIGUSR1, SIGUSR2, SIGALRM, SIGSTKFLT, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO, SIGPWR (signal(7)).
/// A write beyond a limit on file sizes then fails.
const HABITS: [i32; 9] = [10, 12, 14, 16, 25, 26, 27, 29, 30];
/// SIGXCPU, which comes before a limit on CPU time kills.
const CPU_LIMIT: i32 = 24;
/// The first and last of the real-time signals that programs may use, SIGRTMIN and SIGRTMAX.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Signals that are heard from here on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    limit: Signal,
    /// Heard and not acted upon, so that none of them ends the collector.
    _ignored: Vec<Signal>,
}

impl Signals {
    /// Hears them; within the runtime.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub(super) fn hear() -> io::Result<Self> {
        let ignored = HABITS.into_iter().chain(REAL_TIME);
        let ignored = ignored.map(|number| signal(SignalKind::from_raw(number)));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            limit: signal(SignalKind::from_raw(CPU_LIMIT))?,
            _ignored: ignored.collect::<io::Result<_>>()?,
        })
    }

    /// Waits for one that asks for the end; gives its name.
    pub(super) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
            _ = self.limit.recv() => "SIGXCPU",
        }
    }
}

/// SIGHUP: files are read again.
///
/// # Errors
/// The kernel refuses a handler.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
