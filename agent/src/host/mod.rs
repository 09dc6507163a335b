//! What this host can do, found by asking and never by comparing kernel versions.
//!
//! Facts only: the rules that turn them into a plan are in `plan.rs`.

use crate::config::Config;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is there.
    Yes,
    /// It is not there.
    No {
        /// What was asked and answered, in an operator's words.
        why: String,
    },
    /// The question could not be asked.
    Unknown {
        /// What stood in the way.
        why: String,
    },
}

impl Fact {
    /// `No` with a reason.
    pub fn no(why: impl Into<String>) -> Self {
        Self::No { why: why.into() }
    }

    /// `Unknown` with a reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// True only for `Yes`.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// The reason, empty for `Yes`.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Yes => "",
            Self::No { why } | Self::Unknown { why } => why,
        }
    }
}

/// Where Unix time stands relative to the kernel's clocks, taken at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Unix time at CLOCK_BOOTTIME zero, in nanoseconds.
    pub boottime_zero_ns: u64,
    /// Unix time at CLOCK_MONOTONIC zero, in nanoseconds (BPF timestamps count from there).
    pub monotonic_zero_ns: u64,
}

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The host's own name.
    pub hostname: String,
    /// Kernel release: reported, never compared.
    pub kernel: String,
    /// Machine architecture, `x86_64` or `aarch64`.
    pub arch: String,
    /// Unix time of the kernel's clocks.
    pub clocks: Clocks,
}

/// Asks the host everything the plan may need.
#[must_use]
pub fn probe(_config: &Config) -> HostFacts {
    HostFacts {
        hostname: String::new(),
        kernel: String::new(),
        arch: String::new(),
        clocks: Clocks::default(),
    }
}
